"""Work behind the caller's back: refreshing what is stale. Two daemon threads at most, started when there is some."""

import contextvars
import logging
import os
import queue
import threading
from collections.abc import Callable

__all__ = ["submit"]

logger = logging.getLogger("libperf")

THREADS = 2
QUEUED_MAX = 1000  # more is refused: what is stale now is still stale later

_lock = threading.Lock()
_work: "queue.SimpleQueue[Callable[[], object]]" = queue.SimpleQueue()
_threads: list[threading.Thread] = []


def _forget_in_child() -> None:
    """The threads have stayed in the parent, and so has what they were to do."""
    global _lock, _work
    _lock, _work = threading.Lock(), queue.SimpleQueue()
    _threads.clear()


os.register_at_fork(after_in_child=_forget_in_child)


def submit(work: Callable[[], object]) -> bool:
    """Run it in the caller's context, some time soon. False: too much is waiting, or the interpreter is ending."""
    if _work.qsize() >= QUEUED_MAX:
        return False
    context = contextvars.copy_context()
    _work.put(lambda: context.run(work))
    with _lock:
        if len(_threads) < THREADS and (not _threads or _work.qsize() > 1):
            thread = threading.Thread(target=_run, args=(_work,), name="libperf cache", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads, or none any more
                return bool(_threads)
            _threads.append(thread)
    return True


def _run(work: "queue.SimpleQueue[Callable[[], object]]") -> None:
    while True:
        do = work.get()
        try:
            do()
        except BaseException:  # a thread that ends would leave the next ones waiting
            logger.exception("libperf: work behind a cache failed")
        del do  # it holds the caller's objects
