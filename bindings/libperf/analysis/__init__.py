"""What a recording says about time: the C core's analysis and its replays, as Python objects.

What is made of it for people (classes, advice) is in bottlenecks.py.
"""

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .._core import ffi, lib
from .._handle import Handle
from ..errors import NotFoundError, check
from ..names import Kind
from ..reader import Reader
from .changes import Change, Prediction, find_changes

if TYPE_CHECKING:
    from .bottlenecks import Bottleneck
    from .deadlocks import Deadlock
    from .merges import Merges
    from .repeats import Repeats

__all__ = ["Analysis", "Label", "Resource", "Step"]

RELIABLE_ERROR = 0.05  # of the unchanged replay; above it a what-if is not to be trusted
LOTTERY_SEEDS = 9  # replays that are averaged when threads fought for the interpreter lock

RESOURCE_KINDS = {
    lib.PERF_RESOURCE_SEMAPHORE: "semaphore",
    lib.PERF_RESOURCE_LOCK: "lock",
    lib.PERF_RESOURCE_QUEUE: "queue",
    lib.PERF_RESOURCE_EXECUTOR: "executor",
    lib.PERF_RESOURCE_BATCHER: "batcher",
}
LABEL_KINDS = {lib.PERF_LABEL_NONE: "none", lib.PERF_LABEL_LIMIT: "limit", lib.PERF_LABEL_IMPORT: "import"}

METHOD = re.compile(r"_*[A-Z]\w*\.\w+")  # what @trace calls a method; the user wrote `def name`

LABEL_TIMES = ("cpu", "block", "delay", "loop", "span", "gap", "first", "median", "tail", "barrier")


@dataclass(frozen=True, slots=True)
class Label:
    """What time is attributed to: the spans of one name, the imports of one package. Seconds, over all tasks."""

    number: int
    kind: str  # a kind of span ("llm", "node", …), "import", "none" (code outside spans), "limit" (time limits)
    name: str  # of an import: the package
    inside: int  # of an import: number of the label around it
    calls: int
    retried: int
    siblings: int  # calls that followed another one of theirs from the same place, without an error
    cpu: float
    block: float
    delay: float
    loop: float  # of cpu and block: on an event loop
    span: float
    gap: float  # of a rate limit found in it; 0: none
    first: float
    median: float
    tail: float
    barrier: float  # that other nodes of a graph's step waited for it
    grown: int  # bytes of resident memory gained meanwhile, minus lost
    digested: int = 0  # calls of which it is known what they were called with
    distinct: int = 0  # of these: with different arguments
    repeats: int = 0  # of these: a call with the same arguments came to a good end, so it could have answered
    place: str = ""  # "file.py:12" of what is called; empty: not known
    mergeable: int = 0  # calls beside another one, of another task or thread, which could be made together

    @property
    def limiter(self) -> str:
        """What a rate limit in it is called; empty when there is none."""
        return f"rate limit in {self.name or '(no span)'}" if self.gap else ""

    @property
    def total(self) -> float:
        """Time of its own, without what is inside other spans."""
        return self.cpu + self.block + self.delay


@dataclass(frozen=True, slots=True)
class Resource:
    """Semaphores, locks, queues or executors of one name. Seconds, over all tasks."""

    numbers: tuple[int, ...]
    kind: str
    name: str
    where: str  # "file.py:12", or empty
    capacity: int  # of one of them; 0: an unbounded queue
    workers: int
    sleeps: bool  # a lock that is held in order to sleep
    uses: int
    waited: float
    held: float
    active: float  # from the first that asked to the last that was done
    contended: int


STEP_KINDS = {
    lib.PERF_STEP_RUN: "run",
    lib.PERF_STEP_BLOCK: "block",
    lib.PERF_STEP_SLEEP: "sleep",
    lib.PERF_STEP_IO: "io",
    lib.PERF_STEP_IMPORT: "import",
    lib.PERF_STEP_LAG: "lag",
    lib.PERF_STEP_UNEXPLAINED: "unexplained",
}


class Step(NamedTuple):
    """A part of a critical path; steps follow each other without a gap. Times: nanoseconds of the monotonic clock."""

    start: int
    end: int
    kind: str  # "run", "block", "sleep", "io", "import", "lag" (ready, but its thread was busy) or "unexplained"
    label: int  # number of a label
    resource: str  # a wait for which has led here; may be empty
    span: int  # id of the innermost open one
    actor: int  # id of the task, callback or thread


class Analysis(Handle):
    """The analysis of what one process recorded in profiling mode.

    >>> analysis = libperf.Analysis("agent.perf")           # written by `libperf run --trace agent.perf`
    >>> analysis.bottlenecks[0]
    >>> analysis.what_if({"llm:summarise": 0.5, "semaphore:db": {"capacity": 2}})

    source:  a trace or segment file, or a Reader of one
    session: one time between a Profiler's start() and stop(); 0: all
    NotFoundError: there are no scheduler events, because the program did not run in profiling mode.
    Threads: one at a time.
    """

    __slots__ = (
        "_cache",
        "_reader",
        "actors",
        "events",
        "info",
        "labels",
        "lag",
        "lock_wait",
        "lost",
        "lottery",
        "memory",
        "replayed",
        "resources",
        "session",
        "startup",
        "stuck",
        "threads",
        "wall",
    )

    def __init__(self, source: "Reader | str | os.PathLike[str]", *, session: int = 0) -> None:
        reader = source if isinstance(source, Reader) else Reader(source)
        self._reader = reader  # names are read out of it, as long as this lives
        self.session = session
        out = ffi.new("perf_analysis **")
        code = lib.perf_analysis_create_blocking(reader._get(), session, ffi.NULL, out)
        if code == lib.PERF_ERR_NOT_FOUND:
            raise NotFoundError(
                f"{reader.path or 'this process'} holds no scheduler events: run the program by `libperf run`, "
                "with LIBPERF_PROFILE=1, or inside `with libperf.Profiler():`"
            )
        check(code, f"analysing {reader.path or 'this process'}")
        super().__init__(out[0], lib.perf_analysis_destroy)
        self.info = reader.info
        raw = ffi.new("perf_analysis_info *")
        check(lib.perf_analysis_info_get(self._get(), raw), "info")
        self.events: int = raw.events
        self.actors: int = raw.actors
        self.threads: int = raw.threads
        self.lost: int = raw.lost
        self.stuck = bool(raw.stuck)
        self.lottery = bool(raw.lottery)
        self.wall: float = raw.wall_ns / 1e9
        self.startup: float = raw.startup_ns / 1e9
        self.memory: tuple[int, int, int] = (raw.first_bytes, raw.last_bytes, raw.peak_bytes)
        self.lag: float = raw.lag_ns / 1e9
        self.lock_wait: float = raw.lock_wait_ns / 1e9
        self.labels = [self._label(number) for number in range(raw.labels)]
        self.resources = self._merge([self._resource(number) for number in range(raw.resources)])
        self._cache: dict[str, Any] = {}
        self.replayed = self.replay()

    @classmethod
    def read(cls, reader: Reader) -> "Analysis | None":
        """The analysis of a reader's picture; None when the program did not run in profiling mode."""
        try:
            return cls(reader)
        except NotFoundError:
            return None

    # ---- what was recorded ----

    def kinds_of(self, text: str) -> set[str]:
        """The kinds of spans of that name: a node and the call of a model in it may be called the same, and count as
        one."""
        return {name.kind.name.lower() for name in self._reader.names if name.text == text and name.kind.is_operation}

    def _text(self, name: int) -> str:
        names = self._reader.names
        return names[name].text if name < len(names) else ""

    def _label(self, number: int) -> Label:
        raw = ffi.new("perf_label *")
        check(lib.perf_analysis_label(self._get(), number, raw), "label")
        name = self._text(raw.name) if raw.kind in (lib.PERF_LABEL_SPAN, lib.PERF_LABEL_IMPORT) else ""
        if raw.kind == lib.PERF_LABEL_SPAN:
            names = self._reader.names
            kind = (names[raw.name].kind if raw.name < len(names) else Kind.SPAN).name.lower()
            kind = "llm" if "llm" in self.kinds_of(name) else kind  # a node's time is its model's
        else:
            kind = LABEL_KINDS.get(raw.kind, "hold")
        if kind == "import":
            name = name.partition(".")[0]
        elif METHOD.fullmatch(name):
            name = name.partition(".")[2]
        times = {field: getattr(raw, f"{field}_ns") / 1e9 for field in LABEL_TIMES}
        return Label(
            number=number,
            kind=kind,
            name=name,
            inside=raw.inside,
            calls=raw.calls,
            retried=raw.retried,
            siblings=raw.siblings,
            grown=raw.grown_bytes,
            digested=raw.digested,
            distinct=raw.distinct,
            repeats=raw.repeats,
            place=self._text(raw.place),
            mergeable=raw.mergeable,
            **times,
        )

    def _resource(self, number: int) -> Resource:
        raw = ffi.new("perf_resource_use *")
        check(lib.perf_analysis_resource(self._get(), number, raw), "resource")
        return Resource(
            numbers=(number,),
            kind=RESOURCE_KINDS.get(raw.kind, "resource"),
            name=self._text(raw.name),
            where=self._text(raw.where),
            capacity=raw.capacity,
            workers=raw.workers,
            sleeps=bool(raw.sleeps),
            uses=raw.uses,
            waited=raw.waited_ns / 1e9,
            held=raw.held_ns / 1e9,
            active=raw.active_ns / 1e9,
            contended=raw.contended,
        )

    @staticmethod
    def _merge(resources: list[Resource]) -> list[Resource]:
        """One made for each request, on the same line, is one resource to the reader."""
        merged: dict[tuple[str, str], Resource] = {}
        for one in resources:
            if not one.name:
                continue
            known = merged.get((one.kind, one.name))
            if known is not None:
                one = Resource(
                    (*known.numbers, *one.numbers),
                    one.kind,
                    one.name,
                    known.where,
                    max(known.capacity, one.capacity),
                    known.workers + one.workers,
                    known.sleeps or one.sleeps,
                    known.uses + one.uses,
                    known.waited + one.waited,
                    known.held + one.held,
                    max(known.active, one.active),
                    known.contended + one.contended,
                )
            merged[one.kind, one.name] = one
        return list(merged.values())

    # ---- what is made of it ----

    @property
    def bottlenecks(self) -> "list[Bottleneck]":
        """What slows the program, the largest gain first."""
        if "bottlenecks" not in self._cache:
            from .bottlenecks import find_bottlenecks

            self._cache["bottlenecks"] = find_bottlenecks(self)
        found: list[Bottleneck] = self._cache["bottlenecks"]
        return found

    @property
    def repeats(self) -> "list[Repeats]":
        """Calls that were made again with the same arguments, and what a cache would save; the largest gain first."""
        if "repeats" not in self._cache:
            from .repeats import find_repeats

            self._cache["repeats"] = find_repeats(self)
        found: list[Repeats] = self._cache["repeats"]
        return found

    @property
    def merges(self) -> "list[Merges]":
        """Calls that several tasks made at one time, and what it would save to make them together; the largest gain
        first."""
        if "merges" not in self._cache:
            from .classes import Thresholds
            from .merges import find_merges

            self._cache["merges"] = find_merges(self, Thresholds().batched_calls)
        found: list[Merges] = self._cache["merges"]
        return found

    def gauge(self, name: str) -> float | None:
        """What a gauge of the program was set to last; None: it was not."""
        for known in self._reader.names:
            if known.kind is Kind.GAUGE and known.text == name:
                return self._reader.totals(known).gauge
        return None

    @property
    def deadlocks(self) -> "list[Deadlock]":
        """Locks whose holders waited for each other, the longest wait first."""
        if "deadlocks" not in self._cache:
            from .deadlocks import find_deadlocks

            self._cache["deadlocks"] = find_deadlocks(self)
        found: list[Deadlock] = self._cache["deadlocks"]
        return found

    @property
    def shares(self) -> dict[str, float]:
        """Elasticities by name; see bottlenecks.shares()."""
        from .bottlenecks import shares

        return shares(self)

    def path(self, span: int = 0) -> list[Step]:
        """The critical path: what the end of a span (0: of the program) waited for, and that in turn, back to its
        begin. The steps add up to its duration exactly."""
        steps, count = ffi.new("const perf_path_step **"), ffi.new("size_t *")
        code = lib.perf_analysis_path_blocking(self._get(), span, steps, count)
        check(code, f"critical path of span {span:016x}" if span else "critical path")
        names = {number: resource.name for resource in self.resources for number in resource.numbers}
        return [
            Step(
                step.from_ns,
                step.to_ns,
                STEP_KINDS.get(step.kind, "unexplained"),
                step.label,
                names.get(step.resource, ""),
                step.span,
                step.actor,
            )
            for step in (steps[0][i] for i in range(count[0]))
        ]

    @property
    def on_path(self) -> dict[int, float]:
        """Seconds of the program's critical path under each label, by its number."""
        if "on_path" not in self._cache:
            code = lib.perf_analysis_path_blocking(
                self._get(), 0, ffi.new("const perf_path_step **"), ffi.new("size_t *")
            )
            check(code, "critical path")
            share = ffi.new("perf_path_share *")
            found: dict[int, float] = {}
            for label in self.labels:
                check(lib.perf_analysis_path_share(self._get(), label.number, share), "critical path")
                found[label.number] = share.ns / 1e9
            self._cache["on_path"] = found
        known: dict[int, float] = self._cache["on_path"]
        return known

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `--json` writes it (docs/json.md)."""
        return {
            "self_replay_error": round(self.self_replay_error, 5),
            "reliable": self.reliable,
            "analysed_wall_s": round(self.wall, 6),
            "startup_imports_s": round(self.startup, 6),
            "events": self.events,
            "deadlocks": [{"locks": list(each.locks), "waited_s": each.seconds} for each in self.deadlocks],
            "bottlenecks": [each.to_dict() for each in self.bottlenecks],
            "repeats": [each.to_dict() for each in self.repeats],
            "merges": [each.to_dict() for each in self.merges],
        }

    # ---- replays ----

    @property
    def self_replay_error(self) -> float:
        """How far the replay of the unchanged run is from the measured wall, 0.014 for 1.4 %."""
        return abs(self.replayed - self.wall) / self.wall if self.wall else 0.0

    @property
    def reliable(self) -> bool:
        """Whether a what-if can be trusted: nothing was lost, the unchanged run replays as it was, and no time was spent
        in a deadlock."""
        as_it_was = not self.stuck and self.self_replay_error <= RELIABLE_ERROR
        return as_it_was and not self.lost and not self.deadlocks

    def replay(self, changes: list[Change] | None = None, sample: int = 0) -> float:
        """Seconds that the program takes with these changes. `sample`: see perf_analysis_replay_blocking()."""
        changes = changes or []
        raw = ffi.new("perf_change[]", [{"kind": k, "what": w, "factor": f} for k, w, f in changes])
        out = ffi.new("uint64_t *")
        total = 0
        seeds = LOTTERY_SEEDS if self.lottery else 1
        for seed in range(seeds):
            code = lib.perf_analysis_replay_blocking(self._get(), raw, len(changes), seed, sample, out)
            check(code, f"replay with {changes!r}")
            total += out[0]
        return total / seeds / 1e9

    def gain(self, changes: list[Change], sample: int = 0) -> float:
        """Share of the wall that the changes save."""
        before = self.replay(sample=sample) if sample else self.replayed
        return (before - self.replay(changes, sample)) / before if before else 0.0

    def what_if(self, changes: dict[str, Any]) -> Prediction:
        """What would these changes save, all together?

        >>> analysis.what_if({"llm:summarise": 0.5, "semaphore:db": {"capacity": 2}})
        0.2134

        A span, node or import by its name or "kind:name": by what its own time is multiplied. A semaphore or executor:
        {"capacity": n}; a queue: {"workers": n}, twice what there are; a lock: {"hold": 0.5}, what holders do while
        others wait takes half as long. "rate limit in NAME": by what the time between grants is multiplied. A name and
        {"side_by_side": True}: calls that came one after the other are made at once; and {"cached": True}: of calls with
        the same arguments only the first is made; {"batched": n}: calls of several tasks are made together, at most n of
        them, as long as the longest takes; with "each": 0.1 each call more takes a tenth of its own time.
        KeyError names what there is; ValueError says what is wrong with a value.
        """
        wanted = [change for name, value in changes.items() for change in find_changes(self, name, value)]
        after = self.replay(wanted)
        gain = (self.replayed - after) / self.replayed if self.replayed else 0.0
        return Prediction(gain, self.replayed, after, self.reliable)
