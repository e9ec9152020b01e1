"""A thread that waits until something is due, for those who have no event loop. It is there only while something is."""

import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

__all__ = ["Timekeeper"]

IDLE = 10.0  # seconds until the thread ends


class Timekeeper:
    """Calls `ring(owner)` when the earliest of the times is over that it was told since it last rang.

    It does not keep the owner: whoever is kept by nobody has nothing to wait for.
    """

    def __init__(self, owner: Any, ring: Callable[[Any], object], name: str) -> None:
        self._owner = weakref.ref(owner)
        self._ring = ring
        self._name = name
        self.forget()

    def forget(self) -> None:
        """In the child of a fork, where the thread is not."""
        # SimpleQueue, and no lock: a destructor may come in between, and submit
        self._told: SimpleQueue[float | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._due: float | None = None
        self._at_end = weakref.finalize(self, self._told.put, None)
        self._at_end.atexit = False

    def remind(self, delay: float) -> None:
        """Ring in so many seconds, unless it will ring before. Raises RuntimeError where no thread can be started."""
        due = time.monotonic() + delay
        known = self._due
        if known is not None and known <= due:
            return
        self._due = due
        self._told.put(due)
        if not self._threads:
            thread = threading.Thread(
                target=_wait, args=(weakref.ref(self), self._told, self._threads), name=self._name, daemon=True
            )
            self._threads.append(thread)
            try:
                thread.start()
            except BaseException:
                self._threads.clear()
                self._due = None
                raise

    def _now(self) -> None:
        self._due = None
        owner = self._owner()
        if owner is not None:
            self._ring(owner)

    def stop(self) -> None:
        self._told.put(None)


def _wait(
    keeper: "weakref.ref[Timekeeper]", told: "SimpleQueue[float | None]", threads: list[threading.Thread]
) -> None:
    due: float | None = None
    while True:
        try:
            new = told.get(
                timeout=IDLE if due is None else max(0.0, min(due - time.monotonic(), threading.TIMEOUT_MAX))
            )
        except Empty:
            if due is None:
                threads.clear()
                if told.empty() or threads:
                    return
                threads.append(threading.current_thread())  # told something just now
            elif due <= time.monotonic():
                due = None
                found = keeper()
                if found is not None:
                    found._now()
                del found
            continue
        if new is None:
            threads.clear()
            return
        due = new if due is None else min(due, new)
