"""libperf's numbers for Prometheus: a collector for prometheus_client, and the sums over processes behind it.

>>> from prometheus_client import REGISTRY
>>> REGISTRY.register(libperf.prometheus.Collector())                     # this process
>>> REGISTRY.register(libperf.prometheus.Collector(all_processes=True))   # all that this user runs on this machine

`libperf serve-metrics` is the same in a process of its own: nothing is started in the program that is measured, and no
PROMETHEUS_MULTIPROC_DIR is needed.
"""

import os
import threading
import time
import weakref
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from .errors import ClosedError, PerfError, UnsupportedError
from .exports.families import DURATION_BOUNDS, Families, Family, Group, Labels, all_bounds
from .exports.known_series import KNOWN, home_of
from .processes import Processes
from .processes.counts import Bounds, Counts, Gauge, read_counts
from .reader import Info, Reader
from .segment import segment_path
from .slo.burn import BurnRates

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

__all__ = ["Collector", "Gathering"]

Gauges = Literal["last", "max", "min", "sum"]
STATES = ("running", "finished", "killed")
MISSING = "libperf.prometheus.Collector needs prometheus_client: pip install 'libperf[prometheus]'"


def bounds_of(buckets: Sequence[float] | Bounds | None) -> Bounds:
    """Seconds, or the default."""
    return buckets if isinstance(buckets, Bounds) else Bounds(buckets) if buckets is not None else DURATION_BOUNDS


class Gathering:
    """The families of all processes of this user, gathered anew at each `families()`.

    per_process: a label `pid` (as many series as processes: mind the cardinality), and gauges of each process;
                 default: sums by service
    gauges:      how gauges of several processes become one: "last" (set last), "max", "min", "sum". A cache's bytes
                 and entries are always added up
    pids, services: only these
    buckets:     upper bounds of durations, seconds
    gen_ai:      model calls and tools under the names of OpenTelemetry's conventions, too
    exemplars:   keep the slowest span of each bucket, of the last minute or else the last one
    Counters never fall as long as the object lives; see `Processes` for what is exact.
    Threads: any; who comes while another one gathers waits, and shares what begins after he came.
    """

    def __init__(
        self,
        *,
        per_process: bool = False,
        gauges: Gauges = "last",
        pids: Collection[int] = (),
        services: Collection[str] = (),
        buckets: Sequence[float] | Bounds | None = None,
        gen_ai: bool = True,
        exemplars: bool = True,
    ) -> None:
        if gauges not in get_args(Gauges):
            raise ValueError(f"gauges={gauges!r} is none of: {', '.join(get_args(Gauges))}")
        self.durations = bounds_of(buckets)
        self.gen_ai = gen_ai
        self.per_process = per_process
        self.gauges = gauges
        self.processes = Processes(
            pids=pids, services=services, bounds=all_bounds(self.durations, gen_ai), exemplars=exemplars
        )
        self._burning: dict[tuple[str, str], BurnRates] = {}
        self._lock = threading.Lock()
        self._begun = self._done = 0  # the latest gathering; written under the lock
        self._found: list[Family] = []
        _gatherings.add(self)

    def families(self, *, within: float | None = None, now: float | None = None) -> list[Family]:
        """`within`: seconds that reading may take, about. `now`: seconds of any clock that goes forward."""
        came = self._begun
        with self._lock:
            if self._done > came:  # it began after we came, and has ended
                return self._found
            self._begun += 1
            self._found = self._gather(within, time.monotonic() if now is None else now)
            self._done = self._begun
            return self._found

    def _gather(self, within: float | None, now: float) -> list[Family]:
        started = time.perf_counter()
        self.processes.refresh(within=within, now=now)
        families = Families(counted=self.processes.bounds, durations=self.durations, gen_ai=self.gen_ai)
        groups = list(self._groups())
        for group in groups:
            families.add_group(group)
        self._add_gauges(families)
        self._add_objectives(families, now)
        self._add_own(families, time.perf_counter() - started)
        return families.list()

    def _groups(self) -> Iterator[Group]:
        if self.per_process:
            for process in self.processes.all:
                if process.counts:
                    yield Group((("service", process.service), ("pid", str(process.pid))), process.counts)
            return
        sums: dict[str, Counts] = {}
        for service, gone in self.processes.gone.items():
            sums.setdefault(service, Counts()).add(gone)
        for process in self.processes.all:
            if process.counts:
                sums.setdefault(process.service, Counts()).add(process.counts)
        for service in sorted(sums):
            yield Group((("service", service),), sums[service])

    def _add_gauges(self, families: Families) -> None:
        """Of the living: what a dead process had in its cache is gone."""
        living = [process for process in self.processes.all if process.state == "running"]
        if self.per_process:
            for process in living:
                labels: Labels = (("service", process.service), ("pid", str(process.pid)))
                for name, gauge in process.counts.gauges.items() if process.counts else ():
                    families.add_gauge(name, labels, gauge.value)
            return
        found: dict[tuple[str, str], list[Gauge]] = {}
        for process in living:
            for name, gauge in process.counts.gauges.items() if process.counts else ():
                found.setdefault((process.service, name), []).append(gauge)
        for (service, name), several in sorted(found.items()):
            families.add_gauge(name, (("service", service),), _together(name, several, self.gauges))

    def _add_objectives(self, families: Families, now: float) -> None:
        """How fast the budget of each objective burns, over what this object has seen."""
        from .slo import add_burn_families, find_objectives

        for service, (counters, gauges) in sorted(self._objectives().items()):
            for objective in find_objectives(counters, gauges):
                key = service, objective.name
                rates = self._burning.setdefault(key, BurnRates(objective.objective))
                rates.objective = objective.objective
                rates.observe_at(now, objective.calls, objective.bad)
                add_burn_families(families, objective.name, rates, now, (("service", service),))

    def _objectives(self) -> dict[str, tuple[dict[str, int], dict[str, float]]]:
        """Their series by service, summed over processes, whatever the labels."""
        found: dict[str, tuple[dict[str, int], dict[str, float]]] = {}
        processes = self.processes.all
        counted = [*self.processes.gone.items(), *((each.service, each.counts) for each in processes if each.counts)]
        for service, counts in counted:
            counters, gauges = found.setdefault(service, ({}, {}))
            for name, value in counts.counters.items():
                if name.startswith("slo."):
                    counters[name] = counters.get(name, 0) + value
            gauges.update({name: gauge.value for name, gauge in counts.gauges.items() if name.startswith("slo.")})
        return found

    def _add_own(self, families: Families, took: float) -> None:
        from . import __version__

        processes = self.processes
        states = [process.state for process in processes.all]
        for state in STATES:
            text = "Processes that record, by state; dead ones for five minutes."
            families.add("libperf_processes", "gauge", text, (("state", state),), states.count(state))
        for why, count in sorted(processes.skipped.items()):
            text = "Files among the segments that cannot be read, by why; what was read of them before still counts."
            families.add("libperf_segments_skipped", "gauge", text, (("reason", why),), count)
        text = "Processes whose numbers are older than this scrape, which ran out of time."
        families.add("libperf_segments_late", "gauge", text, (), processes.late)
        families.add("libperf_gathering_seconds", "gauge", "How long reading all segments took.", (), took, "seconds")
        families.add("libperf_build", "info", "The libperf that reads.", (("version", __version__),), 1)


_gatherings: "weakref.WeakSet[Gathering]" = weakref.WeakSet()


def _renew_locks() -> None:
    """A forked child has no thread that would give back a lock."""
    for gathering in _gatherings:
        gathering._lock = threading.Lock()
        gathering.processes._lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_locks)


def _together(name: str, several: list[Gauge], how: str) -> float:
    home = home_of(name, "gauge")
    if home:
        how = KNOWN[home.family].together
    values = [gauge.value for gauge in several]
    if how == "last":
        return max(several).value
    return sum(values) if how == "sum" else max(values) if how == "max" else min(values)


class Collector:
    """Gives a prometheus_client registry what libperf has counted.

    all_processes: all processes of this user on this machine, without PROMETHEUS_MULTIPROC_DIR; else this one
    The others are as for `libperf.prometheus.Gathering`. UnsupportedError when prometheus_client is not installed.
    Collecting reads the segment in the thread that scrapes, for milliseconds; it lets go of the GIL while it copies.
    """

    def __init__(
        self,
        *,
        all_processes: bool = False,
        per_process: bool = False,
        gauges: Gauges = "last",
        buckets: Sequence[float] | Bounds | None = None,
        gen_ai: bool = True,
        exemplars: bool = True,
    ) -> None:
        try:
            from prometheus_client import metrics_core
        except ImportError as error:
            raise UnsupportedError(MISSING) from error
        self._core = metrics_core
        self._own = not all_processes
        self._exemplars = exemplars
        self._reader: Reader | None = None
        self._counts: Counts | None = None  # of the last reading
        self._gathering = Gathering(
            per_process=per_process, gauges=gauges, buckets=buckets, gen_ai=gen_ai, exemplars=exemplars
        )

    def collect(self) -> "Iterable[Metric]":
        """What a registry asks for at each scrape."""
        for family in self._own_families() if self._own or segment_path() is None else self._gathering.families():
            yield self._metric(family)

    def describe(self) -> "Iterable[Metric]":
        """Nothing: which families there are depends on what was measured."""
        return []

    def _own_families(self) -> list[Family]:
        gathering = self._gathering
        bounds = gathering.processes.bounds
        families = Families(counted=bounds, durations=gathering.durations, gen_ai=gathering.gen_ai)
        try:
            with gathering._lock:
                info, counts = self._read_own(bounds)
        except PerfError:  # a full machine; a scrape is no reason to fail
            return []
        labels: Labels = (("service", info.service),)
        if gathering.per_process:
            labels += (("pid", str(os.getpid())),)
        families.add_group(Group(labels, counts))
        for name, gauge in counts.gauges.items():
            families.add_gauge(name, labels, gauge.value)
        return families.list()

    def _read_own(self, bounds: Bounds) -> tuple[Info, Counts]:
        """Under the lock. Of the records only what is new: the first time all."""
        news: Any = "new" if self._exemplars else False
        try:
            self._reader = self._reader or Reader()
            self._reader.refresh(records=news)
        except ClosedError:  # it was the parent's, before a fork
            self._reader, self._counts = Reader(), None
            self._reader.refresh(records=news)
        info = self._reader.info
        self._counts = read_counts(self._reader, bounds, exemplars=self._exemplars, info=info, before=self._counts)
        self._reader.forget_news()
        return info, self._counts

    def _metric(self, family: Family) -> "Metric":
        metric = self._core.Metric(family.name, family.help, family.type, family.unit)
        for suffix, labels, value, exemplar in family.samples:
            example: Any = None
            if exemplar:
                from prometheus_client.samples import Exemplar

                ids = {"trace_id": exemplar.trace_id, "span_id": exemplar.span_id}
                example = Exemplar(ids, exemplar.duration_ns / 1e9, exemplar.at)
            given = {name: text for name, text in labels if text}  # an empty one is the same as none
            metric.add_sample(family.name + suffix, given, value, exemplar=example)
        return metric
