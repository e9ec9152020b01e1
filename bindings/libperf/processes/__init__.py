"""All processes of this user that record, added up: counters that only grow, while processes come and go.

What a process has counted is taken from its segment at each refresh. Its file is held open from the first time it is
seen, so its last numbers can be read when it has died, even when its file is swept. What a process has counted that is
gone for good is kept in one sum a service.
"""

import os
import threading
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .._core import lib
from ..errors import PerfError
from ..folders import Found, open_segment, segments
from ..reader import DESCRIPTORS, Reader
from .counts import OTHER, Bounds, Counts, read_counts

__all__ = ["Process", "Processes"]

SERVICES_MAX = 200  # sums that are kept apart; those of later services are one
HELD_MAX = 256  # files held open at a time; others are opened for each reading
SHOWN_DEAD_S = 300.0  # so long a dead process is among processes: longer than between two scrapes


@dataclass(slots=True)
class Process:
    """One process: what its segment said when it was read last."""

    path: Path
    pid: int
    fd: int | None = None  # of its file, until there is a reader
    held: bool = False  # it stays open; else it is opened for each reading
    reader: Reader | None = None
    service: str = ""
    state: str = ""  # "running", "finished", "killed"; "": not read yet
    counts: Counts | None = None
    read_at: float = 0.0  # seconds of the caller's clock
    died_at: float | None = None
    trouble: str = ""  # why the last reading gave nothing
    summed: bool = False  # with those that are gone

    def read(self, bounds: Bounds, exemplars: bool, now: float) -> None:
        """Take over what is new. After an error, or when the file counts backwards, what was read before stays."""
        self.trouble = ""
        try:
            reader = self._refreshed(exemplars)
            info = reader.info
            counts = read_counts(reader, bounds, exemplars=exemplars, info=info, before=self.counts)
            reader.forget_news()
        except (PerfError, OSError) as error:
            self.trouble = type(error).__name__
            return
        finally:
            if not self.held:
                self.close()
        if self.counts is not None and not self.counts.is_before(counts):
            self.trouble = "CountsBackwards"
            return
        if not info.alive and self.died_at is None:  # just now, or before we came
            idle = max(0, lib.perf_clock_now_ns() - info.latest_ns) / 1e9 if self.counts is None else 0.0
            self.died_at = now - idle
        self.counts, self.service, self.read_at = counts, info.service, now
        self.state = "running" if info.alive else "finished" if info.finished else "killed"
        if not info.alive:
            self.close()  # that was the last of it

    def _refreshed(self, exemplars: bool) -> Reader:
        """With all that was counted and, for examples, the records that are new."""
        if self.reader is None:
            self.reader = Reader(self.path, records=False, fd=self.fd)
            self._close_fd()  # the reader has one of its own
            if not exemplars:
                return self.reader
        self.reader.refresh(records="new" if exemplars else False)
        return self.reader

    def close(self) -> None:
        self._close_fd()
        if self.reader is not None:
            self.reader.close()
            self.reader = None

    def _close_fd(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


@dataclass(slots=True)
class _Sums:
    """What processes that are gone have counted, by service."""

    by_service: dict[str, Counts] = field(default_factory=dict)

    def add(self, process: Process) -> None:
        if process.counts is None:
            return
        service = process.service
        if service not in self.by_service and len(self.by_service) >= SERVICES_MAX:
            service = OTHER
        for durations in process.counts.durations.values():
            durations.exemplars = {}  # of the past
        self.by_service.setdefault(service, Counts()).add(process.counts)


class Processes:
    """The processes of this user, and what they have counted.

    >>> processes = Processes()
    >>> processes.refresh()
    >>> for process in processes.all: print(process.pid, process.state)

    pids:      only these; they need not run yet
    services:  only those that say they are one of these
    bounds:    of the buckets that durations are counted in
    exemplars: keep, of each bucket, the slowest span of the last minute, or else the last one
    Exact: a process that was seen once is counted to its end. A process that began and ended between two refreshes is
    counted as long as its file is there (the newest 32 of dead processes, for a day). What a *new* Processes finds is what
    lies in the folders then.
    Threads: any; one refreshes at a time.
    """

    def __init__(
        self,
        *,
        pids: Collection[int] = (),
        services: Collection[str] = (),
        bounds: Bounds,
        exemplars: bool = True,
    ) -> None:
        self.bounds = bounds
        self._pids = frozenset(pids)
        self._services = frozenset(services)
        self._exemplars = exemplars
        self._known: dict[Path, Process] = {}
        self._gone = _Sums()
        self._lock = threading.Lock()
        self.late = 0  # processes whose numbers are older than the last refresh: it ran out of time
        self.skipped: dict[str, int] = {}  # files that could not be read, by why

    def refresh(self, *, within: float | None = None, now: float | None = None) -> None:
        """Read every process that may have counted something. `within`: seconds it may take, about; those that come
        too late keep their numbers, and are first the next time. `now`: seconds of any clock that goes forward."""
        started = time.monotonic()
        now = started if now is None else now
        with self._lock:
            self._find()
            self._forget_gone(now)
            self.late = 0
            for number, process in enumerate(sorted(self._known.values(), key=lambda each: each.read_at)):
                if process.died_at is not None and not process.trouble:
                    continue  # its file does not change any more
                if within is not None and number and time.monotonic() - started > within:
                    self.late += 1
                    continue
                process.read(self.bounds, self._exemplars, now)
            self._count_trouble()

    @property
    def all(self) -> list[Process]:
        """Those that were read, by process id: all that live, and those that died a moment ago."""
        with self._lock:
            found = [process for process in self._known.values() if process.counts is not None and self._wants(process)]
        return sorted(found, key=lambda process: (process.pid, str(process.path)))

    @property
    def gone(self) -> dict[str, Counts]:
        """What processes have counted that are no longer among them, by service."""
        with self._lock:
            wanted = self._services
            return {name: counts for name, counts in self._gone.by_service.items() if not wanted or name in wanted}

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            for process in self._known.values():
                process.close()
            self._known.clear()

    def _wants(self, process: Process) -> bool:
        return not self._services or process.service in self._services

    def _find(self) -> None:
        """Under the lock, as are the following."""
        self.skipped = {}
        held = sum(process.held for process in self._known.values())
        can_hold = DESCRIPTORS.exists()
        for found in self._candidates():
            if found.path in self._known:
                continue
            try:
                fd = open_segment(found.path)
            except OSError as error:
                self._skip(type(error).__name__)
                continue
            process = self._known[found.path] = Process(found.path, found.pid, fd, held=can_hold and held < HELD_MAX)
            if not process.held:
                process.close()
            held += process.held

    def _candidates(self) -> Iterable[Found]:
        return (found for found in segments() if not self._pids or found.pid in self._pids)

    def _forget_gone(self, now: float) -> None:
        for path, process in list(self._known.items()):
            if not path.exists():  # swept, or removed by somebody: one more look
                if process.died_at is None and process.held:
                    process.read(self.bounds, self._exemplars, now)
                    if process.state == "running" and not process.trouble:
                        continue  # it goes on writing into a file that has no name any more
                self._sum_up(process)
                del self._known[path]
            elif process.died_at is not None and now - process.died_at > SHOWN_DEAD_S:
                self._sum_up(process)

    def _sum_up(self, process: Process) -> None:
        if not process.summed:
            self._gone.add(process)
        process.summed = True
        process.counts = None
        process.close()

    def _count_trouble(self) -> None:
        for process in self._known.values():
            if process.trouble:
                self._skip(process.trouble)

    def _skip(self, why: str) -> None:
        self.skipped[why] = self.skipped.get(why, 0) + 1
