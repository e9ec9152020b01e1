"""What tests of batchers share: a limit that makes a hang a failure, functions that wait for the test, processes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from libperf.batcher import BatchProcessor

LIMIT = 20.0  # seconds: nothing here takes one; it is what a hang takes


class Hang(BaseException):
    """Not an Exception: nobody on the way may take it for a failure of the function."""


@contextlib.contextmanager
def limit(seconds: float = LIMIT) -> Iterator[None]:
    """Whoever hangs in the main thread, fails."""

    def ring(*_: object) -> None:
        raise Hang(f"hangs: not done after {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Gate:
    """A function of batches that says when it was called, and waits until it may go on."""

    def __init__(self, answer: Callable[[list[Any]], Any] = list) -> None:
        self.answer = answer
        self.batches: list[list[Any]] = []
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, items: list[Any]) -> Any:
        self.batches.append(list(items))
        self.entered.release()
        assert self.open.wait(LIMIT)
        return self.answer(items)


class AsyncGate:
    """The same as a coroutine function, in one event loop."""

    def __init__(self, answer: Callable[[list[Any]], Any] = list) -> None:
        self.answer = answer
        self.batches: list[list[Any]] = []
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, items: list[Any]) -> Any:
        self.batches.append(list(items))
        self.entered.set()
        await self.open.wait()
        return self.answer(items)


def both_kinds(function: Callable[[list[Any]], Any]) -> dict[str, Callable[..., Any]]:
    """As an ordinary function and as a coroutine function."""

    async def of_loop(items: list[Any]) -> Any:
        return function(items)

    return {"def": function, "async def": of_loop}


def outcomes(futures: list[Any], timeout: float = LIMIT) -> list[Any]:
    """What became of each: its result, or its exception."""
    found: list[Any] = []
    for future in futures:
        try:
            found.append(future.result(timeout))
        except BaseException as error:
            if isinstance(error, Hang):
                raise
            found.append(error)
    return found


def accounts(processor: BatchProcessor[Any, Any]) -> None:
    """Each item that was submitted has come to exactly one end."""
    stats = processor.get_stats()
    ends = stats["finished"] + stats["cancelled"]
    ends += sum(stats["drops"][name] for name in ("expired", "infeasible", "shed", "closed"))
    assert stats["submitted"] == ends, stats
    assert stats["blocked"] == stats["queued"] == stats["running"] == 0, stats


def run_python(source: str, *options: str, expect: int = 0) -> str:
    """In a fresh interpreter; what it printed. It has nothing to complain about."""
    done = subprocess.run(
        [sys.executable, *options, "-c", source], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert done.returncode == expect and not done.stderr, (done.returncode, done.stdout, done.stderr)
    return done.stdout
