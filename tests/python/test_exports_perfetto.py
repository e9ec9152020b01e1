"""Chrome's Trace Event Format, read as Perfetto's importer reads it."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import jsonschema
import pytest

from libperf.events import Code
from libperf.exports import perfetto
from libperf.exports.json_text import dumps
from libperf.exports.trace import Log
from libperf.names import Kind
from libperf.samples import Frame
from support_exports import BEGIN, MS, PID, Recording, Timeline, written

NUMBER = {"type": "number", "minimum": 0}
TEXT = {"type": "string"}
INTEGER = {"type": "integer", "minimum": 0}


def shape(phase: str, required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    fields = {"ph": {"const": phase}, "pid": INTEGER, **required}
    return {"properties": {**fields, **optional}, "required": list(fields), "additionalProperties": False}


ROW = {"tid": INTEGER, "ts": NUMBER}
NAMED = {"name": TEXT, "cat": TEXT}
ARGS = {"args": {"type": "object"}}
# The document "Trace Event Format" gives no schema; this is what it says of the events that we write.
SCHEMA = {
    "type": "object",
    "required": ["traceEvents", "displayTimeUnit"],
    "properties": {
        "displayTimeUnit": {"enum": ["ms", "ns"]},
        "otherData": {"type": "object", "additionalProperties": TEXT},
        "traceEvents": {
            "type": "array",
            "items": {
                "oneOf": [
                    shape("B", ROW | NAMED, **ARGS),
                    shape("E", ROW),
                    shape("i", {"ts": NUMBER, "s": {"enum": ["t", "p", "g"]}} | NAMED, tid=INTEGER, **ARGS),
                    shape(
                        "C",
                        {
                            "ts": NUMBER,
                            "name": TEXT,
                            "args": {"type": "object", "additionalProperties": {"type": "number"}},
                        },
                    ),
                    shape("s", ROW | NAMED | {"id": INTEGER}),
                    shape("f", ROW | NAMED | {"id": INTEGER, "bp": {"const": "e"}}),
                    shape("M", {"name": {"const": "process_name"}, "args": {"required": ["name"]}}),
                    shape("M", {"name": {"const": "thread_name"}, "tid": INTEGER, "args": {"required": ["name"]}}),
                    shape(
                        "M",
                        {"name": {"const": "thread_sort_index"}, "tid": INTEGER, "args": {"required": ["sort_index"]}},
                    ),
                ]
            },
        },
    },
}


def timeline(recording: Recording, **changed: Any) -> Timeline:
    text = written(perfetto.write_trace, recording.trace(**changed))
    found = Timeline(text)
    jsonschema.validate(found.data, SCHEMA)
    return found


def test_times_are_microseconds_since_the_recording_began() -> None:
    """To the nanosecond; the wall clock's time of the begin is beside them."""
    recording = Recording()
    recording.span("load", 1.000001, 3.5, path="a.txt", status=1)
    found = timeline(recording)
    begin, end = found.of("B")[0], found.of("E")[0]
    assert (begin["pid"], begin["tid"], begin["ts"], end["ts"]) == (PID, PID, 1000.001, 3500)
    assert (begin["name"], begin["cat"]) == ("load", "span")
    assert begin["args"] == {"path": "a.txt", "span_id": f"{1000:016x}", "trace_id": f"{7:032x}", "status": "error"}
    assert found.data["otherData"]["started_at"] == "2023-11-14T22:13:25+00:00"
    assert found.data["otherData"]["started_at_unix_ns"] == str(1_700_000_005 * 1000 * MS)
    names = [event["args"]["name"] for event in found.of("M") if event["name"] == "process_name"]
    assert (names, found.rows) == (["agent"], {PID: "main thread"})


def test_overlapping_coroutines_nest_on_rows_of_their_own_and_arrows_lead_to_them() -> None:
    recording = Recording()
    main = recording.span("main", 0, 20, task=1)
    for task in (2, 3):
        fetch = recording.span("fetch", task, 15 + task, main, task=task)
        recording.span("parse", 5, 6, fetch, task=task)
    found = timeline(recording)
    assert found.row("main") == [("main", 0)]
    assert found.row("fetch") == found.row("fetch (2)") == [("fetch", 0), ("parse", 1)]
    assert found.arrows == [("started", "main", "fetch")] * 2
    assert min(row for row in found.rows) > 2**22  # no thread's


def test_an_arrow_begins_where_its_source_is_open() -> None:
    """A task that outlives the span that started it, and one that begins after that."""
    recording = Recording()
    brief = recording.span("brief", 0, 2, task=1)
    recording.span("late", 5, 8, brief, task=2)
    recording.span("later", 1, 9, brief, task=3)
    instant = recording.span("instant", 10, 10.000002, task=4)
    recording.span("next", 10, 12, instant, thread=7)
    found = timeline(recording)
    assert sorted(found.arrows) == [
        ("started", "brief", "late"),
        ("started", "brief", "later"),
        ("started", "instant", "next"),
    ]


def test_items_lead_to_their_batch_and_batches_are_counted() -> None:
    recording = Recording()
    batch = recording.span("batcher embed: batch", 5, 9, task=9, items=2, reason="full")
    recording.span("batcher embed: batch", 8, 12, task=10, items=3)
    for task in (1, 2):
        caller = recording.span("ask", 1, 10, task=task)
        recording.span("batcher embed: item", 2, 9, caller, task=task, batch=f"{batch:016x}")
    recording.span("batcher embed: item", 2, 9, task=3, batch="not hex")
    found = timeline(recording)
    assert found.arrows == [("in batch", "batcher embed: item", "batcher embed: batch")] * 2
    counts = [(event["ts"], event["args"]["items"]) for event in found.of("C")]
    assert counts == [(5000, 2), (8000, 5), (9000, 3), (12000, 0)]
    assert {event["name"] for event in found.of("C")} == {"batcher embed: in batches"}


def test_log_lines_have_a_row_for_each_thread_and_name_their_span() -> None:
    recording = Recording()
    recording.span("fetch", 0, 5, task=4)
    recording.logs = [Log(BEGIN + 2 * MS, 3, 'cache "miss"\n', 0, PID, 4), Log(BEGIN + 3 * MS, 77, "lost", -1, 9, 0)]
    found = timeline(recording)
    first, second = found.of("i")
    assert (first["name"], first["ts"]) == ('cache "miss"\n', 2000)
    assert first["args"] == {"level": "warning", "span": "fetch", "span_id": f"{1000:016x}"}
    assert second["args"] == {"level": "77"}
    rows = [found.rows[event["tid"]] for event in (first, second)]
    assert rows == ["main thread: log lines", "thread 9: log lines"]


def test_whose_turn_it_was_and_the_memory() -> None:
    """Scheduler events: turns never overlap, the thread's own time is left out, spans name them."""
    recording = Recording()
    fetch = recording.span("fetch", 0, 9, task=1)
    recording.event(0, Code.THREAD, 50, more=1)
    recording.turn(1, 2, 51, fetch)
    recording.event(3, Code.RUN, 52, arg=3)
    recording.event(4, Code.MEMORY, more=123_456_789)
    recording.event(5, Code.RUN, 53, arg=2)  # on top of it
    recording.event(6, Code.END)
    recording.event(8, Code.END)
    found = timeline(recording)
    turns = [slice for slice in found.slices if slice["row"] == "main thread: whose turn"]
    assert [(turn["name"], turn["start"] // MS, turn["end"] // MS) for turn in turns] == [
        ("fetch", 1, 2),
        ("callback", 3, 5),
        ("task", 5, 6),
        ("callback", 6, 8),
    ]
    assert turns[0]["args"] == {"kind": "task", "actor": 51}
    assert [(event["name"], event["args"]) for event in found.of("C")] == [("resident memory", {"bytes": 123456789})]


MAIN, WORK, PARSE = Frame("main", "a.py", 9), Frame("work", "a.py", 3), Frame("parse", "b.py", 0)


def test_samples_become_a_flame_chart() -> None:
    """What neighbours have in common goes on; a gap ends everything."""
    recording = Recording()
    recording.sample("cpu", 1, 1, MAIN, WORK)
    recording.sample("cpu", 2, 1, MAIN, WORK, PARSE)
    recording.sample("cpu", 3, 1, MAIN)
    recording.sample("cpu", 9, 1, MAIN)
    recording.sample("stall", 8, 5, MAIN, WORK)
    recording.sample("allocated", 4, 1024, MAIN, PARSE)
    found = timeline(recording)
    chart = [slice for slice in found.slices if slice["row"].endswith("CPU samples")]
    assert [(slice["name"], slice["depth"], slice["start"] / MS, slice["end"] / MS) for slice in chart] == [
        ("main (a.py:9)", 0, 0, 3),
        ("work (a.py:3)", 1, 0, 2),
        ("parse (b.py)", 2, 1, 2),
        ("main (a.py:9)", 0, 8, 9),
    ]
    stalls = [slice for slice in found.slices if slice["row"].endswith("event loop held up")]
    assert [(slice["name"], slice["end"] - slice["start"]) for slice in stalls] == [
        ("main (a.py:9)", 5 * MS),
        ("work (a.py:3)", 5 * MS),
    ]
    assert found.of("i")[0]["args"] == {"bytes": 1024, "at": ["parse (b.py)"]}


def test_models_are_called_as_the_conventions_have_it() -> None:
    recording = Recording()
    recording.span("plan", 0, 1, kind=Kind.LLM, model="gpt-4o", prompt_tokens=12)
    arguments = timeline(recording).of("B")[0]["args"]
    assert arguments["gen_ai.operation.name"] == "chat"
    assert arguments["gen_ai.request.model"] == "gpt-4o"
    assert arguments["gen_ai.provider.name"] == "openai"
    assert arguments["gen_ai.usage.input_tokens"] == 12


def test_numbers_that_are_none_and_what_is_missing() -> None:
    recording = Recording()
    recording.span("x", 0, 1, ratio=float("nan"), best=float("inf"))
    recording.lost = 5
    found = timeline(recording, damaged=3)
    assert found.of("B")[0]["args"]["ratio"] == "nan" and found.of("B")[0]["args"]["best"] == "inf"
    assert found.data["otherData"]["missing: damaged"] == "3"
    assert "missing: 5 records were overwritten before they were read" in found.data["otherData"]


def test_nothing_recorded_is_a_timeline_without_slices() -> None:
    assert timeline(Recording()).slices == []


def test_a_thread_id_that_looks_like_one_of_our_rows() -> None:
    """From a damaged file: rows stay apart."""
    recording = Recording()
    for i in range(3):
        recording.span("across", i, 5 + i, thread=10_000_001)
    recording.span("task", 0, 5, task=3)
    found = timeline(recording)
    assert len(found.rows) == 4 and len(found.slices) == 4


@pytest.mark.parametrize("seed", range(10))
def test_any_recording_is_balanced_for_a_reader_that_rounds(seed: int) -> None:
    """Nanoseconds at random, far from zero, where doubles cannot hold them."""
    dice = random.Random(seed)
    recording = Recording()
    ids = [0]
    far = dice.choice((0, 10**6, 10**10))
    for _ in range(300):
        start = far + dice.randrange(10**6) / 10**6
        task = dice.choice((0, 1, 2, 3, 4))
        ids.append(recording.span("x", start, start + dice.choice((0, 1e-6, 1e-3, 0.3)), dice.choice(ids), task=task))
    assert len(timeline(recording).slices) == 300


def test_the_file_is_written_line_by_line() -> None:
    """So that it can be looked at, and cut, with line tools."""
    recording = Recording()
    recording.span("a", 0, 1)
    lines = written(perfetto.write_trace, recording.trace()).splitlines()
    assert [json.loads(line.rstrip(","))["ph"] for line in lines[1:-1]] == ["B", "E", "M", "M", "M"]


@pytest.mark.parametrize(
    "text", ["\\", "a\\", "\\\\", '\\"', '"\\', '\\\\"', "\\n", "\x7f", "🐝", "\ud800", "é\\"], ids=ascii
)
def test_json_is_read_back(text: str) -> None:
    """As it was, whatever stands at its end; a lone surrogate is a question mark."""
    written = dumps({text: [text, text + "x", float("inf")]})
    text = text.encode("utf-8", "replace").decode()
    assert json.loads(written) == {text: [text, text + "x", "inf"]}
    assert "\x7f" not in written and written.encode()
    assert not re.search(r'(?<!\\)(\\\\)+"', written)  # Perfetto takes that quote for an escaped one
