"""An event loop in a thread: for coroutine functions whose items come from threads that have no loop."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextvars import Context
from typing import Any

__all__ = ["Background"]

_of_parents: list[Any] = []  # never closed: epoll is shared with the parent, who would hear of nothing any more


class Background:
    """Starts with the first call. It knows nothing of its owner: when that is gone, the thread ends."""

    def __init__(self, owner: object, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.RLock()  # a destructor may come in between, and submit
        self._at_end = weakref.finalize(owner, self.stop)
        self._at_end.atexit = False

    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, which runs. Raises RuntimeError where no thread can be started any more."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            return loop
        with self._starting:
            if self._loop is None or self._loop.is_closed():
                loop = asyncio.new_event_loop()
                thread = threading.Thread(target=_run, args=(loop,), name=self._name, daemon=True)
                try:
                    thread.start()
                except BaseException:
                    loop.close()
                    raise
                self._loop = loop
            return self._loop

    def is_own(self, loop: Any) -> bool:
        return loop is not None and loop is self._loop

    def call(self, what: Callable[..., object], *args: Any) -> None:
        """Call in its thread, in a context of its own."""
        while True:
            try:
                self.loop().call_soon_threadsafe(what, *args, context=Context())
                return
            except RuntimeError:
                if self._loop is None or not self._loop.is_closed():
                    raise  # no thread; else it ended just now

    def stop(self) -> None:
        """End the thread when it has done what it was told before."""
        loop, self._loop = self._loop, None
        if loop is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(loop.stop, context=Context())
            except RuntimeError:  # closed meanwhile
                return

    def forget(self) -> None:
        """In the child of a fork, where its thread is not."""
        self._starting = threading.RLock()
        if self._loop is not None:
            _of_parents.append(self._loop)
        self._loop = None


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()
