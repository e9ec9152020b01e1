"""Samples of another profiler join the spans that were open on their thread; recordings and files are written by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from libperf.errors import InvalidError, NotFoundError
from libperf.events import ActorKind, Code
from libperf.exports.trace import Trace
from libperf.imported import NO_SPAN, SEVERAL
from libperf.names import Kind
from support_exports import BEGIN, MS, PID, Recording
from support_imported import EPOCH_S, ZERO_MS, Chrome, gecko, join_by_hand, shares, touch

START_S = EPOCH_S + ZERO_MS / 1e3
HELPER = 201


def app() -> Recording:
    """plan 100..400; answer 500..900 with format in it, 700..800; helper in another thread, 550..850."""
    found = Recording()
    found.span("plan", 100, 400)
    answer = found.span("answer", 500, 900)
    found.span("format", 700, 800, answer, kind=Kind.TOOL)
    found.span("helper", 550, 850, thread=HELPER)
    return found


def app_seen(ids: bool = True) -> Chrome:
    """What py-spy writes of that, if it sees each change at once."""
    chrome = Chrome(ids=ids)
    chrome.see(100, PID, "<module>:9", "plan:1", "spin:5")
    chrome.see(400, PID, "<module>:9")
    chrome.see(500, PID, "<module>:9", "answer:2", "rank:3")
    chrome.see(550, HELPER, "_bootstrap:1", "helper:4", "spin:5")
    chrome.see(700, PID, "<module>:9", "answer:2", "spin:5")
    chrome.see(850, HELPER, "_bootstrap:1")
    chrome.see(900, PID, "<module>:9")
    return chrome


TRUTH = {"plan": 300, "answer": 300, "tool:format": 100, "helper": 300, NO_SPAN: 350}  # own, up to 1,000


# ---- what belongs to whom ----


@pytest.mark.parametrize("ids", [True, False], ids=["thread ids", "no thread ids"])
def test_each_moment_belongs_to_the_innermost_open_span(tmp_path: Path, ids: bool) -> None:
    """To the nanosecond, also where a stack goes on across a span's begin; threads are told apart by their ids, without
    them by `<module>` and by what their functions are called."""
    path = app_seen(ids).write(tmp_path / "x.json", 1000)
    found = join_by_hand(app(), path, START_S)
    assert shares(found) == TRUTH
    lines = {
        (each.name, line.frame.function, line.frame.line): line.weight
        for each in found.operations
        for line in each.lines
    }
    assert {key: round(weight * 1e3, 3) for key, weight in lines.items()} == {
        ("plan", "spin", 5): 300,
        ("answer", "rank", 3): 200,
        ("answer", "spin", 5): 100,
        ("tool:format", "spin", 5): 100,
        ("helper", "spin", 5): 300,
        (NO_SPAN, "<module>", 9): 200,
        (NO_SPAN, "_bootstrap", 1): 150,
    }
    assert (found.joined_by, found.unit, found.tool, found.notes) == ("time", "seconds", "py-spy", [])


def test_a_thread_that_nobody_knows_is_said(tmp_path: Path) -> None:
    """Its samples are outside of spans, and there is a note with what to do."""
    chrome = app_seen(ids=False)
    chrome.see(300, 300, "stranger:1")
    found = join_by_hand(app(), chrome.write(tmp_path / "x.json", 1000), START_S)
    assert shares(found) == TRUTH | {NO_SPAN: 350 + 700}
    assert found.notes == ["1 thread of the file could not be found in the recording; py-spy says which with --threads"]


def tasks(names: tuple[str, ...] = ("fetch", "parse")) -> Recording:
    """main 100..500, in which two tasks take turns on one thread."""
    found = Recording()
    main = found.span("main", 100, 500)
    for number, name in enumerate(names):
        found.span(name, 200, 400, main, task=number + 1)
    return found


def turns(*functions: str) -> Chrome:
    """Each 50 ms from 200 to 400 another function."""
    chrome = Chrome()
    chrome.see(100, PID, "main:1")
    for place, function in enumerate(functions):
        chrome.see(200 + 50 * place, PID, "main:1", "run:2", function, "work:3")
    chrome.see(400, PID, "main:1")
    return chrome


def test_tasks_side_by_side_are_told_apart_by_their_functions(tmp_path: Path) -> None:
    """Without scheduler events the clock alone cannot say whose turn it was."""
    chrome = turns("fetch:7", "parse:8", "fetch:7", "other:9")
    found = join_by_hand(tasks(), chrome.write(tmp_path / "x.json", 500), START_S)
    assert shares(found) == {"main": 200, "fetch": 100, "parse": 50, SEVERAL: 50}


def test_tasks_of_one_name_need_not_be_told_apart(tmp_path: Path) -> None:
    """Whichever it was, it was that operation."""
    chrome = turns("other:7", "other:8", "other:7", "other:9")
    found = join_by_hand(tasks(("fetch", "fetch")), chrome.write(tmp_path / "x.json", 500), START_S)
    assert shares(found) == {"main": 200, "fetch": 200}


def test_scheduler_events_say_whose_turn_it_was(tmp_path: Path) -> None:
    """With them it is exact, whatever the functions are called."""
    recording = tasks()
    main, fetch, parse = recording.spans.id
    recording.event(90, Code.THREAD, 1, arg=ActorKind.MAIN)
    recording.event(100, Code.SPAN_BEGIN, main)
    recording.event(200, Code.SUSPEND, span=main)
    for place, span in enumerate((fetch, parse, parse, fetch)):
        recording.event(250 + 50 * place, Code.SUSPEND, span=span)
    recording.event(500, Code.SPAN_END, main, span=main)
    found = join_by_hand(recording, turns(*["other:7"] * 4).write(tmp_path / "x.json", 500), START_S)
    assert shares(found) == {"main": 200, "fetch": 100, "parse": 100}


def test_a_stack_that_lingers_is_left_out(tmp_path: Path) -> None:
    """py-spy ends no stack when its thread waits or is over: what is in a span's function long after the span is no
    time of anybody; up to one look's delay it is the span's."""
    recording = Recording()
    recording.span("plan", 100, 400)
    recording.span("helper", 100, 300, thread=HELPER)
    chrome = Chrome()
    chrome.see(100, PID, "<module>:9", "plan:1")
    chrome.see(100, HELPER, "helper:4", "spin:5")
    chrome.see(405, PID, "<module>:9")
    found = join_by_hand(recording, chrome.write(tmp_path / "x.json", 1000), START_S)
    assert shares(found) == {"plan": 305, "helper": 200, NO_SPAN: 595}
    assert [note.partition(":")[0] for note in found.notes] == ["700 ms left out"]


def test_spans_of_no_length_and_none_at_all(tmp_path: Path) -> None:
    """The first have no samples; a recording without spans is refused."""
    recording = app()
    recording.span("instant", 150, 150)
    assert shares(join_by_hand(recording, app_seen().write(tmp_path / "x.json", 1000), START_S)) == TRUTH
    with pytest.raises(NotFoundError, match=r"no span that samples .* could belong to"):
        join_by_hand(Recording(), tmp_path / "x.json")


def test_like_a_plain_reading_of_random_recordings(tmp_path: Path) -> None:
    """Beside a look at each millisecond, which asks all spans of the thread for the innermost."""
    for seed in range(15):
        chance = random.Random(seed)
        recording, chrome, truth = Recording(), Chrome(), dict[str, float]()
        open_: list[tuple[str, int, int]] = []  # name, end, id
        for time in range(100, 600):
            while open_ and open_[-1][1] <= time:
                open_.pop()
            if chance.random() < 0.1 and len(open_) < 6 and (not open_ or open_[-1][1] > time + 2):
                name, end = f"op{chance.randrange(5)}", chance.randint(time + 1, open_[-1][1] if open_ else 600)
                open_.append((name, end, recording.span(name, time, end, open_[-1][2] if open_ else 0)))
            chrome.see(time, PID, "<module>:1", f"code:{chance.randrange(3)}")
            key = open_[-1][0] if open_ else NO_SPAN
            truth[key] = truth.get(key, 0) + 1
        found = join_by_hand(recording, chrome.write(tmp_path / f"{seed}.json", 600), START_S)
        assert shares(found) == pytest.approx(truth), seed


# ---- when its zero was ----


def test_the_time_of_the_file_is_when_it_ended(tmp_path: Path) -> None:
    """py-spy writes its file at once."""
    found = join_by_hand(app(), app_seen().write(tmp_path / "x.json", 1000))
    assert shares(found) == TRUTH
    assert found.clock is not None
    assert (found.clock.how, found.clock.agreement) == ("from when the file was written", 1.0)


@pytest.mark.parametrize("wrong_ms", [-500_000, -300, 250, 5_000, 10**9])
def test_a_copied_file_is_placed_by_its_functions(tmp_path: Path, wrong_ms: int) -> None:
    """As if it had not been copied, within the uncertainty that is told."""
    path = app_seen().write(tmp_path / "x.json", 1000)
    touch(path, 1000 + wrong_ms)
    found = join_by_hand(app(), path)
    assert found.clock is not None
    assert (found.clock.how, found.clock.agreement) == ("from functions that spans are named after", 1.0)
    assert abs(found.clock.zero - (BEGIN + ZERO_MS * MS)) <= found.clock.spread
    assert shares(found) == pytest.approx(TRUTH, abs=2)


def test_another_run_is_refused(tmp_path: Path) -> None:
    """When functions and spans fit at no time, the message says how little fits, and what to do."""
    chrome = Chrome()
    for step in range(0, 1000, 20):
        chrome.see(step, PID, "<module>:9", ("plan:1", "answer:2", "rest:3")[step % 3])
    path = chrome.write(tmp_path / "x.json", 1000)
    with pytest.raises(InvalidError, match=r"only \d+% of its samples .*--samples-start SECONDS"):
        join_by_hand(app(), path)
    with pytest.raises(
        InvalidError, match=r"only 0% of its samples lie in the time of the recording .*as given: 3.000 to 3.900"
    ):
        join_by_hand(app(), app_seen().write(tmp_path / "x.json", 1000), 3.0 - 0.08)


def test_without_functions_that_spans_are_named_after_nothing_confirms_it(tmp_path: Path) -> None:
    """The file's time is taken, and the table says that nothing speaks for it."""
    recording = Recording()
    recording.span("step", 100, 400)
    chrome = Chrome()
    chrome.see(100, PID, "<module>:9", "work:1")
    found = join_by_hand(recording, chrome.write(tmp_path / "x.json", 500))
    assert shares(found) == {"step": 300, NO_SPAN: 100}
    assert found.clock is not None and found.clock.agreement is None
    assert "nothing confirms it" in str(found)


# ---- Tachyon ----

SEEN = {
    PID: [(time, ("<module>", "plan" if time < 400 else "rest", "spin")) for time in range(100, 500, 10)],
    HELPER: [(time, ("_bootstrap", "helper")) for time in range(550, 850, 10)],
}


def test_tachyon_writes_the_monotonic_clock(tmp_path: Path) -> None:
    """Each sample stands for the mean time between two, in the middle of which it is: that of `rest` at 400 begins in plan.
    The profile's own pid is the profiler's."""
    path = tmp_path / "x.json"
    path.write_text(json.dumps(gecko(SEEN, BEGIN / MS)))
    found = join_by_hand(app(), path)
    assert (found.tool, found.format) == ("Tachyon", "gecko")
    assert found.clock is not None and found.clock.how == "Tachyon wrote when it began"
    assert shares(found) == {"plan": 305, "helper": 300, NO_SPAN: 95}
    assert found.operations[0].lines[0].where == "app.py:9"


def test_a_replayed_profile_is_placed_by_its_functions(tmp_path: Path) -> None:
    """Its startTime is that of the replay; the functions tell the time to within one period."""
    path = tmp_path / "x.json"
    path.write_text(json.dumps(gecko(SEEN, BEGIN / MS + 77_000_000)))
    found = join_by_hand(app(), path)
    assert found.clock is not None and found.clock.how == "from functions that spans are named after"
    assert abs(found.clock.zero - BEGIN) <= 10 * MS
    assert shares(found) == pytest.approx({"plan": 300, "helper": 300, NO_SPAN: 100}, abs=15)


# ---- what has no times ----


def test_what_has_no_times_is_joined_by_names(tmp_path: Path) -> None:
    """The innermost function of a stack that a span is named after; the three formats agree, and say so."""
    speedscope = {
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "exporter": "py-spy@0.4.1",
        "profiles": [
            {
                "type": "sampled",
                "name": f'Thread {PID} "MainThread"',
                "unit": "seconds",
                "samples": [[0, 1, 2, 3], [0, 1, 2, 3], [0, 4]],
                "weights": [0.01, 0.01, 0.01],
            }
        ],
        "shared": {
            "frames": [
                {"name": f"thread ({PID})", "file": "", "line": 0},
                {"name": "<module>", "file": "app.py", "line": 9},
                {"name": "plan", "file": "app.py", "line": 1},
                {"name": "spin", "file": "app.py", "line": 5},
                {"name": "rest", "file": "app.py", "line": 6},
            ]
        },
    }
    texts = {
        "speedscope": json.dumps(speedscope),
        "raw": f"thread ({PID});<module> (app.py:9);plan (app.py:1);spin (app.py:5) 2\nthread ({PID});rest (app.py:6) 1\n",
        "collapsed": f"tid:{PID};app.py:<module>:9;app.py:plan:1;app.py:spin:5 2\ntid:{PID};app.py:rest:6 1\n",
    }
    for format, text in texts.items():
        path = tmp_path / format
        path.write_text(text)
        found = join_by_hand(app(), path)
        assert (found.format, found.joined_by, found.clock, found.samples) == (format, "function names", None, 3)
        unit = 10 if format == "speedscope" else 1
        assert shares(found) == {"plan": 2 * unit, NO_SPAN: unit}
        assert found.operations[0].lines[0].where == "app.py:5"
        assert "it has no times" in str(found)
        with pytest.raises(InvalidError, match=r"start=12.0: .*has no times"):
            join_by_hand(app(), path, 12.0)


def test_stacks_without_times_and_names_are_refused(tmp_path: Path) -> None:
    """There is nothing to join them by; the message names the format that has times."""
    path = tmp_path / "x"
    path.write_text("main;work 3\n")
    with pytest.raises(InvalidError, match=r"py-spy record --format chrometrace --threads"):
        join_by_hand(app(), path)


# ---- of whom ----


def test_another_process_is_named(tmp_path: Path) -> None:
    """Of a file with several processes only the recording's counts; one without it is refused."""
    chrome = app_seen()
    chrome.events += [event | {"pid": 7, "ts": event["ts"] + 5} for event in chrome.events]
    assert shares(join_by_hand(app(), chrome.write(tmp_path / "x.json", 1000), START_S)) == TRUTH
    other = app_seen()
    other.events = [event | {"pid": 7} for event in other.events]
    (tmp_path / "y.json").write_text(json.dumps(other.events))
    with pytest.raises(InvalidError, match=f"it is of process 7, and the recording of process {PID}"):
        join_by_hand(app(), tmp_path / "y.json")


def test_what_was_lost_is_said(tmp_path: Path) -> None:
    """Overwritten spans cannot be joined; the table says that there were some."""
    recording = app()
    recording.lost = 7
    found = join_by_hand(recording, app_seen().write(tmp_path / "x.json", 1000), START_S)
    assert found.notes == ["7 records were overwritten before they were read"]
    assert isinstance(recording.trace(), Trace)
