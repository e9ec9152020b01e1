"""Slow calls: listed, logged and told to callbacks when, and only when, a call took longer than its threshold."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from typing import Any

import pytest

import libperf
from libperf import handles, slow
from libperf._core import ffi
from libperf.slow import AROUND, KEPT, Slow, SlowCall, on_slow_call, slow_calls

BOUND = 2**-30  # a threshold in seconds that is exact in binary


@pytest.fixture
def told() -> Iterator[list[SlowCall]]:
    """What a callback was told."""
    found: list[SlowCall] = []
    take_back = on_slow_call(found.append)
    yield found
    take_back()


def handle() -> Any:
    """A span that nobody has begun, for calls whose durations are given."""
    return handles.from_struct(ffi.new("perf_span *", {"trace_hi": 0xA, "trace_lo": 0xB, "id": 0xC})[0])


def calls_of(name: str) -> list[SlowCall]:
    return [call for call in slow_calls() if call.name == name]


# ---- when ----


@pytest.mark.parametrize(
    ("threshold", "duration_ns", "is_slow"),
    [
        (1.0, 999_999_999, False),
        (1.0, 1_000_000_000, False),
        (1.0, 1_000_000_001, True),
        (0, 0, False),
        (0, 1, True),
        (0.25, 250_000_001, True),
        (1e9, 10**17, False),
        (float("inf"), 2**63, False),
    ],
)
def test_longer_than_the_threshold_is_slow(
    told: list[SlowCall], name: str, threshold: float, duration_ns: int, is_slow: bool
) -> None:
    """Exactly at the threshold is not; the durations are given, no clock is asked."""
    Slow(name, threshold)(handle(), duration_ns)
    assert [call.duration for call in calls_of(name)] == ([duration_ns / 1e9] if is_slow else [])
    assert told == calls_of(name)


@pytest.mark.parametrize("wrong", [-1, float("nan"), "1", None, [1.0], -1e-12], ids=repr)
def test_what_is_no_threshold_is_named(wrong: Any) -> None:
    """ValueError holds it."""
    with pytest.raises(ValueError, match="is not a number of seconds") as raised:
        Slow("x", wrong)
    assert f"slow={wrong!r}" in str(raised.value)


def test_a_threshold_that_is_not_passed_says_nothing(told: list[SlowCall], name: str, caplog: Any) -> None:
    """An hour: neither listed, nor told, nor logged."""
    libperf.trace(name, slow=3600)(lambda: None)()
    assert (calls_of(name), told, caplog.records) == ([], [], [])


# ---- what is said ----


def test_a_slow_call_says_which_it_was(seen: Any, told: list[SlowCall], name: str, caplog: Any) -> None:
    """Name, duration, threshold, time of day, and the ids of its span; a warning of the logger "libperf"."""
    before = time.time()
    libperf.trace(name, slow=0)(lambda: None)()
    after = time.time()
    (call,) = calls_of(name)
    span = seen.span(name)
    assert told == [call]
    assert (call.trace_id, call.span_id) == (f"{span.trace_id:032x}", f"{span.id:016x}")
    assert call.duration == pytest.approx(seen.totals(name).sum, abs=1e-9)
    assert call.threshold == 0
    assert before <= call.at <= after
    (entry,) = caplog.records
    assert (entry.name, entry.levelno) == ("libperf", logging.WARNING)
    assert entry.getMessage() == f"{name} took {call.duration:.3f} s (threshold 0 s)"


# ---- what is around it ----


def test_the_open_spans_around_it_are_named(told: list[SlowCall], name: str, caplog: Any) -> None:
    """From the root on, of whatever kind they are; those beside it, and what has ended, are not around it."""
    traced = libperf.trace(name, slow=0)(lambda: None)
    with libperf.span("agent"):
        with libperf.span("before"):
            pass
        with libperf.span("plan", kind="node"):
            libperf.trace("inner")(traced)()
    traced()
    assert [call.around for call in told] == [("agent", "plan", "inner"), ()]
    first, second = (entry.getMessage() for entry in caplog.records)
    assert first.endswith("s (threshold 0 s) in agent > plan > inner")
    assert second.endswith("s (threshold 0 s)")


def test_tasks_and_threads_have_their_own_around_them(told: list[SlowCall], name: str) -> None:
    """Tasks that run side by side; a thread that was given a span, and one that was not."""
    traced = libperf.trace(name, slow=0)(lambda: None)

    @libperf.trace(name, slow=0)
    async def ask() -> None:
        await asyncio.sleep(0)

    async def branch(letter: str) -> None:
        with libperf.span(letter):
            await ask()

    async def main() -> None:
        with libperf.span("main"):
            await asyncio.gather(branch("a"), branch("b"))

    asyncio.run(main())
    assert sorted(call.around for call in told) == [("main", "a"), ("main", "b")]
    told.clear()
    with libperf.span("outer"):
        for target in (libperf.wrap(traced), traced):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert [call.around for call in told] == [("outer",), ()]


def test_what_has_ended_is_not_around_it(told: list[SlowCall], name: str) -> None:
    """A task that outlives the span it began in: nobody waits there any more."""

    async def main() -> None:
        go = asyncio.Event()

        @libperf.trace(name, slow=0)
        async def late() -> None:
            await go.wait()

        with libperf.span("root"), libperf.span("over"):
            task = asyncio.create_task(late())
            await asyncio.sleep(0)
        go.set()
        await task

    asyncio.run(main())
    assert [call.around for call in told] == [()]


def test_names_that_would_break_the_log(told: list[SlowCall], caplog: Any) -> None:
    """A line stays a line, and steers no terminal; the list has the names as they are."""
    outer, inner = "a\nb\x1b[31m\r\u2028\x9b", "c\nERROR forged"
    with libperf.span(outer):
        libperf.trace(inner, slow=0)(lambda: None)()
    (entry,) = caplog.records
    assert entry.getMessage().isprintable()
    assert entry.getMessage().startswith("c ERROR forged took ")
    assert [(call.name, call.around) for call in told] == [(inner, (outer,))]


def test_of_a_deep_stack_the_innermost_are_named(told: list[SlowCall], name: str) -> None:
    """So many that a line of the log can be read."""
    with contextlib.ExitStack() as stack:
        for depth in range(AROUND + 10):
            stack.enter_context(libperf.span(f"depth {depth}"))
        libperf.trace(name, slow=0)(lambda: None)()
    assert told[0].around == tuple(f"depth {depth}" for depth in range(10, AROUND + 10))


def test_a_call_that_is_not_slow_asks_for_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the slow path looks around."""
    monkeypatch.setattr(slow, "spans_around", lambda handle: pytest.fail("asked"))
    libperf.trace(name, slow=3600)(lambda: None)()


# ---- every kind of function ----


def plain() -> None:
    """A function."""


async def coroutine() -> None:
    await asyncio.sleep(0)


def generator() -> Generator[int, None, None]:
    yield 1


async def async_generator() -> AsyncGenerator[int, None]:
    yield 1


async def use(traced: Callable[[], Any]) -> None:
    """Call it, whatever it is."""
    result = traced()
    if hasattr(result, "__await__"):
        await result
    elif hasattr(result, "__anext__"):
        async for _ in result:
            pass
    elif result is not None:
        list(result)


@pytest.mark.parametrize("function", [plain, coroutine, generator, async_generator])
def test_every_kind_of_function_has_a_threshold(name: str, function: Callable[[], Any]) -> None:
    """Once a call, at its end."""
    traced = libperf.trace(name, slow=0)(function)
    asyncio.run(use(traced))
    asyncio.run(use(traced))
    assert len(calls_of(name)) == 2


def test_a_call_that_raises_can_be_slow(told: list[SlowCall], name: str) -> None:
    """It is told before the exception goes on, which is the function's own."""
    with pytest.raises(ZeroDivisionError):
        libperf.trace(name, slow=0)(lambda: 1 / 0)()
    assert [call.name for call in told] == [name]


def test_the_threshold_of_a_generator_leaves_its_consumer_out(told: list[SlowCall], name: str) -> None:
    """The duration is the one that is recorded: without the time between a yield and the next step."""
    slow_one = libperf.trace(name, slow=0)(generator)
    for _ in slow_one():
        until = time.perf_counter() + 0.02
        while time.perf_counter() < until:
            pass
    (call,) = told
    assert 0 < call.duration < 0.02


# ---- callbacks ----


def test_a_callback_that_raises_is_logged(told: list[SlowCall], name: str, caplog: Any) -> None:
    """The function's result comes through, the next callback is called, the traceback is in the log."""

    def broken(call: SlowCall) -> None:
        raise KeyError("broken callback")

    take_back = on_slow_call(broken)
    after: list[SlowCall] = []
    take_back_after = on_slow_call(after.append)
    try:
        assert libperf.trace(name, slow=0)(lambda: 5)() == 5
    finally:
        take_back()
        take_back_after()
    assert told == after == calls_of(name)
    assert "broken callback" in caplog.text
    assert "a callback for slow calls failed" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_callback_is_not_swallowed(name: str, error: type[BaseException]) -> None:
    """Ctrl-C ends the program, wherever it strikes; what was current before is current again."""

    def interrupted(call: SlowCall) -> None:
        raise error

    take_back = on_slow_call(interrupted)
    try:
        with pytest.raises(error):
            libperf.trace(name, slow=0)(lambda: None)()
    finally:
        take_back()
    assert not libperf.current_span()


def test_a_callback_is_taken_back(name: str) -> None:
    """Calling what on_slow_call() returned ends it; twice does no harm, and others stay."""
    first: list[SlowCall] = []
    second: list[SlowCall] = []
    take_first, take_second = on_slow_call(first.append), on_slow_call(second.append)
    traced = libperf.trace(name, slow=0)(lambda: None)
    traced()
    take_first()
    take_first()
    traced()
    take_second()
    traced()
    assert (len(first), len(second)) == (1, 2)


def test_each_registration_is_taken_back_once(name: str) -> None:
    """The same callback given twice is called twice, and each return value takes back one of them."""
    found: list[SlowCall] = []
    take_first, take_second = on_slow_call(found.append), on_slow_call(found.append)
    traced = libperf.trace(name, slow=0)(lambda: None)
    traced()
    take_first()
    take_first()
    traced()
    take_second()
    traced()
    assert len(found) == 3


def test_a_callback_must_be_callable() -> None:
    """TypeError when it is given, not a line in the log when it is needed."""
    with pytest.raises(TypeError, match="callable"):
        on_slow_call("print")  # type: ignore[arg-type]


def test_a_callback_may_take_itself_back(told: list[SlowCall], name: str) -> None:
    """While callbacks are being called; nobody else is left out."""
    once: list[SlowCall] = []

    def only_once(call: SlowCall) -> None:
        once.append(call)
        take_back()

    take_back = on_slow_call(only_once)
    after: list[SlowCall] = []
    take_back_after = on_slow_call(after.append)
    traced = libperf.trace(name, slow=0)(lambda: None)
    traced()
    traced()
    take_back_after()
    assert (len(once), len(told), len(after)) == (1, 2, 2)


def test_a_callback_runs_in_the_thread_of_the_call(name: str) -> None:
    """At once, not later and elsewhere."""
    threads: list[int] = []
    take_back = on_slow_call(lambda call: threads.append(threading.get_ident()))
    thread = threading.Thread(target=libperf.trace(name, slow=0)(lambda: None))
    thread.start()
    ident = thread.ident
    thread.join()
    take_back()
    assert threads == [ident]


# ---- the list ----


def test_the_list_is_bounded(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The latest 1,000 stay, oldest first, and changing what was returned changes nothing."""
    monkeypatch.setattr(slow.logger, "disabled", True)
    traced = libperf.trace(name, slow=0)(lambda: None)
    libperf.trace(f"{name}.first", slow=0)(lambda: None)()
    for _ in range(KEPT):
        traced()
    assert len(slow_calls()) == len(calls_of(name)) == KEPT == 1000
    assert [call.at for call in slow_calls()] == sorted(call.at for call in slow_calls())
    slow_calls().clear()
    assert len(slow_calls()) == KEPT


def test_slow_calls_of_many_threads(monkeypatch: pytest.MonkeyPatch, told: list[SlowCall], name: str) -> None:
    """None is lost, and reading the list meanwhile does no harm."""
    monkeypatch.setattr(slow.logger, "disabled", True)
    traced = libperf.trace(name, slow=0)(lambda: None)

    def many() -> None:
        for _ in range(100):
            traced()
            slow_calls()

    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == len(calls_of(name)) == 800
