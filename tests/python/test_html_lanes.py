"""The timeline: which actors get a lane, what is summed up, and what the page is told about it."""

from __future__ import annotations

import random

from libperf.events import ActorKind, Code
from libperf.html import lanes as lanes_module
from libperf.html.explain import Piece, State
from libperf.html.lanes import BINS, LANES, SPARE, Group, Lane, _in_bins, fold, summed_up
from libperf.html.path import Step
from libperf.html.timeline import PIECES, STEPS, coarsen, fewer, joined, timeline
from support_html import LOOP, MS, START, Recording

RUN = 1  # perf_step_kind


def piece(start: int, end: int, state: State = State.RUN, what: str = "") -> Piece:
    return Piece(start, end, state, 0, what)


def looped() -> Recording:
    """The main thread runs a loop from the start."""
    recording = Recording()
    recording(0, Code.HOST, more=LOOP)
    return recording


def tasks(recording: Recording, first: int, count: int, name: str, begin: float, length: float, gap: float) -> None:
    """Tasks that each have a span of that name, one `gap` after the other."""
    number = recording.name(name)
    for i in range(count):
        recording.run(begin + i * gap, first + i)
        recording(begin + i * gap, Code.SPAN_BEGIN, 1000 + first + i, arg=number)
        recording(begin + i * gap, Code.SUSPEND, 0, span=1000 + first + i)
    for i in range(count):
        recording.run(begin + i * gap + length, first + i, span=1000 + first + i)
        recording(begin + i * gap + length, Code.END, span=1000 + first + i)


def shown(recording: Recording, steps: list[Step] | None = None) -> dict[str, object]:
    return timeline(recording.history(), recording.names, steps or [])


def test_tasks_of_one_name_that_do_not_meet_share_a_lane() -> None:
    recording = looped()
    tasks(recording, 10, 5, "fetch", begin=0, length=1, gap=2)
    tasks(recording, 20, 3, "parse", begin=0.5, length=5, gap=1)
    assert shown(recording)["lanes"] == ["fetch", "parse", "parse", "parse"]


def test_a_thousand_tasks_are_summed_up_and_the_page_says_so() -> None:
    recording = looped()
    tasks(recording, 10, 1000, "fetch", begin=0, length=2000, gap=1)
    data = shown(recording)
    assert isinstance(data["lanes"], list) and len(data["lanes"]) <= LANES + SPARE
    assert "961 × fetch" in data["lanes"]
    assert data["notes"] == ["961 tasks are summed up in lanes named “n × …”."]


def test_tasks_of_the_critical_path_keep_a_lane_of_their_own() -> None:
    recording = looped()
    tasks(recording, 10, 200, "fetch", begin=0, length=500, gap=1)
    steps = [Step(START + 150 * MS, START + 600 * MS, 160, 0, RUN, "semaphore api")]
    data = shown(recording, steps)
    path, names = data["path"], data["lanes"]
    assert isinstance(path, dict) and isinstance(names, list) and isinstance(data["texts"], list)
    assert names[path["lane"][0]] == "fetch"
    assert (path["start"], path["length"]) == ([150_000], [450_000])
    assert data["texts"][path["what"][0]] == "semaphore api"


def test_a_step_of_somebody_without_a_lane_says_so() -> None:
    recording = looped()
    tasks(recording, 10, 1, "fetch", begin=0, length=5, gap=1)
    path = shown(recording, [Step(START, START + MS, 99, 0, RUN, "")])["path"]
    assert isinstance(path, dict) and path["lane"] == [-1]


def test_who_is_over_at_once_is_counted_only() -> None:
    recording = looped()
    tasks(recording, 10, 1, "fetch", begin=0, length=10_000, gap=1)
    tasks(recording, 20, 7, "tick", begin=1, length=0.1, gap=1)
    data = shown(recording)
    assert data["lanes"] == ["fetch"]
    assert data["notes"] == ["Left out, because over at once: 7."]


def test_the_threads_of_an_executor_are_shown_as_its_work() -> None:
    recording = Recording()
    recording(0, Code.THREAD, 3, arg=ActorKind.THREAD, block=1)
    recording.run(0, 10, ActorKind.WORK, block=1)
    recording(5, Code.SPAN_BEGIN, 50, arg=recording.name("crunch"), block=1)
    recording(5, Code.END, span=50, block=1)
    recording(6, Code.LABEL, block=1)
    assert shown(recording)["lanes"] == ["crunch"]


def test_time_begins_with_the_programs_own_work() -> None:
    recording = Recording()
    recording(0, Code.IMPORT, arg=recording.name("asyncio"))
    recording(30, Code.IMPORTED)
    recording(30, Code.HOST, more=LOOP)
    tasks(recording, 10, 1, "fetch", begin=30, length=10, gap=1)
    data = shown(recording)
    assert (data["begin"], data["end"]) == (-30_000, 10_000)
    pieces = data["pieces"]
    assert isinstance(pieces, dict) and pieces["start"][0] == -30_000


# ---- many actors in one lane ----


def test_bins_hold_the_time_of_all_pieces() -> None:
    """Against adding up nanosecond by nanosecond."""
    rng = random.Random(5)
    pieces = [piece(start, start + rng.randrange(1, 400)) for start in (rng.randrange(1000) for _ in range(50))]
    width = 1400 // BINS + 1
    slow = [0.0] * BINS
    for each in pieces:
        for ns in range(each.start, each.end):
            slow[ns // width] += 1
    assert _in_bins(pieces, 0, width) == slow


def test_a_summed_up_lane_says_what_most_do() -> None:
    waits = [Lane("fetch", 2, {i}, [piece(0, 3000, State.RESOURCE, "semaphore api")]) for i in range(9)]
    runs = [Lane("fetch", 2, {i}, [piece(1500, 6000)]) for i in range(10, 14)]
    lane = summed_up([*waits, *runs], "fetch")
    assert [(each.start, each.end, each.what) for each in lane.pieces] == [
        (0, 3000, "about 9 of 13 waiting for semaphore api"),
        (3000, 6000, "about 4 of 13 running"),
    ]
    assert lane.actors == {*range(9), *range(10, 14)} and lane.folded == 13


def test_too_many_names_become_others() -> None:
    groups = []
    for i in range(3 * LANES):
        groups.append(Group(f"name {i}", ActorKind.TASK))
        groups[-1].add(i, [piece(0, 1000 + i)])
    found = fold(groups)
    assert len(found) == LANES
    assert found[0].name == f"name {3 * LANES - 1}" and found[-1].name == "others"
    assert found[-1].folded == 2 * LANES + 1


# ---- as much as a page can hold ----


def test_short_neighbours_become_one_and_long_ones_stay() -> None:
    parts = [piece(0, 100), piece(100, 103), piece(103, 109, State.LAG), piece(109, 500), piece(500, 504)]
    assert joined(parts, 10) == [piece(0, 100), piece(100, 109, State.LAG), piece(109, 500), piece(500, 504)]


def test_joining_does_not_bridge_more_than_the_resolution() -> None:
    parts = [piece(i * 100, i * 100 + 3) for i in range(5)]
    assert joined(parts, 10) == parts


def test_a_page_gets_no_more_pieces_than_it_can_hold_and_says_what_it_lost() -> None:
    lanes = [Lane("task", 2, {i}, [piece(j * 10, j * 10 + 9) for j in range(4000)]) for i in range(6)]
    notes = coarsen(lanes, 40_000)
    assert PIECES / 4 < sum(len(lane.pieces) for lane in lanes) <= PIECES
    assert len(notes) == 1 and notes[0].startswith("Neighbours shorter than")
    assert {lane.pieces[-1].end for lane in lanes} == {39_999}
    assert coarsen(lanes, 40_000) == []


def test_the_critical_path_stays_without_gaps_when_it_is_made_coarser() -> None:
    steps = [Step(i * 10, i * 10 + 10, i % 7, 0, RUN, "") for i in range(5 * STEPS)]
    found, length = fewer(steps, STEPS, 50 * STEPS)
    assert length and len(found) <= STEPS
    assert [step.end for step in found[:-1]] == [step.start for step in found[1:]]
    assert (found[0].start, found[-1].end) == (0, 50 * STEPS)


def test_ten_thousand_tasks_at_once_are_no_problem_of_squares(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Each task asks a heap for a free lane, not all lanes."""
    asked = []
    real = lanes_module.heappush
    monkeypatch.setattr(lanes_module, "heappush", lambda heap, item: (asked.append(item), real(heap, item)))
    group = Group("fetch", ActorKind.TASK)
    for i in range(10_000):
        group.add(i, [piece(0, 1000 + i)])
    assert len(asked) == len(group.lanes) == 10_000
