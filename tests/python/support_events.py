"""What a program's schedulers did: the events of this process's segment, with the actor that each belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import libperf
from libperf._core import ffi, lib
from libperf.reader import Reader

CODES = {getattr(lib, name): name[11:] for name in dir(lib) if name.startswith("PERF_EVENT_")}
KINDS = {getattr(lib, name): name[11:].lower() for name in dir(lib) if name.startswith("PERF_ACTOR_")}
BATCH = 4096


class Event(NamedTuple):
    """One event; `span` is the name of its label, `text` that of a name in `arg`."""

    code: str
    actor: int
    kind: str
    span: str
    key: int
    more: int
    arg: int
    text: str
    block: int
    time: int


class Events(list[Event]):
    """Events in the order of their times."""

    def of(self, *codes: str) -> Events:
        return Events(event for event in self if event.code in codes)

    def codes(self, *but: str) -> list[str]:
        return [event.code for event in self if event.code not in but]

    def by(self, actor: int) -> Events:
        return Events(event for event in self if event.actor == actor)

    def one(self, code: str, **fields: Any) -> Event:
        found = [e for e in self.of(code) if all(getattr(e, name) == value for name, value in fields.items())]
        assert len(found) == 1, (code, fields, found)
        return found[0]

    def resource(self, name: str) -> int:
        """The id of the resource of that name."""
        return self.one("RESOURCE", text=name).key


class Raw(NamedTuple):
    """A perf_event, copied: the batch is used again."""

    code: int
    block: int
    arg: int
    time_ns: int
    cpu_ns: int
    span: int
    key: int
    more: int


def _raw(reader: Reader) -> Iterator[Raw]:
    batch = ffi.new("perf_event[]", BATCH)
    while count := lib.perf_reader_events(reader._get(), batch, BATCH):
        for event in batch[0:count]:
            yield Raw(*(getattr(event, field) for field in Raw._fields))


def read(reader: Reader) -> Events:
    """What came since the reader's last look."""
    reader.refresh()
    names = reader.names
    spans: dict[int, str] = {}
    stacks: dict[int, list[tuple[int, str]]] = {}
    found = []
    raw = [event for event in _raw(reader) if event.code != lib.PERF_EVENT_MEMORY]  # the core's own
    raw.sort(key=lambda event: event.time_ns)  # stable: those of one block keep their order
    for event in raw:
        code = CODES[event.code]
        if code == "SPAN_BEGIN":
            spans[event.key] = names[event.arg].text
    for event in raw:
        code = CODES[event.code]
        if code == "MEMORY":  # comes with any other event, about once a millisecond
            continue
        stack = stacks.setdefault(event.block, [])
        if code == "THREAD":
            stack[:] = [(event.key, KINDS[event.arg])]
        elif code == "RUN":
            stack.append((event.key, KINDS[event.arg]))
        actor, kind = stack[-1] if stack else (0, "")
        is_text = code in ("RESOURCE", "WHERE", "IMPORT", "SPAN_BEGIN")
        text = names[event.arg].text if is_text else spans.get(event.key, "") if code == "SPAN_END" else ""
        label = spans.get(event.span, "?") if event.span else ""
        found.append(
            Event(code, actor, kind, label, event.key, event.more, event.arg, text, event.block, event.time_ns)
        )
        if code in ("SUSPEND", "END") and stack:
            stack.pop()
    return Events(found)


@contextmanager
def recorded() -> Iterator[Events]:
    """Profile the block; afterwards the list has what was written in it."""
    reader = Reader()
    for _ in _raw(reader):
        pass
    events = Events()
    with libperf.Profiler():
        yield events
    events += read(reader)
    reader.close()


def record(program: Callable[[], object]) -> Events:
    """Profile a program."""
    with recorded() as events:
        program()
    return events
