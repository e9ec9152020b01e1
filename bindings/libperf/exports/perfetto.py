"""Chrome's Trace Event Format, JSON: what ui.perfetto.dev and chrome://tracing open (docs/exports/perfetto.md).

A row for each thread and for each place where tasks take turns (tracks.py), so slices always lie inside of each other,
whatever coroutines overlap. Arrows lead from a span to those that it started elsewhere, and from an item to its batch.
Begin and end are two events ("B", "E"): readers round times, and with lengths in place of ends a child could come to
end behind its parent. Times are microseconds since the recording began, to the nanosecond.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import IntEnum
from itertools import count
from typing import Any, TextIO

from .._core import ffi, lib
from ..reader import Reader
from ..samples import Frame, Sample
from . import conventions
from .json_text import dumps, write_list
from .scheduler import Memory, Turn, read_turns
from .trace import STATUS, Trace
from .tracks import Track, place, steps

__all__ = ["write", "write_trace"]

ROWS = 10_000_000  # numbers of rows that are no thread begin here: the system's thread ids are below 2**22
LEVELS = {1: "debug", 2: "info", 3: "warning", 4: "error", 5: "critical"}
BATCH = ("batcher ", ": batch")  # how the spans of batches are called


def write(reader: Reader, out: TextIO) -> list[str]:
    """Write what a reader's file holds; returns notes for people."""
    return write_trace(Trace.read(reader), out)


def write_trace(trace: Trace, out: TextIO) -> list[str]:
    out.write(f'{{"displayTimeUnit":"ms","otherData":{dumps(_about(trace))},"traceEvents":[\n')
    write_list(out, Events(trace), ",\n")
    out.write("\n]}\n")
    return trace.notes


def _about(trace: Trace) -> dict[str, str]:
    """What there is to know about the program; viewers show it as a list of texts."""
    info = trace.info
    began = datetime.fromtimestamp(min(trace.started_at, 2**62) / 1e9, UTC)
    found = {
        "program": info.service or info.command,
        "pid": info.pid,
        "started_at": began.isoformat(),
        "started_at_unix_ns": trace.started_at,
        "exporter": f"libperf {ffi.string(lib.perf_version()).decode()}",
    }
    found |= {f"missing: {name}": value for name, value in info.losses.items()}
    found |= {f"missing: {note}": "" for note in trace.notes}
    return {name: str(value) for name, value in (found | trace.counters).items()}


class Group(IntEnum):
    """Rows, in the order in which they are shown; some viewers go by their numbers."""

    THREAD = 1
    SAMPLES = 2
    TURNS = 3
    LOG = 4
    TASK = 5


class Events:
    """The events, one after the other, as JSON."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.pid = trace.info.pid
        self.tracks, self.track_of = place(trace)
        self.real = set(trace.spans.thread)
        self.numbers = {group: count(ROWS * group) for group in Group}
        self.rows: dict[int, tuple[Group, str]] = {}  # what they are called
        self.row_of: dict[int, int] = {}  # by id(track)
        self.names: dict[int, str] = {}  # `"name":…,"cat":…` by number
        self.batches: dict[str, list[tuple[int, int]]] = defaultdict(list)  # when how many items came in or went out

    def __iter__(self) -> Iterator[str]:
        for track in self.tracks:
            yield from self._spans(track)
        yield from self._turns()
        yield from self._samples()
        yield from self._logs()
        yield from self._batches()
        yield from self._arrows()
        yield from self._rows()

    # ---- pieces of JSON ----

    def _time(self, time: int) -> str:
        since = max(0, time - self.trace.begin)
        return f"{since // 1000}.{since % 1000:03}"

    def _event(self, phase: str, row: int | None, time: int, rest: str = "") -> str:
        """Row None: it belongs to the process."""
        where = "" if row is None else f',"tid":{row}'
        return f'{{"ph":"{phase}","pid":{self.pid}{where},"ts":{self._time(time)}{rest}}}'

    def _row(self, group: Group, name: str) -> int:
        number = next(number for number in self.numbers[group] if number not in self.real)
        self.rows[number] = group, name
        return number

    def _name(self, number: int) -> str:
        known = self.names.get(number)
        if known is None:
            name = self.trace.name_of(number)
            known = self.names[number] = f',"name":{dumps(name.text)},"cat":"{name.kind.name.lower()}"'
        return known

    # ---- spans ----

    def _spans(self, track: Track) -> Iterator[str]:
        if track.task or track.thread in self.rows:
            row = self._row(Group.TASK if track.task else Group.THREAD, track.name)
        else:
            row = track.thread
            self.rows[row] = Group.THREAD, track.name
        self.row_of[id(track)] = row
        name = self.trace.spans.name
        for begins, span, time in steps(self.trace.spans, track):
            if begins:
                yield self._event("B", row, time, f'{self._name(name[span])},"args":{dumps(self._arguments(span))}')
            else:
                yield self._event("E", row, time)

    def _arguments(self, span: int) -> dict[str, Any]:
        trace, spans = self.trace, self.trace.spans
        name = trace.name_of(spans.name[span])
        given = spans.attributes(span)
        if "items" in given and name.text.startswith(BATCH[0]) and name.text.endswith(BATCH[1]):
            self._note_batch(span, name.text[len(BATCH[0]) : -len(BATCH[1])], given["items"])
        found = conventions.attributes(name.kind, name.text, given)
        found["span_id"] = f"{spans.id[span]:016x}"
        if spans.parent[span] < 0:
            found["trace_id"] = f"{trace.trace_id(span):032x}"
        if spans.task[span]:
            found["task"] = spans.task[span]
        if spans.status[span]:
            found["status"] = STATUS[spans.status[span]]
        return found

    def _note_batch(self, span: int, name: str, items: Any) -> None:
        if isinstance(items, int):
            spans = self.trace.spans
            self.batches[name] += [(spans.start[span], items), (spans.end[span], -items)]

    # ---- what lies beside spans ----

    def _turns(self) -> Iterator[str]:
        """Whose turn it was on a thread; the resident memory."""
        rows: dict[int, int] = {}
        for found in read_turns(self.trace.events()):
            if isinstance(found, Memory):
                yield self._event("C", None, found.time, f',"name":"resident memory","args":{{"bytes":{found.bytes}}}')
                continue
            row = rows.get(found.block)
            if row is None:
                row = rows[found.block] = self._row(Group.TURNS, f"{self.trace.block_name(found.block)}: whose turn")
            yield from self._turn(found, row)

    def _turn(self, turn: Turn, row: int) -> tuple[str, str]:
        span = self.trace.spans.row.get(turn.span)
        name = turn.kind if span is None else self.trace.name_of(self.trace.spans.name[span]).text
        about = f',"name":{dumps(name)},"cat":"turn","args":{{"kind":"{turn.kind}","actor":{turn.actor}}}'
        return self._event("B", row, turn.start, about), self._event("E", row, turn.end)

    def _samples(self) -> Iterator[str]:
        flames: dict[tuple[str, int], Flame] = {}
        for sample in self.trace.samples():
            if sample.what == "allocated":
                where = dumps([str_of(frame) for frame in sample.stack[-1:]])
                name = f',"s":"p","name":"allocated","cat":"memory","args":{{"bytes":{sample.weight},"at":{where}}}'
                yield self._event("i", None, sample.time, name)
                continue
            key = sample.what, sample.block
            if key not in flames:
                title = "CPU samples" if sample.what == "cpu" else "event loop held up"
                name = f"{self.trace.block_name(sample.block)}: {title}"
                flames[key] = Flame(self, self._row(Group.SAMPLES, name))
            yield from flames[key].add(sample)
        for flame in flames.values():
            yield from flame.close(0)

    def _logs(self) -> Iterator[str]:
        """On rows of their own: among spans, a line would be what an arrow begins at."""
        rows: dict[int, int] = {}
        for log in self.trace.logs:
            row = rows.get(log.thread)
            if row is None:
                row = rows[log.thread] = self._row(Group.LOG, f"{self.trace.thread_name(log.thread)}: log lines")
            about: dict[str, Any] = {"level": LEVELS.get(log.level, str(log.level))}
            if log.span >= 0:
                spans = self.trace.spans
                about["span"] = self.trace.label(spans.name[log.span])
                about["span_id"] = f"{spans.id[log.span]:016x}"
            name = f',"s":"t","name":{dumps(log.message)},"cat":"log","args":{dumps(about)}'
            yield self._event("i", row, log.time, name)

    def _batches(self) -> Iterator[str]:
        """Items that are in batches right now, of each batcher."""
        for name, changes in self.batches.items():
            items = 0
            for time, change in sorted(changes):
                items += change
                title = dumps(f"batcher {name}: in batches")
                yield self._event("C", None, time, f',"name":{title},"args":{{"items":{items}}}')

    def _arrows(self) -> Iterator[str]:
        spans, number = self.trace.spans, count(1)
        for span in range(len(spans)):
            above = spans.parent[span]
            if above >= 0 and self.track_of[above] is not self.track_of[span]:
                yield from self._arrow("started", next(number), above, span)
        for span, batch in self._links():
            yield from self._arrow("in batch", next(number), span, batch)

    def _arrow(self, name: str, number: int, source: int, target: int) -> Iterator[str]:
        """An arrow begins where something is open, and ends at the begin of its target."""
        spans = self.trace.spans
        to = spans.start[target]
        since = max(spans.start[source], min(to, spans.end[source] - 1))
        if since > to or to == spans.end[target]:  # in a damaged file; without a length there is nothing to point at
            return
        about = f',"id":{number},"name":"{name}","cat":"{name}"'
        yield self._event("s", self.row_of[id(self.track_of[source])], since, about)
        yield self._event("f", self.row_of[id(self.track_of[target])], to, f'{about},"bp":"e"')

    def _links(self) -> Iterator[tuple[int, int]]:
        """Items, and the batch that each was in, which is not their parent."""
        trace, spans = self.trace, self.trace.spans
        items = {name.number for name in trace.names if name.text.startswith(BATCH[0])}
        for span in range(len(spans)) if items else ():
            if spans.name[span] in items:
                batch = spans.row.get(_hex(spans.attributes(span).get("batch")))
                if batch is not None:
                    yield span, batch

    def _rows(self) -> Iterator[str]:
        """What the process and the rows are called, and their order."""
        head = f'{{"ph":"M","pid":{self.pid},'
        yield f'{head}"name":"process_name","args":{{"name":{dumps(self.trace.title)}}}}}'
        shown = sorted(self.rows.items(), key=lambda row: row[1][0])  # stable: by their begin in each group
        for order, (row, (_, name)) in enumerate(shown):
            yield f'{head}"tid":{row},"name":"thread_name","args":{{"name":{dumps(name)}}}}}'
            yield f'{head}"tid":{row},"name":"thread_sort_index","args":{{"sort_index":{order}}}}}'


class Flame:
    """Samples of a thread as slices: what two neighbours have in common goes on."""

    def __init__(self, events: Events, row: int) -> None:
        self.events = events
        self.row = row
        self.open: list[Frame] = []
        self.until = 0

    def add(self, sample: Sample) -> Iterator[str]:
        start = max(self.until, sample.time - sample.weight)
        same = 0
        if start - self.until <= sample.weight // 2:  # there is no gap between the two
            pairs = zip(self.open, sample.stack, strict=False)
            same = next((i for i, (old, new) in enumerate(pairs) if old != new), min(len(self.open), len(sample.stack)))
        yield from self.close(same)
        for frame in sample.stack[same:]:
            about = f',"name":{dumps(str_of(frame))},"cat":"sample"'
            yield self.events._event("B", self.row, start, about)
            self.open.append(frame)
        self.until = max(start, sample.time)

    def close(self, kept: int) -> Iterator[str]:
        while len(self.open) > kept:
            self.open.pop()
            yield self.events._event("E", self.row, self.until)


def str_of(frame: Frame) -> str:
    return f"{frame.function} ({frame.file}:{frame.line})" if frame.line else f"{frame.function} ({frame.file})"


def _hex(value: object) -> int:
    try:
        return int(str(value), 16)
    except ValueError:
        return 0
