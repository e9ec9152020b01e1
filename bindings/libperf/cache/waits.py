"""What a cache waits for, under its own name, while somebody profiles: a tier's answer, and somebody else's flight.

>>> with waits.tier("users", "redis"):                  # around whatever waits, in threads and in tasks
...     entry = connection.get(key)
>>> with waits.flight("users"):                         # a task: its future is seen anyway
...     await future
>>> ticket = waits.ticket()                             # a thread that waits on a bare lock: whose doing it is
>>> with waits.flight("users", ticket):
...     gate.acquire()
>>> waits.woken(ticket); gate.release()                 # and who wakes it

Each is a span, "cache users: redis" or "cache users: flight". A tier's time is its own: a slow one is a finding, and
`what_if({"cache users: redis": 0.5})` can be asked. A flight has none: who waits for it is woken by whoever leads it,
so what makes that faster makes this faster.

While nobody profiles these return constants.
"""

from types import TracebackType
from typing import Any

__all__ = ["flight", "ticket", "tier", "woken"]


class _Nothing:
    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass


_NOTHING = _Nothing()
watcher: Any = None  # libperf.watch.caches, while somebody profiles


def tier(cache: str, name: str) -> Any:
    """Around a wait for a tier: "disk", "redis", or what else takes its time ("lease")."""
    return _NOTHING if watcher is None else watcher.tier(cache, name)


def flight(cache: str, ticket: int = 0) -> Any:
    """Around a wait for another's computing. `ticket`: of a thread that waits on something that nobody sees."""
    return _NOTHING if watcher is None else watcher.flight(cache, ticket)


def ticket() -> int:
    """For one wait of one thread; 0 while nobody profiles."""
    return 0 if watcher is None else int(watcher.ticket())


def woken(ticket: int) -> None:
    """To be called before the thread with this ticket is let go on."""
    if ticket and watcher is not None:
        watcher.woken(ticket)
