"""`libperf.Profiler`: the time in which a program is looked at closely: its schedulers, its CPU time, its memory."""

import os
import threading
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from .._core import lib
from ..errors import ClosedError, StartedError, UnsupportedError
from ..segment import stay_as_started

if TYPE_CHECKING:
    from ..analysis import Analysis
    from .hotspots import Hotspots

__all__ = ["Profiler", "profile_program"]


class Profiler:
    """Record what a program does, for `analyze()` and `get_report()`.

    >>> with libperf.Profiler(enable_cpu=True) as profiler:
    ...     asyncio.run(main())
    >>> print(profiler.get_report(top_n=10))
    >>> profiler.analyze().bottlenecks

    enable_cpu:     sample where the CPU time of all threads goes
    enable_memory:  count and sample allocations
    enable_async:   what tasks, threads, locks, queues and executors do; held-up event loops. analyze() needs it

    One at a time in a process; a second start() raises StartedError. Everything libperf replaces in asyncio, threading
    and so on is put back by stop(), which may be called in any thread. A forked child goes on. `libperf run` and
    LIBPERF_PROFILE=1 start one before the program's first line.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _now: ClassVar["Profiler | None"] = None

    def __init__(self, enable_cpu: bool = False, enable_memory: bool = False, enable_async: bool = True) -> None:
        if not (enable_cpu or enable_memory or enable_async):
            raise ValueError("Profiler() with everything disabled would do nothing: enable cpu, memory or async")
        self.enable_cpu = enable_cpu
        self.enable_memory = enable_memory
        self.enable_async = enable_async
        self.session = 0  # which of this process's schedulers' recordings; 0: none
        self._since = 0  # nanoseconds of the monotonic clock
        self._until = 0
        self._before: dict[str, int] = {}
        self._counts_memory = False

    @property
    def running(self) -> bool:
        return Profiler._now is self

    def start(self) -> Self:
        with Profiler._lock:
            if Profiler._now is not None:
                raise StartedError("a Profiler is running already: stop() that one first, there is one at a time")
            self._start_parts()
            self._until = 0
            Profiler._now = self
        return self

    def _start_parts(self) -> None:
        """All of them or none."""
        if self.enable_memory:
            from ..memory import start_counting

            with suppress(StartedError):  # whoever counts already goes on when this one stops
                start_counting()
                self._counts_memory = True
        try:
            self._before = self._counts()
            self._since = lib.perf_clock_now_ns()
            if self.enable_cpu:
                from . import sampler

                sampler.start()
        except BaseException:
            self._stop_counting()
            raise
        if self.enable_async:
            from .. import watch

            self.session = watch.start()

    def _counts(self) -> dict[str, int]:
        """What @libperf.profile had counted before."""
        import sys

        if "libperf.profiler.profiled" not in sys.modules:
            return {}
        from .._sampler import calls_flush
        from ..reader import Reader
        from .hotspots import counts

        calls_flush()
        with Reader() as reader:
            return counts(reader)

    def _stop_counting(self) -> None:
        if self._counts_memory:
            from ..memory import stop_counting

            self._counts_memory = False
            stop_counting()

    def stop(self) -> None:
        """Stop recording; nothing happens when it is not running."""
        with Profiler._lock:
            if Profiler._now is not self:
                return
            Profiler._now = None
            try:
                if self.enable_async:
                    from .. import watch

                    watch.stop()
            finally:
                if self.enable_cpu:
                    from . import sampler

                    sampler.stop()
                self._stop_counting()
                self._until = lib.perf_clock_now_ns()

    def analyze(self) -> "Analysis":
        """What was slow between start() and stop() (until now, when it is running), and what would make it faster."""
        from ..analysis import Analysis
        from ..reader import Reader

        self._check_started()
        if not self.enable_async:
            raise UnsupportedError(
                "analyze() needs what schedulers did: use Profiler(enable_async=True); get_report() and hotspots() work "
                "without"
            )
        return Analysis(Reader(), session=self.session)

    def hotspots(self) -> "Hotspots":
        """The functions that CPU time and memory went into, and who held event loops up."""
        from .._sampler import calls_flush
        from ..reader import Reader
        from .hotspots import Hotspots

        self._check_started()
        calls_flush()
        with Reader() as reader:
            found = Hotspots.read(reader, since=self._since, until=self._until or 2**63, before=self._before)
        if self.enable_async:
            found.explain(self.analyze())
        return found

    def get_report(self, top_n: int = 10) -> str:
        """Tables as text: the functions with the highest score, who held event loops up, and the bottlenecks.

        top_n: how many functions, at least 1
        """
        if not isinstance(top_n, int) or isinstance(top_n, bool) or top_n < 1:
            raise ValueError(f"get_report(top_n={top_n!r}): how many functions to show, at least 1")
        from .table import render_text

        text = render_text(self.hotspots(), top=top_n)
        if self.enable_async:
            from ..analysis.table import render_text as render_bottlenecks

            text += "\n" + render_bottlenecks(self.analyze())
        return text

    def _check_started(self) -> None:
        if not self._since:
            raise ClosedError("this Profiler was never started: there is nothing to analyze")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def profile_program() -> None:
    """Record a whole program; called before its first line. LIBPERF_PROFILE=1, or what to enable: "async,cpu"."""
    stay_as_started()
    wanted = {word.strip() for word in os.environ.get("LIBPERF_PROFILE", "").lower().split(",")}
    parts = {part: part in wanted for part in ("cpu", "memory", "async")}
    if not any(parts.values()):
        parts["async"] = True
    Profiler(enable_cpu=parts["cpu"], enable_memory=parts["memory"], enable_async=parts["async"]).start()
