"""Names: one number for each text and kind, cut at 200 bytes, and a bounded table that takes whatever comes."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest

import libperf
from libperf import Kind
from libperf._core import lib
from libperf.names import QUANTITIES, intern, key, text_of

MANY = """
import libperf
from libperf.names import _known

with libperf.span("first"):
    pass
counter = libperf.Counter("count")
for number in range(10_000):
    with libperf.span(f"span {number}"):
        counter.add()
with libperf.span("first"):
    pass
with libperf.Reader() as reader:
    totals = {name: reader.totals(name) for name in reader.names}
    spans = {name.text: total.count for name, total in totals.items() if name.kind is libperf.Kind.SPAN}
    print(len(reader.names), sum(spans.values()), spans["first"], spans["(other)"], reader.info.names_over)
    print([total.value for name, total in totals.items() if name.text == "count"])
    records = list(reader.records())
    print(len(records) + reader.lost, sum(record.name == "(other)" for record in records))
print(max(map(len, _known)) <= 4096)
print("(other)" in str(libperf.report()))
"""


# ---- numbers ----


@pytest.mark.parametrize("kind", list(Kind))
def test_the_same_name_is_the_same_number(name: str, kind: Kind) -> None:
    """However often it is interned; and the number gives text and kind back."""
    number = intern(kind, name)
    assert intern(kind, name) == intern(kind, str(name)) == number
    assert lib.perf_name(kind, name.encode(), len(name)) == number
    assert (text_of(number), lib.perf_name_kind(number)) == (name, kind)


def test_kind_is_part_of_the_name(name: str) -> None:
    """One text of each kind makes as many names."""
    assert len({intern(kind, name) for kind in Kind}) == len(Kind) == lib.PERF_KIND_COUNT


@pytest.mark.parametrize("kind", list(Kind))
def test_an_empty_name_is_other(kind: Kind) -> None:
    """Of its kind; so is "(other)" itself."""
    assert intern(kind, "") == intern(kind, "(other)") == kind
    assert text_of(kind) == "(other)"


@pytest.mark.parametrize("number", [4096, 2**16, 2**32 - 1])
def test_a_number_that_was_never_given_out(number: int) -> None:
    """It is "(other)", not a crash."""
    assert (text_of(number), lib.perf_name_kind(number)) == ("(other)", Kind.SPAN)


@pytest.mark.parametrize("wrong", [None, 5, b"bytes", ("a",), 1.5, True], ids=repr)
def test_a_name_is_a_text(wrong: Any) -> None:
    """TypeError holds what was given."""
    with pytest.raises(TypeError) as raised:
        intern(Kind.SPAN, wrong)
    assert f"not {wrong!r}" in str(raised.value)


def test_the_kinds_are_those_of_the_core() -> None:
    """Each of C's constants, under its name; the first eight are operations."""
    constants = {name.removeprefix("PERF_KIND_"): getattr(lib, name) for name in dir(lib) if "PERF_KIND_" in name}
    del constants["COUNT"]
    assert {kind.name: kind.value for kind in Kind} == constants
    assert [kind.name for kind in Kind if kind.is_operation] == [kind.name for kind in Kind][:8]
    assert [Kind.parse(kind.name.lower()) for kind in Kind if kind.is_operation] == list(Kind)[:8]


def test_some_keys_are_added_up() -> None:
    """Tokens and bytes are quantities, all other keys are not."""
    assert {lib.perf_name_kind(key(text)) for text in QUANTITIES} == {Kind.QUANTITY}
    assert lib.perf_name_kind(key("token")) == Kind.KEY


# ---- texts ----


@pytest.mark.parametrize(
    "text",
    ["plain", "with space", "grüße, 世界 🐝", 'quotes " and \\', "%s %n {}", "[bold]x[/bold]", " "],
    ids=ascii,
)
def test_a_name_may_be_any_text(seen: Any, text: str) -> None:
    """It comes back as it was, from the record, the totals, and in the report."""
    before = seen.totals(text).count
    with libperf.span(text):
        pass
    assert seen.spans(text)[-1].name == text
    assert seen.totals(text).count == before + 1
    assert text in {row.name for row in libperf.report().rows}


def test_control_characters_are_shown_as_spaces(seen: Any) -> None:
    """A name cannot move the cursor of whoever reads the report, nor break a line of it."""
    with libperf.span("a\0b\x1b[2Jc\nd\re\tf\x7fg\x9bh"):
        pass
    assert len(seen.spans("a b [2Jc d e f g  h")) == 1


def test_half_a_character_becomes_a_question_mark(seen: Any) -> None:
    """A lone surrogate, as in file names that are no UTF-8."""
    with libperf.span("half \ud800 here"):
        pass
    assert seen.spans("half ? here")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200),
        ("y" * 100_000, "y" * 200),
        ("é" * 101, "é" * 100),
        ("z" + "é" * 100, "z" + "é" * 99),
        ("🐝" * 51, "🐝" * 50),
        ("zz" + "🐝" * 50, "zz" + "🐝" * 49),
    ],
    ids=lambda text: f"{len(text)}",
)
def test_a_long_name_is_cut_between_characters(seen: Any, text: str, kept: str) -> None:
    """At 200 bytes; all that begin alike are one name, and that is counted."""
    before = seen.losses().get("cut_texts", 0)
    with libperf.span(text):
        pass
    assert seen.spans(kept)[-1].name == kept
    cut = text != kept
    assert seen.losses().get("cut_texts", 0) == before + cut


# ---- the table ----


def test_random_names_come_back(run: Any) -> None:
    """Thousands of texts, many of which differ in one character: each has a number of its own, for good."""
    code = """
import random
from libperf import Kind
from libperf.names import intern, text_of

dice = random.Random(8)
texts = {"".join(dice.choices("ab", k=dice.randrange(1, 30))) for _ in range(4000)}
numbers = {text: intern(Kind.TEXT, text) for text in texts}
assert {text: text_of(number) for text, number in numbers.items()} == {text: text for text in texts}
assert {text: intern(Kind.TEXT, text) for text in texts} == numbers
print(len(set(numbers.values())) == len(texts) > 3000)
"""
    done = run(code)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_many_threads_intern_at_once(name: str) -> None:
    """Each text gets one number, whoever comes first."""
    found: list[list[int]] = []
    barrier = threading.Barrier(8)

    def work(seed: int) -> None:
        order = list(range(100))
        random.Random(seed).shuffle(order)
        barrier.wait(60)
        numbers = {number: lib.perf_name(Kind.TEXT, raw := f"{name}.{number}".encode(), len(raw)) for number in order}
        found.append([numbers[number] for number in range(100)])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [found[0]] * 8
    assert len(set(found[0])) == 100


def test_ten_thousand_names(run: Any) -> None:
    """The table holds 4,096; all others are counted under "(other)", nothing is lost, and one warning says why."""
    done = run(MANY)
    assert done.returncode == 0
    sizes, counter, records, bounded, shown = done.stdout.splitlines()
    names, calls, first, other, over = map(int, sizes.split())
    kinds = int(lib.PERF_KIND_COUNT)
    assert names == 4096
    assert calls == 10_002
    assert first == 2  # a name that was known before keeps its row
    assert other == over == 10_000 - (4096 - kinds - 2)
    assert counter == "[10000]"
    assert records == f"10002 {other}"
    assert (bounded, shown) == ("True", "True")
    (warning,) = done.stderr.splitlines()
    assert warning.startswith('libperf: the table of 4096 names is full; "span ')
    assert "make those attributes" in warning


def test_names_of_other_kinds_beside_a_full_table(run: Any) -> None:
    """Metrics, keys and error classes that come too late are "(other)" of their own kind: nothing mixes."""
    code = """
import libperf

for number in range(5000):
    libperf.trace(f"name {number}")(len)
libperf.Counter("late counter").add(3)
libperf.Counter("later counter").add(4)
libperf.Gauge("late gauge").set(2.5)
libperf.Timing("late timing").record(0.5)
try:
    with libperf.span("late span", kind="llm", late_key="late text", tokens=7):
        raise KeyError
except KeyError:
    pass
report = libperf.report()
(row,) = report.rows
print(row.kind.name, row.name, row.calls, row.errors, row.quantities)
print(report.counters, report.gauges, [(row.name, row.calls) for row in report.timings])
with libperf.Reader() as reader:
    print([record.attributes for record in reader.records()])
"""
    done = run(code)
    assert len(done.stderr.splitlines()) == 1
    row, metrics, attributes = done.stdout.splitlines()
    assert row == "LLM (other) 1 1 {'(other)': 7}"
    assert metrics == "{'(other)': 7} {'(other)': 2.5} [('(other)', 1)]"
    assert attributes == "[{'(other)': '(other)'}]"


def test_quiet_says_nothing(run: Any) -> None:
    """LIBPERF_QUIET=1: it is still counted, but not said."""
    code = """
import libperf

for number in range(5000):
    libperf.trace(f"name {number}")(len)
libperf.Counter("late").add(3)
print(libperf.snapshot()["counters"])
"""
    done = run(code, LIBPERF_QUIET="1")
    assert (done.stdout, done.stderr, done.returncode) == ("{'(other)': 3}\n", "", 0)
