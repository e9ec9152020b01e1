"""What tests of @libperf.trace share: time that passes, and scripts of what may be done to a generator."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from libperf._core import lib


class Boom(Exception):
    """What the functions here raise."""


def burn(ns: int) -> None:
    """Let the clock go on by so much."""
    until = lib.perf_clock_now_ns() + ns
    while lib.perf_clock_now_ns() < until:
        pass


THROWN = (ValueError, KeyError, GeneratorExit, StopIteration, StopAsyncIteration, asyncio.CancelledError)


def outcome(call: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
    """What a step came to, as something that can be compared."""
    try:
        return ("value", call(*args))
    except StopIteration as stop:
        return ("return", stop.value)
    except BaseException as error:
        context = error.__context__
        return (type(error), str(error), type(error.__cause__), type(context), error.__suppress_context__)


def random_script(seed: int) -> list[tuple[str, Any]]:
    """Steps to take with a generator."""
    dice = random.Random(seed)
    steps: list[tuple[str, Any]] = []
    for _ in range(6):
        what = dice.choice(["next", "send", "throw", "close"] if dice.random() < 0.6 else ["next"])
        steps.append((what, dice.choice(THROWN) if what == "throw" else dice.randrange(100)))
    return steps
