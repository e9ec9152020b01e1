"""What the agents share: how to apply the fix that the environment asks for, CPU work of known size, the run.

`FIX=name` applies one fix: the operation `name` takes half its time, or the resource `name` gets twice its capacity.
"""

import asyncio
import inspect
import os
import time
from collections.abc import Callable
from typing import Any

FIX = os.environ.get("FIX", "")


def fixed(name: str) -> bool:
    return name == FIX


def scale(name: str) -> float:
    """What to multiply the durations of an operation by."""
    return 0.5 if fixed(name) else 1.0


def capacity(name: str, value: int) -> int:
    """How many a resource admits, or how many workers it has."""
    return value * 2 if fixed(name) else value


def burn(seconds: float) -> None:
    """CPU work, measured by this thread's own clock: waiting for the GIL comes on top."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        for _ in range(200):
            pass


def spin(steps: float) -> int:
    """CPU work of a fixed number of steps: its duration is the machine's."""
    value = 0
    for step in range(int(steps)):
        value = (value * 31 + step) & 0xFFFF
    return value


def run(main: Callable[[], Any]) -> None:
    """Run an agent, sync or async, and print how long it took."""
    start = time.perf_counter()
    if inspect.iscoroutinefunction(main):
        asyncio.run(main())
    else:
        main()
    print("ELAPSED", time.perf_counter() - start)
