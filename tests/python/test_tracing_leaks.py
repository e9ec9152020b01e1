"""@libperf.trace keeps nothing alive: no frame, no exception, no argument."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

import libperf
from support_tracing import Boom

# ---- nothing is kept ----


def raise_boom() -> None:
    raise Boom


async def await_boom() -> None:
    await asyncio.sleep(0)
    raise Boom


async def await_failed_future() -> None:
    futures = [asyncio.get_running_loop().create_future()]
    asyncio.get_running_loop().call_soon(futures[0].set_exception, Boom())
    await futures.pop()


def generate_boom() -> Generator[int, None, None]:
    yield 1
    raise Boom


async def async_generate_boom() -> AsyncGenerator[int, None]:
    yield 1
    raise Boom


async def fail_function(decorate: Callable[[Any], Any]) -> None:
    decorate(raise_boom)()


async def fail_coroutine(decorate: Callable[[Any], Any]) -> None:
    await decorate(await_boom)()


async def fail_future(decorate: Callable[[Any], Any]) -> None:
    await decorate(await_failed_future)()


async def fail_generator(decorate: Callable[[Any], Any]) -> None:
    list(decorate(generate_boom)())


async def fail_thrown(decorate: Callable[[Any], Any]) -> None:
    generator = decorate(generate_boom)()
    next(generator)
    generator.throw(Boom())


async def fail_async_generator(decorate: Callable[[Any], Any]) -> None:
    async for _ in decorate(async_generate_boom)():
        pass


async def fail_async_thrown(decorate: Callable[[Any], Any]) -> None:
    generator = decorate(async_generate_boom)()
    await generator.__anext__()
    await generator.athrow(Boom())


@pytest.mark.parametrize("fail", [value for key, value in sorted(globals().items()) if key.startswith("fail_")])
def test_an_exception_keeps_nothing_alive(fail: Callable[[Any], Any]) -> None:
    """The exception goes when the caller lets go of it, without the garbage collector: there is no circle."""

    async def gone(decorate: Callable[[Any], Any]) -> bool:
        try:
            await fail(decorate)
        except Boom as boom:
            ref = weakref.ref(boom)
        await asyncio.sleep(0)  # the task that was given it holds it until its next step
        return ref() is None

    async def main() -> tuple[bool, bool]:
        return await gone(lambda function: function), await gone(libperf.trace)

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(main()) == (True, True)
    finally:
        gc.enable()


MANY_CALLS = """
import contextlib, gc, sys
import libperf

@libperf.trace
def function(): pass

@libperf.trace
async def coroutine(): pass

@libperf.trace
def generator(): yield from ()

def call(times):
    for _ in range(times):
        function()
        list(generator())
        with contextlib.suppress(StopIteration):
            coroutine().send(None)

call(2000)
gc.collect()
before = sys.getallocatedblocks()
call(100_000 // 3)
gc.collect()
print(abs(sys.getallocatedblocks() - before))
"""


def test_many_calls_leave_nothing_behind(run: Callable[..., Any]) -> None:
    """A hundred thousand calls do not change the number of blocks that Python has allocated."""
    assert int(run(MANY_CALLS).stdout) < 200
