"""The watchdog of event loops: who held one up, and for how long.

A loop is held up when it does not come round: a callback or a step of a task computes, or calls what waits without
`await`. A thread of C notices, and looks at the stack of the loop's thread; that costs nothing while loops come round.
What it saw is in reports, and among the samples (`libperf.samples`, what="stall"). In profiling mode all loops are
watched; `watch_loop()` watches one for good.

It needs the interpreter lock to look: code in C that keeps the lock is seen when it gives it back, at the line that
called it. How long a loop stood still is measured by the loop itself, and exact.
"""

import atexit
import math
import os
import threading
from collections.abc import Callable
from typing import Any

from .. import _sampler
from ..errors import UnsupportedError

__all__ = ["watch_loop"]

USUAL_S = 0.1

_lock = threading.Lock()
_users = 0
_registered = False


def watch_loop(threshold: float | None = None) -> Callable[[], None]:
    """Watch the event loop that runs here, until it ends or what this returns is called.

    >>> async def main():
    ...     libperf.watch_loop(threshold=0.25)

    threshold: seconds that a loop may take to come round; default: LIBPERF_STALL, else 0.1
    RuntimeError: no loop runs here. Costs some 100 ns each time the loop asks for news, and nothing else.
    """
    ns = threshold_ns() if threshold is None else _checked(threshold, f"watch_loop(threshold={threshold!r})")
    import asyncio

    try:
        loop: Any = asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError("watch_loop() is called inside of the loop that it watches: in a coroutine") from None
    if not ns:
        return lambda: None
    if not start():
        raise UnsupportedError("no thread can be started to watch event loops: is a limit of threads reached?")
    token = _sampler.enter(ns, loop)
    selector = getattr(loop, "_selector", None)
    undo = _watch_selector(selector) if selector is not None else _beat(loop, ns)

    def stop_watching() -> None:
        undo()
        _sampler.release(token)
        stop()

    once = [stop_watching]
    return lambda: once.pop()() if once else None


def _watch_selector(selector: Any) -> Callable[[], None]:
    """Of this loop alone: an attribute of its selector hides the method of the class."""
    selector.select = _sampler.watched_select(selector.select)
    return lambda: vars(selector).pop("select", None)


def _beat(loop: Any, ns: int) -> Callable[[], None]:
    """A loop that is not Python's: it says by a timer that it comes round, twice in the time that it may take."""
    handle: Any = None

    def beat() -> None:
        nonlocal handle
        _sampler.idle()
        _sampler.busy()
        handle = loop.call_later(ns / 2e9, beat)

    beat()
    return lambda: handle.cancel()


def threshold_ns() -> int:
    """What LIBPERF_STALL says; 0: nobody is to look. Nonsense is the usual."""
    text = os.environ.get("LIBPERF_STALL", "")
    if text.lower() in ("off", "0"):
        return 0
    try:
        return _checked(float(text), "LIBPERF_STALL") if text else int(USUAL_S * 1e9)
    except ValueError:
        return int(USUAL_S * 1e9)


def _checked(threshold: float, what: str) -> int:
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)):
        raise TypeError(f"{what}: seconds as a number, not {type(threshold).__name__}")
    if not (math.isfinite(threshold) and 0.001 <= threshold <= 1e6):
        raise ValueError(f"{what}: seconds from 0.001 to 1,000,000")
    return int(threshold * 1e9)


def start() -> bool:
    """Let somebody look at loops that have entered; once for each stop(). False: no thread can be started."""
    global _users, _registered
    with _lock:
        if not _users and not _sampler.watch_start():
            return False
        _users += 1
        if not _registered:
            _registered = True
            atexit.register(_sampler.watch_stop)
        return True


def stop() -> None:
    global _users
    with _lock:
        _users = max(_users - 1, 0)
        if not _users:
            _sampler.watch_stop()


def leave_all() -> None:
    """Loops that were to say when they stop are watched no more: nobody will tell."""
    _sampler.forget_loops()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    _sampler.watch_after_fork()


os.register_at_fork(after_in_child=_after_fork)
