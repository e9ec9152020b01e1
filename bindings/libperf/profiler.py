"""`libperf.Profiler`: the time in which everything that the schedulers do is recorded."""

import threading
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from .errors import StartedError
from .segment import stay_as_started

if TYPE_CHECKING:
    from .analysis import Analysis

__all__ = ["Profiler", "profile_program"]


class Profiler:
    """Record what tasks, threads, locks, queues and executors do, for `analyze()`.

    >>> with libperf.Profiler() as profiler:
    ...     asyncio.run(main())
    >>> profiler.analyze()

    One at a time in a process; a second start() raises StartedError. Everything libperf replaces in asyncio, threading
    and so on is put back by stop(). `libperf run` and LIBPERF_PROFILE=1 start one before the program's first line.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _now: ClassVar["Profiler | None"] = None

    def __init__(self) -> None:
        self.session = 0  # which of this process's; 0: not started

    @property
    def running(self) -> bool:
        return Profiler._now is self

    def start(self) -> Self:
        from . import watch

        with Profiler._lock:
            if Profiler._now is not None:
                raise StartedError("a Profiler is running already: stop() that one first, there is one at a time")
            self.session = watch.start()
            Profiler._now = self
        return self

    def stop(self) -> None:
        """Stop recording; nothing happens when it is not running."""
        from . import watch

        with Profiler._lock:
            if Profiler._now is self:
                watch.stop()
                Profiler._now = None

    def analyze(self) -> "Analysis":
        """What was slow between start() and stop() (until now, when it is running), and what would make it faster."""
        from .analysis import Analysis
        from .errors import ClosedError
        from .reader import Reader

        if not self.session:
            raise ClosedError("this Profiler was never started: there is nothing to analyze")
        return Analysis(Reader(), session=self.session)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def profile_program() -> None:
    """Record a whole program; called before its first line."""
    stay_as_started()
    Profiler().start()
