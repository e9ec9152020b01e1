"""How near a process is to the end of its memory, and who wants to hear of it."""

import logging
import os
import threading
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

from ..slow import Callbacks
from ..units import size
from .process import Limits, find_limits

__all__ = ["Level", "Pressure", "Watch", "on_pressure", "pressure"]

logger = logging.getLogger("libperf")

INTERVAL_S = 1.0


class Level(IntEnum):
    """How near the end is. Levels can be compared: `level >= Level.HIGH`."""

    NONE = 0
    SOME = 1  # less than 20 % is left, or tasks wait for memory 10 % of the time
    HIGH = 2  # less than 10 %, or all tasks do 5 % of the time: let go of caches
    CRITICAL = 3  # less than 5 %, or all do 30 % of the time: the kernel is about to end processes


# from which share that is left, or of time that tasks wait, a level is reached
LEFT = ((Level.CRITICAL, 0.05), (Level.HIGH, 0.10), (Level.SOME, 0.20))
ALL_STALLED = ((Level.CRITICAL, 0.30), (Level.HIGH, 0.05))
SOME_STALLED = ((Level.SOME, 0.10),)


class Pressure(NamedTuple):
    """What pressure() says. Bytes; None: this system does not tell."""

    level: Level
    why: str  # in words
    left: int | None  # until the limit
    limit: int | None
    used: int | None  # of the limit: by all that live under it, without files that can be dropped at once
    stalled: float  # share of the last ten seconds in which all tasks waited for memory, 0..1

    def to_dict(self) -> dict[str, Any]:
        return {**self._asdict(), "level": self.level.name.lower()}


def pressure() -> Pressure:
    """How near this process is to the end of its memory: what is left of the nearest limit (its control groups', the
    machine's), and how long tasks wait for memory (the kernel's pressure stall information). Costs some 0.2 ms; level
    NONE where the system tells neither. Threads: any."""
    return judge(find_limits())


def judge(limits: Limits) -> Pressure:
    """The level that numbers stand for."""
    reasons: list[tuple[Level, str]] = [(Level.NONE, "there is enough")]
    left = None
    if limits.limit and limits.used is not None:
        left = max(0, limits.limit - limits.used)
        words = f"{size(left)} of {size(limits.limit)} ({limits.where}) left"
        reasons += [(level, words) for level, share in LEFT if left < share * limits.limit]
    for level, share in ALL_STALLED:
        if limits.stalled_full >= share:
            reasons.append((level, f"all tasks waited for memory {limits.stalled_full:.0%} of the time"))
    for level, share in SOME_STALLED:
        if limits.stalled_some >= share:
            reasons.append((level, f"tasks waited for memory {limits.stalled_some:.0%} of the time"))
    level, why = max(reasons, key=lambda reason: reason[0])
    return Pressure(level, why, left, limits.limit, limits.used, limits.stalled_full)


class Watch:
    """Looks from time to time, in a thread of its own while there is somebody to tell, and tells when the level has
    changed. `look()` is one look."""

    def __init__(self, ask: Callable[[], Pressure] = pressure, interval: float = INTERVAL_S) -> None:
        self._ask = ask
        self._interval = interval
        self._callbacks: Callbacks[Pressure] = Callbacks("memory pressure")
        self._level = Level.NONE
        self._lock = threading.Lock()
        self._users = 0
        self._stop: threading.Event | None = None  # of the thread that looks; None: there is none

    def add(self, callback: Callable[[Pressure], object]) -> Callable[[], None]:
        remove = self._callbacks.add(callback)
        once = [True]
        with self._lock:
            self._users += 1
            if self._stop is None:
                self._start()

        def take_back() -> None:
            remove()
            with self._lock:
                if once:
                    once.clear()
                    self._users -= 1
                if not self._users and self._stop is not None:
                    self._stop.set()
                    self._stop = None
                    self._level = Level.NONE

        return take_back

    def look(self) -> None:
        """Tell when the level is another one than at the last look."""
        now = self._ask()
        if now.level == self._level:
            return
        self._level = now.level
        self._callbacks.tell(now)

    def after_fork(self) -> None:
        """In a child, where the thread is not."""
        self._lock = threading.Lock()
        if self._stop is not None:
            self._start()

    def _start(self) -> None:
        stop = self._stop = threading.Event()

        def run() -> None:
            while True:
                try:
                    self.look()
                except Exception:  # the program goes on without
                    logger.exception("memory pressure cannot be read")
                if stop.wait(self._interval):
                    return

        threading.Thread(target=run, name="libperf memory", daemon=True).start()


_watch = Watch()


def on_pressure(callback: Callable[[Pressure], object]) -> Callable[[], None]:
    """Call `callback(pressure)` whenever the level changes, up or down; at once, when it is not NONE now. Returns what
    takes it back. A thread looks once a second while there is a callback, and calls it; what it raises is logged, never
    passed on. A forked child goes on.

    >>> memory.on_pressure(lambda now: cache.clear() if now.level >= memory.Level.HIGH else None)
    """
    if not callable(callback):
        raise TypeError(f"on_pressure({callback!r}): expected something to call with a Pressure")
    return _watch.add(callback)


os.register_at_fork(after_in_child=lambda: _watch.after_fork())
