"""@libperf.trace on generators: they do what they did undecorated, whatever a consumer does to them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Generator
from typing import Any

import pytest

import libperf
from support_tracing import burn, outcome, random_script

# ---- generators: the same results as undecorated ----


def g_plain(log: list[Any]) -> Generator[Any, Any, Any]:
    a = yield 1
    log.append(a)
    b = yield a
    log.append(b)
    return b


def g_catches(log: list[Any]) -> Generator[Any, Any, Any]:
    for n in range(5):
        try:
            log.append((yield n))
        except (ValueError, StopIteration, StopAsyncIteration) as error:
            log.append(type(error))
            yield "caught"


def g_ignores_exit(log: list[Any]) -> Generator[Any, Any, Any]:
    for n in range(4):
        try:
            yield n
        except GeneratorExit:
            log.append("exit")
            yield "ignored"


def g_returns_at_exit(log: list[Any]) -> Generator[Any, Any, Any]:
    try:
        yield 1
        yield 2
    except GeneratorExit:
        log.append("exit")
        return "bye"


def g_cleanup(log: list[Any]) -> Generator[Any, Any, Any]:
    try:
        yield 1
        yield 2
    finally:
        log.append("cleanup")


def g_cleanup_raises(log: list[Any]) -> Generator[Any, Any, Any]:
    try:
        yield 1
        yield 2
    finally:
        log.append("cleanup")
        raise KeyError("cleanup")


def g_raises_stop(log: list[Any]) -> Generator[Any, Any, Any]:
    yield 1
    raise StopIteration(5)


def g_chains(log: list[Any]) -> Generator[Any, Any, Any]:
    try:
        yield 1
    except ValueError as error:
        raise LookupError("chained") from error
    yield 2


def g_delegates(log: list[Any]) -> Generator[Any, Any, Any]:
    result = yield from g_catches(log)
    log.append(result)
    yield from [7, 8]
    return "delegated"


def g_returns_at_once(log: list[Any]) -> Generator[Any, Any, Any]:
    return 3
    yield


def g_raises_at_once(log: list[Any]) -> Generator[Any, Any, Any]:
    raise OSError("at once")
    yield


def play(generator: Any, script: list[tuple[str, Any]]) -> list[Any]:
    """Take the steps, then go on to the end."""
    results: list[Any] = []
    for what, value in script:
        if what == "next":
            results.append(outcome(next, generator))
        elif what == "send":
            results.append(outcome(generator.send, value))
        elif what == "throw":
            results.append(outcome(generator.throw, value("thrown")))
        else:
            results.append(outcome(generator.close))
    while not results or results[-1][0] == "value":
        results.append(outcome(next, generator))
    return results


GENERATORS = [value for key, value in sorted(globals().items()) if key.startswith("g_")]


@pytest.mark.parametrize("function", GENERATORS)
def test_a_generator_does_what_it_did_undecorated(function: Callable[..., Any]) -> None:
    """300 random scripts of next, send, throw and close give the same results, and the same happens inside."""
    for seed in range(300):
        script = random_script(seed)
        expected_log: list[Any] = []
        actual_log: list[Any] = []
        expected = play(function(expected_log), script)
        actual = play(libperf.trace(function)(actual_log), script)
        assert (actual, actual_log) == (expected, expected_log), script


@pytest.mark.parametrize("function", GENERATORS)
def test_a_generator_ends_its_span_whatever_happens(seen: Any, name: str, function: Callable[..., Any]) -> None:
    """After any script every span that began has ended."""
    traced = libperf.trace(name)(function)
    for seed in range(50):
        play(traced([]), random_script(seed))
    assert seen.open(name) == []
    assert not libperf.current_span()


def test_a_generator_is_one_call(seen: Any, name: str) -> None:
    """However many values it gives, it is counted once, when it has ended."""
    assert list(libperf.trace(name)(g_delegates)([])) == [0, 1, 2, 3, 4, 7, 8]
    assert seen.counts(name) == (1, 0, 0)


def test_a_generator_that_never_ran_is_no_call(seen: Any, name: str) -> None:
    """Calling the function is not enough."""
    libperf.trace(name)(g_plain)([]).close()
    assert (seen.totals(name).count, seen.open(name)) == (0, [])


def test_a_generator_left_early_is_no_error(seen: Any, name: str) -> None:
    """A consumer that has had enough ends the call in good order."""
    for _ in libperf.trace(name)(g_delegates)([]):
        break
    gc.collect()
    assert seen.counts(name) == (1, 0, 0)


def test_a_generator_that_raises_is_an_error(seen: Any, name: str) -> None:
    """The exception is counted, and named."""
    with pytest.raises(OSError, match="at once"):
        next(libperf.trace(name)(g_raises_at_once)([]))
    assert seen.counts(name) == (1, 1, 0)
    assert seen.span(name).attributes["error.type"] == "OSError"


def test_a_generators_latency_leaves_its_consumer_out(seen: Any, name: str) -> None:
    """While it waits at a yield its clock stands: latency + pause = end - start."""
    for _ in libperf.trace(name)(g_delegates)([]):
        burn(1_000_000)
    span = seen.span(name)
    assert span.attributes["paused_ns"] >= 7 * 1_000_000 * 0.99
    assert abs(span.end - span.start - span.attributes["paused_ns"] - seen.totals(name).sum * 1e9) < 1000


def test_a_generators_latency_holds_its_own_time(seen: Any, name: str) -> None:
    """What it does between two yields is counted."""

    @libperf.trace(name)
    def busy() -> Generator[int, None, None]:
        for n in range(3):
            burn(1_000_000)
            yield n

    assert list(busy()) == [0, 1, 2]
    assert seen.totals(name).sum >= 0.003 * 0.99


def test_a_generator_does_not_keep_what_it_gave(name: str) -> None:
    """While it makes the next value, the last one can go."""

    class Big:
        pass

    alive: list[weakref.ref[Big]] = []
    gone: list[bool] = []

    @libperf.trace(name)
    def gives() -> Generator[Big, None, None]:
        for _ in range(3):
            gone.append(all(ref() is None for ref in alive))
            yield (lambda big: alive.append(weakref.ref(big)) or big)(Big())

    for value in gives():
        del value
    assert gone == [True, True, True]
