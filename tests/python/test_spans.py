"""`with libperf.span()`: attributes, parents, ids, logs."""

from __future__ import annotations

import asyncio
import math
import re
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest

import libperf
from libperf._core import ffi, lib
from libperf.errors import InvalidError
from libperf.names import intern
from libperf.spans import Span

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Level(IntEnum):
    HIGH = 9


class Broken:
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


# ---- attributes ----


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (0, 0),
        (-1, -1),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (2**63, str(2**63)),
        (-(2**63) - 1, str(-(2**63) - 1)),
        (10**5000, "<int>"),
        (True, 1),
        (False, 0),
        (Level.HIGH, 9),
        (1.5, 1.5),
        (-0.0, -0.0),
        (5e-324, 5e-324),
        (math.inf, math.inf),
        (-math.inf, -math.inf),
        ("", ""),
        ("text", "text"),
        ("grüße, 世界 🐝", "grüße, 世界 🐝"),
        ("a\ud800b", "a?b"),
        ("x" * 200, "x" * 200),
        (b"bytes", "b'bytes'"),
        ([1, 2], "[1, 2]"),
        (Decimal("1.10"), "1.10"),
        (Broken(), "<Broken>"),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, (int, Broken)) else type(value).__name__,
)
def test_an_attribute_comes_back(seen: Any, name: str, value: object, kept: object) -> None:
    """Numbers and texts come back as they were, everything else as its text."""
    with libperf.span(name, value=value):
        pass
    got = seen.span(name).attributes
    assert got == {"value": kept}
    assert type(got["value"]) is type(kept)


def test_nan_stays_nan(seen: Any, name: str) -> None:
    """NaN is kept as a number that is none."""
    with libperf.span(name, value=math.nan):
        pass
    assert math.isnan(seen.span(name).attributes["value"])


def test_none_is_left_out(seen: Any, name: str) -> None:
    """None says nothing, and takes no room."""
    with libperf.span(name, value=None) as span:
        assert span.set(other=None)
    assert seen.span(name).attributes == {}


@pytest.mark.parametrize(
    ("text", "kept"), [("x" * 300, "x" * 200), ("é" * 150, "é" * 100), ("a" + "é" * 150, "a" + "é" * 99)]
)
def test_a_long_text_is_cut_between_characters(seen: Any, name: str, text: str, kept: str) -> None:
    """At 200 bytes; set() says so, and it is counted."""
    before = seen.losses().get("cut_texts", 0)
    with libperf.span(name) as span:
        assert not span.set(value=text)
    assert seen.span(name).attributes == {"value": kept}
    assert seen.losses()["cut_texts"] == before + 1


def test_the_ninth_attribute_is_dropped_and_counted(seen: Any, name: str) -> None:
    """A span carries 8; set() says that one more found no room."""
    before = seen.losses().get("dropped_attributes", 0)
    with libperf.span(name) as span:
        assert span.set(**{f"key{i}": i for i in range(8)})
        assert not span.set(ninth=9)
    assert seen.span(name).attributes == {f"key{i}": i for i in range(8)}
    assert seen.losses()["dropped_attributes"] == before + 1


def test_a_key_may_hold_anything(seen: Any, name: str) -> None:
    """Keys are texts: dots, spaces and other scripts."""
    attributes = {"gen_ai.request.model": "m", "with space": 1, "ключ": 2}
    with libperf.span(name, **attributes):
        pass
    assert seen.span(name).attributes == attributes


def test_quantities_are_added_up_under_the_name(seen: Any, name: str) -> None:
    """Token and byte counts of all calls are in the totals."""
    for tokens in (10, 32):
        with libperf.span(name, tokens=tokens) as span:
            span.set(**{"gen_ai.usage.input_tokens": 5, "bytes": 100})
    expected = {"tokens": 42, "gen_ai.usage.input_tokens": 10, "bytes": 200}
    assert seen.totals(name).quantities == expected


def test_an_ended_span_takes_no_attributes(seen: Any, name: str) -> None:
    """set() after the end says that it was not kept, and does not reach another span in its place."""
    with libperf.span(name) as first:
        pass
    with libperf.span(name) as second:
        assert not first.set(late=1)
        assert second.set(mine=2)
    assert [span.attributes for span in seen.spans(name)] == [{}, {"mine": 2}]


# ---- life ----


def test_duration_is_there_after_the_end(seen: Any, name: str) -> None:
    """In seconds, the same as readers see."""
    with libperf.span(name) as span:
        assert span.duration == 0.0
    assert span.duration == seen.totals(name).sum > 0


def test_given_times_are_kept(seen: Any, name: str) -> None:
    """A span between two given ticks lasts exactly as long."""
    begin = lib.perf_clock_ticks()
    end = begin + round(lib.perf_clock_ticks_per_s() * 2)
    handle = lib.perf_span_begin_at(intern(libperf.Kind.SPAN, name), ffi.new("perf_span *")[0], 7, begin)
    assert lib.perf_span_end_at(handle, lib.PERF_STATUS_OK, 0, end) == pytest.approx(2e9, rel=1e-3)
    assert (seen.span(name).task, seen.totals(name).sum) == (7, pytest.approx(2, rel=1e-3))


def test_used_twice_raises(name: str) -> None:
    """A span object is one span."""
    span = libperf.span(name)
    with span:
        pass
    with pytest.raises(RuntimeError, match="used once"), span:
        pass


def test_entered_twice_raises_and_the_first_goes_on(seen: Any, name: str) -> None:
    """The error of the second use does not harm the first."""
    with libperf.span(name) as span:
        with pytest.raises(RuntimeError, match="used once"):
            span.__enter__()
        assert libperf.current_span().id == span.id
    assert seen.totals(name).count == 1


def test_an_exception_is_recorded_by_its_class(seen: Any, name: str) -> None:
    """It goes on, and its message is kept nowhere."""
    error = ValueError("secret")
    with pytest.raises(ValueError) as raised, libperf.span(name):
        raise error
    assert raised.value is error
    assert seen.counts(name) == (1, 1, 0)
    assert seen.span(name).attributes == {"error.type": "ValueError"}


def test_async_with(seen: Any, name: str) -> None:
    """The same class serves `async with`."""

    async def main() -> None:
        async with libperf.span(name, a=1) as span:
            await asyncio.sleep(0)
            assert libperf.current_span().id == span.id

    asyncio.run(main())
    assert seen.span(name).attributes == {"a": 1}


def test_nested_spans_are_parents(seen: Any, name: str) -> None:
    """The inner one's parent is the outer one, in the same trace."""
    with libperf.span(f"{name}.outer"), libperf.span(f"{name}.inner"):
        pass
    outer, inner = seen.span(f"{name}.outer"), seen.span(f"{name}.inner")
    assert (outer.parent, inner.parent, inner.trace_id) == (0, outer.id, outer.trace_id)


def test_roots_have_traces_of_their_own(seen: Any, name: str) -> None:
    """Two roots share no trace id."""
    for _ in range(2):
        with libperf.span(name):
            pass
    assert len({span.trace_id for span in seen.spans(name)}) == 2


def test_an_open_span_is_visible(seen: Any, name: str) -> None:
    """Readers see it, with its attributes, before it has ended."""
    with libperf.span(name, a="x") as span:
        (found,) = seen.open(name)
        assert (found.attributes, found.end, f"{found.id:016x}") == ({"a": "x"}, None, span.id)
    assert seen.open(name) == []


def test_a_kind_can_be_given(seen: Any, name: str) -> None:
    """`kind=` is a word or a Kind."""
    with libperf.span(name, kind="tool"), libperf.span(name, kind=libperf.Kind.RETRIEVER):
        pass
    assert [span.kind for span in seen.spans(name)] == [libperf.Kind.TOOL, libperf.Kind.RETRIEVER]


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        (lambda: libperf.span("x", kind="db"), ValueError, "kind='db'"),
        (lambda: libperf.span("x", kind=libperf.Kind.KEY), ValueError, "Kind.KEY"),
        (lambda: libperf.span(5), TypeError, "not 5"),
        (lambda: libperf.span("x", parent=5).__enter__(), TypeError, "parent=5"),
    ],
)
def test_wrong_use_names_what_was_wrong(wrong: Any, error: type[Exception], named: str) -> None:
    """A wrong argument raises, and the message holds it."""
    with pytest.raises(error) as raised:
        wrong()
    assert named in str(raised.value)


def test_more_open_spans_than_are_visible(seen: Any, name: str) -> None:
    """Beyond 1,024 in a thread they are still recorded, and counted as unseen."""
    before = seen.losses().get("spans_unseen", 0)
    number = intern(libperf.Kind.SPAN, name)
    none = ffi.new("perf_span *")[0]
    handles = [lib.perf_span_begin(number, none) for _ in range(1500)]
    for handle in handles:
        lib.perf_span_end(handle)
    assert seen.totals(name).count == 1500
    assert 0 < seen.losses()["spans_unseen"] - before <= 1500 - 1024 + 1


# ---- parents and headers ----


def test_parent_can_be_another_span(seen: Any, name: str) -> None:
    """Also one that has ended, whatever is current."""
    with libperf.span(f"{name}.parent") as parent:
        pass
    with libperf.span(f"{name}.other"), libperf.span(f"{name}.child", parent=parent):
        pass
    assert seen.span(f"{name}.child").parent == seen.span(f"{name}.parent").id


def test_a_parent_that_is_no_span_makes_a_root(seen: Any, name: str) -> None:
    """current_span() outside of all spans can be given as a parent."""
    none = libperf.current_span()
    with libperf.span(f"{name}.outer"), libperf.span(name, parent=none):
        pass
    assert seen.span(name).parent == 0


def test_parent_can_be_a_header(seen: Any, name: str) -> None:
    """A W3C traceparent gives trace id and parent id."""
    with libperf.span(name, parent=HEADER) as span:
        pass
    found = seen.span(name)
    assert (f"{found.trace_id:032x}", f"{found.parent:016x}") == (HEADER[3:35], HEADER[36:52])
    assert span.trace_id == HEADER[3:35]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        HEADER[:-1],
        HEADER + "0",
        HEADER.upper(),
        HEADER.replace("00-", "ff-", 1),
        HEADER.replace("-01", "-0g"),
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        HEADER.replace("a", "é"),
    ],
)
def test_a_malformed_header_is_named(header: str) -> None:
    """InvalidError holds what was given, and no span becomes current."""
    with pytest.raises(InvalidError) as raised, libperf.span("malformed", parent=header):
        pass
    assert repr(header) in str(raised.value)
    assert not libperf.current_span()


def test_a_later_version_of_the_header_is_read(name: str) -> None:
    """By its first four fields, as the standard asks."""
    with libperf.span(name, parent=HEADER.replace("00-", "01-", 1) + "-more") as span:
        assert span.trace_id == HEADER[3:35]


def test_ids_are_those_of_the_standard(name: str) -> None:
    """16 and 32 lower-case hex digits, and a header made of them."""
    with libperf.span(name) as span:
        assert re.fullmatch("[0-9a-f]{16}", span.id)
        assert re.fullmatch("[0-9a-f]{32}", span.trace_id)
        assert span.traceparent == f"00-{span.trace_id}-{span.id}-01"


def test_a_header_comes_back_as_the_same_parent(seen: Any, name: str) -> None:
    """What one process writes another reads."""
    with libperf.span(f"{name}.client") as client:
        header = client.traceparent
    with libperf.span(f"{name}.server", parent=header):
        pass
    assert seen.span(f"{name}.server").parent == seen.span(f"{name}.client").id


def test_no_span_is_false_and_silent() -> None:
    """Outside of all spans: zeros, an empty header, and everything is ignored."""
    none = libperf.current_span()
    assert (bool(none), none.id, none.trace_id, none.traceparent) == (False, "0" * 16, "0" * 32, "")
    assert repr(none) == "<libperf.Span none>"
    assert not none.set(a=1)


def test_current_span_is_a_view(seen: Any, name: str) -> None:
    """Its attributes are those of the span itself."""
    with libperf.span(name) as span:
        view = libperf.current_span()
        assert (view.id, view.traceparent, bool(view)) == (span.id, span.traceparent, True)
        view.set(a=1)
    assert repr(span) == f"<libperf.Span {span.trace_id}/{span.id}>"
    assert isinstance(view, Span)
    assert seen.span(name).attributes == {"a": 1}


# ---- logs ----


@pytest.mark.parametrize(
    ("level", "number"),
    [("debug", 1), ("info", 2), ("warning", 3), ("error", 4), ("critical", 5), ("WARNING", 3), (0, 0), (255, 255)],
)
def test_a_log_line_has_a_level(seen: Any, name: str, level: str | int, number: int) -> None:
    """A word, or a number from 0 to 255."""
    with libperf.span(name) as span:
        assert span.log("something happened", level)
    (log,) = seen.logs(name)
    assert (log.status, log.attributes) == (number, {"message": "something happened"})


def test_a_log_line_belongs_to_its_span(seen: Any, name: str) -> None:
    """Its parent is the span, its time lies within, its level is info."""
    with libperf.span(name) as span:
        span.log("grüße 🐝")
    (log,), found = seen.logs(name), seen.span(name)
    assert (log.parent, log.trace_id, log.status) == (found.id, found.trace_id, 2)
    assert found.start <= log.start <= found.end
    assert log.attributes["message"] == "grüße 🐝"


def test_a_long_log_line_is_cut(seen: Any, name: str) -> None:
    """At 200 bytes, and log() says so."""
    with libperf.span(name) as span:
        assert not span.log("x" * 1000)
    assert seen.logs(name)[0].attributes == {"message": "x" * 200}


@pytest.mark.parametrize("level", ["loud", -1, 256, 2.5, None])
def test_a_wrong_level_is_named(name: str, level: Any) -> None:
    """ValueError holds it, and lists those there are."""
    with libperf.span(name) as span, pytest.raises(ValueError, match="is none of: debug, info") as raised:
        span.log("x", level)
    assert repr(level) in str(raised.value)
