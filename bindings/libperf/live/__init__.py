"""What the processes of this machine do now: found by their segments, read again and again, never disturbed.

>>> with Live() as live:                    # every process of this user; Live([4711]) that one
...     picture = live.refresh()            # once a second, or as often as you like
...     for process in picture.processes:
...         print(process.pid, process.program, process.summary(10_000_000_000).per_second)

What `libperf top` shows. Time comes in as nanoseconds of the monotonic clock, so tests need not wait.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from .._core import lib
from ..errors import PerfError
from ..folders import Found, segments
from ..reader import find_segment
from ..system import lock_holders
from .watched import LEAST_HISTORY, SECOND, Watched

__all__ = ["SORTS", "Live", "Picture"]

SORTS = ("time", "calls", "P95", "errors")  # what people look for first
SHOWN = 50  # processes read at every refresh, when there are more
IN_TURN = 16  # and how many of the others, one after the other
OPENED = 64  # files looked at for the first time, at a refresh
KNOWN = 500  # processes watched at one time
LINGER = 10 * SECOND  # how long one that has ended stays
RETRY = 10 * SECOND  # until a file that could not be read is tried again


class Refusal(NamedTuple):
    """A file that could not be read."""

    why: str
    until: int


@dataclass(frozen=True, slots=True)
class Picture:
    """What was seen at one refresh."""

    time: int  # ns
    interval: float  # seconds since the refresh before; 0: it is the first one
    processes: list[Watched]  # the most active first
    more: int  # others, that are not among them
    skipped: dict[Path, str]  # files that could not be read, and why


class Live:
    """The processes that record, refreshed by hand.

    pids:    only these; NotFoundError when one of them never recorded. A process that has ended is shown as it was.
             Without: all of this user that are alive, and for ten seconds those that have ended meanwhile
    history: seconds that windows may go back; a minute at least
    shown:   how many processes a picture has. With more, those with the least to do are read in turns
    Threads: one at a time. Memory: a few 100 kB a process.
    """

    def __init__(self, pids: Iterable[int] | None = None, *, history: float = 60.0, shown: int = SHOWN) -> None:
        self.pids = None if pids is None else frozenset(pids)
        self.history_ns = max(LEAST_HISTORY, int(history * SECOND))
        self.shown = shown
        self._known: dict[Path, Watched] = {}
        self._refused: dict[Path, Refusal] = {}
        self._dead: set[Path] = set()  # looked at once, of no interest
        self._turn = 0
        self._last: int | None = None
        self._users: set[int | None] = {None}  # whose segments; None: this one's
        if self.pids is not None:
            self._users = {find_segment(pid).parent.stat().st_uid for pid in self.pids}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the files and the memory back. Closing twice is allowed."""
        for watched in self._known.values():
            watched.close()
        self._known.clear()

    def refresh(self, now_ns: int | None = None) -> Picture:
        """Look for processes that have come, read those there are, forget those that have gone. Never raises for what
        files hold or do. now_ns: another time than that of the monotonic clock."""
        now = int(lib.perf_clock_now_ns()) if now_ns is None else now_ns
        found = list(self._list())
        unread = self._open_new(found, now)
        holders = lock_holders()
        for path in self._chosen():
            self._read(path, now, holders)
        self._forget({each.path for each in found}, now)
        interval = 0.0 if self._last is None else max(0, now - self._last) / 1e9
        self._last = now
        processes = sorted(self._known.values(), key=lambda each: (each.ended is not None, -each.activity, each.pid))
        more = max(0, len(processes) - self.shown) + unread
        skipped = {path: refusal.why for path, refusal in self._refused.items()}
        return Picture(now, interval, processes[: self.shown], more, skipped)

    # ---- files ----

    def _list(self) -> Iterator[Found]:
        """Every segment that might be of interest."""
        for uid in self._users:
            for found in segments(uid=uid):
                if self.pids is None or found.pid in self.pids:
                    yield found

    def _open_new(self, found: list[Found], now: int) -> int:
        """Returns how many are left for the next refresh."""
        new = [
            each
            for each in found
            if each.path not in self._known
            and each.path not in self._dead
            and (each.path not in self._refused or self._refused[each.path].until <= now)
        ]
        room = min(OPENED, max(0, KNOWN - len(self._known)))
        for each in islice(new, room):
            self._open(each, now)
        return max(0, len(new) - room)

    def _open(self, found: Found, now: int) -> None:
        path = found.path
        try:
            watched = Watched(path, now, self.history_ns, uid=found.uid)
        except FileNotFoundError:  # swept between the two
            return
        except PerfError as error:
            self._refuse(path, str(error), now)
            return
        except OSError as error:
            self._refuse(path, f"{path}: {error.strerror or error}", now)
            return
        self._refused.pop(path, None)
        if watched.info.alive or self.pids is not None:
            self._known[path] = watched
        else:
            watched.close()
            self._dead.add(path)

    def _refuse(self, path: Path, why: str, now: int) -> None:
        self._refused[path] = Refusal(why, now + RETRY)

    # ---- reading ----

    def _chosen(self) -> list[Path]:
        """Whom to read now: all, or the most active and some of the others."""
        paths = sorted(self._known, key=lambda path: -self._known[path].activity)
        others = paths[self.shown :]
        if not others:
            return paths
        others.sort()
        start = self._turn % len(others)
        self._turn = start + IN_TURN
        return paths[: self.shown] + (others[start:] + others[:start])[:IN_TURN]

    def _read(self, path: Path, now: int, holders: dict[int, int]) -> None:
        watched = self._known[path]
        if watched.ended is not None:
            return  # it stays as it was
        pid = holders.get(watched.inode) if holders else watched.pid
        try:
            watched.refresh(now, pid)
        except PerfError as error:  # cut short, or written over
            watched.close()
            del self._known[path]
            self._refuse(path, str(error), now)

    def _forget(self, there: set[Path], now: int) -> None:
        self._dead &= there
        self._refused = {path: refusal for path, refusal in self._refused.items() if path in there}
        for path in [path for path, watched in self._known.items() if self._is_over(watched, now)]:
            self._known.pop(path).close()
            self._dead.add(path)

    def _is_over(self, watched: Watched, now: int) -> bool:
        if watched.ended is None:
            return False
        if self.pids is not None:  # who asks for a process wants to see its end: the last of that number stays
            later = any(each.pid == watched.pid and each.start > watched.start for each in self._known.values())
            if not later:
                return False
            if not watched.seen_alive:
                return True
        return now - watched.ended >= LINGER
