"""CPU sampling: where in the code the CPU time of a program's threads goes.

Samples lie in the segment as events, with the span and task that were current (`libperf.samples` reads them). From
Python 3.13 on the main thread looks at itself between two instructions, 1,000 times a second. Other threads, the main
one of older versions, and one that does not answer (that of a child which another thread has forked) are looked at by
another thread, which takes the interpreter lock for that, at most 100 times a second: that sees code which keeps the
lock where it next gives it up, so shares are less exact. Time in which a thread waits is not sampled.
"""

import atexit
import os
import threading

from .. import _sampler
from ..errors import StartedError, UnsupportedError

__all__ = ["start", "stop"]

HZ = 1000

_lock = threading.Lock()
_registered = False
_running = False


def start(hz: float = HZ) -> None:
    """Sample this process from now on; a forked child goes on.

    hz: how often, 1 to 10,000 a second. StartedError: it is being sampled. Threads: any.
    """
    global _registered, _running
    if not isinstance(hz, (int, float)) or not 1 <= hz <= 10_000:
        raise ValueError(f"sampler.start(hz={hz!r}): how often a second, from 1 to 10,000; {HZ} is usual")
    main = threading.main_thread().ident
    assert main is not None
    with _lock:
        if _running:
            raise StartedError("the CPU is being sampled already: stop() that first, there is one sampler at a time")
        if not _sampler.start(main, round(1e9 / hz)):
            raise UnsupportedError("no thread can be started to sample the CPU: is a limit of threads reached?")
        if not _registered:
            _registered = True
            atexit.register(stop)
        _running = True


def stop() -> None:
    """Sample no more; nothing happens when nobody samples. Threads: any."""
    global _running
    with _lock:
        _running = False
        _sampler.stop()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # another thread may have held it
    _sampler.after_fork()


os.register_at_fork(after_in_child=_after_fork)
