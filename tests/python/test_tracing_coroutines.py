"""@libperf.trace on coroutines and async generators: they do what they did undecorated, cancelled or not."""

from __future__ import annotations

import asyncio
import gc
import random
import types
import warnings
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

import libperf
from support_tracing import burn, outcome, random_script

# ---- coroutines and async generators: the same results as undecorated ----


@types.coroutine
def pause(value: Any) -> Generator[Any, Any, Any]:
    """What an event loop would see."""
    return (yield value)


async def c_plain(log: list[Any]) -> Any:
    log.append(await pause(1))
    log.append(await pause(2))
    return "done"


async def c_catches(log: list[Any]) -> Any:
    for n in range(4):
        try:
            log.append(await pause(n))
        except (ValueError, asyncio.CancelledError) as error:
            log.append(type(error))
            await pause("caught")
    return tuple(log)


async def c_ignores_exit(log: list[Any]) -> Any:
    try:
        await pause(1)
    except GeneratorExit:
        log.append("exit")
        await pause("ignored")
    return 1


async def c_returns_at_exit(log: list[Any]) -> Any:
    try:
        await pause(1)
        await pause(2)
    except GeneratorExit:
        return "bye"


async def c_cleanup(log: list[Any]) -> Any:
    try:
        await pause(1)
    finally:
        log.append("cleanup")
        await pause("cleaning")


async def c_raises_stop(log: list[Any]) -> Any:
    await pause(1)
    raise StopIteration(5)


async def c_raises_stop_async(log: list[Any]) -> Any:
    await pause(1)
    raise StopAsyncIteration(5)


async def c_nested(log: list[Any]) -> Any:
    log.append(await c_catches(log))
    return await c_plain(log)


async def c_chains(log: list[Any]) -> Any:
    try:
        await pause(1)
    except ValueError as error:
        raise LookupError("chained") from error


async def c_at_once(log: list[Any]) -> Any:
    return 4


COROUTINES = [value for key, value in sorted(globals().items()) if key.startswith("c_")]


def play_coroutine(coroutine: Any, script: list[tuple[str, Any]]) -> list[Any]:
    """The same steps for a coroutine: it has no next(), and what awaits one gives it GeneratorExit by close()."""
    results: list[Any] = []
    for what, value in script:
        if what == "next":
            results.append(outcome(coroutine.send, None))
        elif what == "send":
            results.append(outcome(coroutine.send, value if results else None))
        elif what == "throw":
            results.append(outcome(coroutine.throw, (KeyError if value is GeneratorExit else value)("thrown")))
        else:
            results.append(outcome(coroutine.close)[:2])
            if results[-1][0] is RuntimeError:
                return results  # it went on waiting in spite of it
    while results[-1][0] == "value":
        results.append(outcome(coroutine.send, None))
    return results


@pytest.mark.parametrize("function", COROUTINES)
def test_a_coroutine_does_what_it_did_undecorated(function: Callable[..., Any]) -> None:
    """300 random scripts of send, throw and close give the same results, and the same happens inside."""
    for seed in range(300):
        script = random_script(seed)
        expected_log: list[Any] = []
        actual_log: list[Any] = []
        expected = play_coroutine(function(expected_log), script)
        actual = play_coroutine(libperf.trace(function)(actual_log), script)
        assert (actual, actual_log) == (expected, expected_log), script


@pytest.mark.parametrize("function", COROUTINES)
def test_a_coroutine_ends_its_span_whatever_happens(seen: Any, name: str, function: Callable[..., Any]) -> None:
    """After any script every span that began has ended, and none is current."""
    traced = libperf.trace(name)(function)
    for seed in range(50):
        play_coroutine(traced([]), random_script(seed))
    assert seen.open(name) == []
    assert not libperf.current_span()


async def a_plain(log: list[Any]) -> AsyncGenerator[Any, Any]:
    log.append((yield 1))
    await pause("between")
    log.append((yield 2))


async def a_catches(log: list[Any]) -> AsyncGenerator[Any, Any]:
    for n in range(4):
        try:
            log.append((yield n))
            await pause("awaited")
        except (ValueError, StopIteration, StopAsyncIteration, asyncio.CancelledError) as error:
            log.append(type(error))
            yield "caught"


async def a_ignores_exit(log: list[Any]) -> AsyncGenerator[Any, Any]:
    for n in range(4):
        try:
            yield n
        except GeneratorExit:
            log.append("exit")
            yield "ignored"


async def a_cleanup(log: list[Any]) -> AsyncGenerator[Any, Any]:
    try:
        yield 1
        yield 2
    finally:
        await pause("cleaning")
        log.append("cleanup")


async def a_cleanup_raises(log: list[Any]) -> AsyncGenerator[Any, Any]:
    try:
        yield 1
    finally:
        raise KeyError("cleanup")


async def a_raises_stop(log: list[Any]) -> AsyncGenerator[Any, Any]:
    yield 1
    raise StopAsyncIteration(5)


async def a_returns_at_exit(log: list[Any]) -> AsyncGenerator[Any, Any]:
    try:
        yield 1
    except GeneratorExit:
        log.append("exit")


async def a_nested(log: list[Any]) -> AsyncGenerator[Any, Any]:
    async for value in a_catches(log):
        yield value
    await c_catches(log)
    yield "last"


async def a_empty(log: list[Any]) -> AsyncGenerator[Any, Any]:
    return
    yield


ASYNC_GENERATORS = [value for key, value in sorted(globals().items()) if key.startswith("a_")]


def drive(awaitable: Any, dice: random.Random) -> tuple[Any, ...]:
    """Await by hand, now and then throwing something in where it waits."""
    result = outcome(awaitable.send, None)
    waits: list[Any] = []
    while result[0] == "value":  # it waits: the event loop's turn
        waits.append(result[1])
        if dice.random() < 0.25:
            result = outcome(awaitable.throw, dice.choice((ValueError, asyncio.CancelledError))("into the wait"))
        else:
            result = outcome(awaitable.send, dice.randrange(100))
    return (waits, *result)


def play_async(generator: Any, seed: int) -> list[Any]:
    """Take random steps, then go on to the end."""
    dice = random.Random(seed)
    results: list[Any] = []
    for what, value in random_script(seed):
        if what == "next":
            results.append(drive(generator.__anext__(), dice))
        elif what == "send":
            results.append(drive(generator.asend(value if results else None), dice))
        elif what == "throw":
            results.append(drive(generator.athrow(value("thrown")), dice))
        else:
            results.append(drive(generator.aclose(), dice))
    for _ in range(20):
        results.append(drive(generator.__anext__(), dice))
        if results[-1][1] is StopAsyncIteration:
            break
    return results


@pytest.mark.parametrize("function", ASYNC_GENERATORS)
def test_an_async_generator_does_what_it_did_undecorated(function: Callable[..., Any]) -> None:
    """300 random scripts of asend, athrow and aclose give the same results, and the same happens inside."""
    for seed in range(300):
        expected_log: list[Any] = []
        actual_log: list[Any] = []
        expected = play_async(function(expected_log), seed)
        actual = play_async(libperf.trace(function)(actual_log), seed)
        assert (actual, actual_log) == (expected, expected_log), seed


@pytest.mark.parametrize("function", ASYNC_GENERATORS)
def test_an_async_generator_ends_its_span_whatever_happens(seen: Any, name: str, function: Callable[..., Any]) -> None:
    """After any script every span that began has ended, and none is current."""
    traced = libperf.trace(name)(function)
    for seed in range(50):
        play_async(traced([]), seed)
    assert seen.open(name) == []
    assert not libperf.current_span()


def test_an_async_generators_latency_leaves_its_consumer_out(seen: Any, name: str) -> None:
    """While it waits at a yield its clock stands: latency + pause = end - start."""

    @libperf.trace(name)
    async def gives() -> AsyncGenerator[int, None]:
        for n in range(3):
            await asyncio.sleep(0)
            yield n

    async def main() -> None:
        async for _ in gives():
            burn(1_000_000)

    asyncio.run(main())
    span = seen.span(name)
    assert span.attributes["paused_ns"] >= 3 * 1_000_000 * 0.99
    assert abs(span.end - span.start - span.attributes["paused_ns"] - seen.totals(name).sum * 1e9) < 1000


def test_a_coroutines_latency_holds_its_waiting(seen: Any, name: str) -> None:
    """What an awaited coroutine waits for is part of its latency."""

    @libperf.trace(name)
    async def waits() -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        asyncio.get_running_loop().call_soon(burn, 2_000_000)
        await waits()

    asyncio.run(main())
    assert seen.totals(name).sum >= 0.002 * 0.99


# ---- cancelling ----


def test_a_cancelled_coroutine_is_neither_success_nor_error(seen: Any, name: str) -> None:
    """CancelledError counts as cancelled."""

    @libperf.trace(name)
    async def waits() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(waits())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen.counts(name) == (1, 0, 1)
    assert (seen.span(name).status, seen.span(name).attributes) == (2, {})


def test_a_coroutine_may_swallow_its_cancelling(seen: Any, name: str) -> None:
    """It then ended well, with its own result."""

    @libperf.trace(name)
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "finished"

    async def main() -> str:
        task = asyncio.create_task(stubborn())
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(main()) == "finished"
    assert seen.counts(name) == (1, 0, 0)


def test_a_closed_coroutine_is_cancelled(seen: Any, name: str) -> None:
    """close() in the middle of a wait counts as cancelled."""
    coroutine = libperf.trace(name)(c_plain)([])
    coroutine.send(None)
    coroutine.close()
    assert seen.counts(name) == (1, 0, 1)


def test_a_coroutine_that_is_never_awaited_warns_as_before(seen: Any, name: str) -> None:
    """Python's own warning names the user's function, and nothing is recorded."""

    async def forgotten() -> None: ...

    traced = libperf.trace(name)(forgotten)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        traced()
        gc.collect()
    assert [str(warning.message) for warning in caught] == [f"coroutine '{forgotten.__qualname__}' was never awaited"]
    assert (seen.totals(name).count, seen.open(name)) == (0, [])
