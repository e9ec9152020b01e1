"""The table of differences in terminals of every width, whatever names there are."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from rich.console import Console

from libperf.differences import Change, Difference, Settings, Summary
from libperf.differences.comparing import Comparison
from libperf.differences.table import _more, render, render_text, verdict_of


def summary(calls: int = 1000, runs: int = 1, **fields: Any) -> Summary:
    normal: dict[str, Any] = {"wrong": 0, "cancelled": 0, "p50": 0.1, "p99": 0.3}
    return Summary(runs, calls, **normal | fields)


def comparison(what: str = "shift", verdict: str = "worse", ratio: float = 1.25) -> Comparison:
    return Comparison(what, 0.1, 0.125, ratio, ratio * 0.9, ratio * 1.1, 0.6, 0.001, 1.0, verdict)


def change(name: str = "plan", *comparisons: Comparison, **fields: Any) -> Change:
    normal: dict[str, Any] = {"kind": "llm", "old": summary(), "new": summary(p50=0.125)}
    return Change(name=name, comparisons=comparisons or (comparison(),), **normal | fields)


def difference(*changes: Change, **fields: Any) -> Difference:
    normal: dict[str, Any] = {"settings": Settings(), "old": ("a.perf",), "new": ("b.perf",), "notes": ()}
    return Difference(changes=changes, **normal | fields)


def draw(found: Difference, width: int) -> str:
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(render(found, width))
    return file.getvalue()


EVERYTHING = difference(
    change(
        "plan", comparison(), comparison("tail"), comparison("errors", ratio=math.inf), new=summary(wrong=30, p50=0.125)
    ),
    change("n" * 60, comparison(verdict="better", ratio=0.5)),
    change("search", comparison(verdict="same", ratio=1.001), quantities={"tokens": (100.0, 150.0)}),
    Change("tool", "few", summary(20), summary(999), needs=(980, 1)),
    Change("cache", "users memory", summary(p50=None, p99=None), summary(p50=None, p99=None), (comparison("misses"),)),
    Change("span", "gone", summary(7), summary(0)),
    Change("span", "fresh", summary(0), summary(8)),
    notes=("a note",),
)


@pytest.mark.parametrize("width", [40, 60, 72, 80, 100, 120, 160, 200])
def test_every_width(width: int) -> None:
    """No line is longer than the terminal; what became worse is there in full."""
    text = draw(EVERYTHING, width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    assert "slower" in words and "2 regressions in 4 operations, 1 improvement" in words
    for said in ("slower", "tail, more", "more misses", "+980"):
        assert said in words
    assert "gone" in words and "fresh" in words and "a note" in words


def test_wide_tables_have_everything() -> None:
    """Both percentiles, their changes, and what they are surely."""
    text = draw(EVERYTHING, 200)
    row = next(line for line in text.splitlines() if line.startswith("llm plan"))
    for said in (
        "1,000",
        "100 ms → 125 ms",
        "+25 %",
        "+12 % … +38 %",
        "0 % → 3 %",
        "slower, slower tail, more errors",
    ):
        assert said in row, said
    assert "needs +980 and +1 calls" in text
    assert "tokens: 100 → 150 a call (+50 %; not tested: one run a side)" in text


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (1.0, "0 %"), (1.2, "+20 %"), (1.012, "+1.2 %"), (0.97, "−3 %"), (0.5, "−50 %"), (0.0, "−100 %"), (2.0, "×2.0"),
        (4.13, "×4.1"), (250.0, "×250"), (math.inf, "∞"), (math.nan, "?"), (1.0004, "0 %"), (0.9996, "0 %"),
    ],
)  # fmt: skip
def test_ratios_in_words(ratio: float, words: str) -> None:
    """Per cents up to twice as much, times from there."""
    assert _more(ratio) == words


@pytest.mark.parametrize("name", ["[red]x[/red]", "a\x1b[31mred", "two\nlines", "t\tab", "\u202eright to left", "[/]"])
def test_names_are_shown_as_they_are(name: str) -> None:
    """Markup is text; what would steer the terminal is a blank: in rows, lists, quantities, sides and notes."""
    text = render_text(
        difference(
            change(name, quantities={name: (1.0, 9.0)}),
            Change("span", name, summary(7), summary(0)),
            old=(name,),
            notes=(name,),
        )
    )
    plain = "".join(char if char.isprintable() else " " for char in name)
    assert text.count(plain) == 6
    assert not set(text) & {"\x1b", "\t", "\u202e", "\r"}


def test_verdicts_in_words() -> None:
    """Every kind of finding has its words; runs are counted where runs are compared."""
    assert verdict_of(change("x", comparison("tokens"))) == "more tokens"
    assert verdict_of(change("x", comparison("tokens", "better"))) == "less tokens"
    assert verdict_of(change("x", comparison("errors", "better"), comparison("misses", "better"))) == (
        "fewer errors, fewer misses"
    )
    assert verdict_of(change("x", comparison("shift", "same"))) == "same"
    few = Change("span", "x", summary(4, 2), summary(9, 3), needs=(1, 0))
    assert verdict_of(few) == "needs +1 and +0 runs"


def test_without_anything() -> None:
    """Nothing recorded, and nothing to compare, are two things."""
    assert "nothing was recorded on either side" in render_text(difference())
    few = Change("span", "x", summary(4), summary(9), needs=(996, 991))
    assert "no operation has enough calls on both sides" in render_text(difference(few))
