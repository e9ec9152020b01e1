"""`libperf.diff()`: what it finds, what it does not call a change, what it refuses; in samples and in recordings."""

from __future__ import annotations

import math
import os
import pickle
import random
import threading
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf._core import ffi
from libperf.differences import Change
from libperf.differences.comparing import adjusted
from libperf.differences.sides import RECORD
from libperf.errors import CorruptError, InvalidError, NotFoundError
from libperf.testing import assert_no_regression
from support_diff import lognormal, recorded

Draw = Callable[[random.Random], float]
DRAWS: dict[str, Draw] = {
    "lognormal": lambda r: 0.01 * r.lognormvariate(0, 0.5),
    "bimodal": lambda r: 0.001 * r.lognormvariate(0, 0.2) if r.random() < 0.8 else 0.05 * r.lognormvariate(0, 0.3),
    "pareto": lambda r: 0.001 * r.paretovariate(1.5),
    "constant": lambda r: 0.01,
    "integers": lambda r: 0.001 * max(1, round(5 * r.lognormvariate(0, 0.3))),
}


def only(difference: libperf.Difference) -> Change:
    (change,) = difference.changes
    return change


# ---- what it finds, in samples with seeds (all of it: bench/regression.py) ----


@pytest.mark.parametrize("draw", DRAWS.values(), ids=list(DRAWS))
def test_few_false_alarms_and_20_percent_is_found(draw: Draw) -> None:
    """Of 60 pairs of samples from one distribution at most two differ; when one side takes 20 % more, at least 57 do."""
    alarms = found = 0
    for seed in range(60):
        r = random.Random(seed)
        first, second = [draw(r) for _ in range(1000)], [draw(r) for _ in range(1000)]
        slower = [1.2 * value for value in second]
        alarms += libperf.diff({"f": first}, {"f": second}).verdict == "regression"
        found += libperf.diff({"f": first}, {"f": slower}).verdict == "regression"
    assert alarms <= 2
    assert found >= 57


def test_a_slower_tail_is_found() -> None:
    """Three times as long in 5 % of the calls: the tail has it, of which the median shows nothing."""
    found = []
    for seed in range(40):
        r = random.Random(seed)
        first = [r.lognormvariate(0, 0.5) for _ in range(1000)]
        second = [r.lognormvariate(0, 0.5) * (3 if r.random() < 0.05 else 1) for _ in range(1000)]
        found.append(only(libperf.diff({"f": first}, {"f": second})))
    assert sum(change.verdict == "regression" for change in found) >= 28
    assert sum("tail" in [each.what for each in change.worse] for change in found) >= 26


def test_a_change_below_the_threshold_is_none() -> None:
    """3 % in 20,000 calls is sure, and does not count; with a threshold of 2 % it does."""
    sides = {"f": lognormal(1, 20_000)}, {"f": lognormal(2, 20_000, 1.03)}
    shift = only(libperf.diff(*sides)).comparison("shift")
    assert shift is not None
    assert shift.p_worse < 0.001
    assert 1.01 < shift.low <= shift.ratio <= shift.high < 1.05
    assert libperf.diff(*sides).verdict == "same"
    assert libperf.diff(*sides, threshold=0.02).verdict == "regression"


def test_swapped_sides_say_the_opposite() -> None:
    """What was slower is faster, with the same chances."""
    old, new = {"f": lognormal(1, 2000)}, {"f": lognormal(2, 2000, 1.2)}
    worse, better = only(libperf.diff(old, new)), only(libperf.diff(new, old))
    assert (worse.verdict, better.verdict) == ("regression", "improvement")
    for one, other in zip(worse.comparisons, better.comparisons, strict=True):
        assert one.what == other.what
        assert one.p_worse == pytest.approx(other.p_better)
        assert one.ratio * other.ratio == pytest.approx(1, abs=1e-6)


def test_many_names_share_one_chance() -> None:
    """Of 100 names without a change, none is one; each chance is at most 100 times what it is alone."""
    old = {f"f{i}": libperf.Histogram(lognormal(i, 1000)) for i in range(100)}
    new = {f"f{i}": libperf.Histogram(lognormal(1000 + i, 1000)) for i in range(100)}
    difference = libperf.diff(old, new)
    assert (difference.verdict, difference.compared) == ("same", 100)
    alone = only(libperf.diff(old, new, only="f7")).comparison("shift")
    among = next(change for change in difference.changes if change.name == "f7").comparison("shift")
    assert alone is not None and among is not None
    assert among.p_worse >= alone.p_worse
    assert adjusted([0.01, 0.04, math.nan, 0.03])[:2] == pytest.approx([0.03, 0.06])


def test_calls_that_hang_together_count_for_fewer() -> None:
    """A long slow phase in one run is no regression; the same durations in any order are one."""
    r = random.Random(3)
    phases = [r.lognormvariate(0, 0.5) * (1.3 if 300 <= i < 600 else 1) for i in range(1000)]
    steady = lognormal(4, 1000, 100)
    assert libperf.diff({"f": steady}, {"f": phases}).verdict == "same"
    change = only(libperf.diff({"f": steady}, {"f": phases}))
    assert change.inflation[0] < 2 < change.inflation[1]
    r.shuffle(phases)
    assert libperf.diff({"f": steady}, {"f": phases}).verdict == "regression"


# ---- several runs ----


def several(seed: int, count: int, spread: float, factor: float = 1.0) -> list[dict[str, list[float]]]:
    r = random.Random(seed)
    return [{"f": lognormal(r.randrange(10**6), 200, factor * r.lognormvariate(0, spread))} for _ in range(count)]


def test_runs_are_the_sample() -> None:
    """Runs that differ by 10 % by themselves raise no alarm, though 10,000 calls are sure; 50 % more is found."""
    alarms = sum(libperf.diff(several(i, 5, 0.1), several(100 + i, 5, 0.1)).verdict == "regression" for i in range(40))
    found = sum(
        libperf.diff(several(i, 5, 0.1), several(100 + i, 5, 0.1, 1.5)).verdict == "regression" for i in range(40)
    )
    assert alarms <= 2
    assert found >= 36


def test_one_call_a_run_is_enough() -> None:
    """An agent that is run eight times before and after: its one call in each run is what is compared."""
    old = [{"agent": [10 + i / 20]} for i in range(8)]
    new = [{"agent": [13 + i / 20]} for i in range(8)]
    change = only(libperf.diff(old, new))
    assert (change.verdict, change.old.runs, change.new.calls) == ("regression", 8, 8)
    assert change.comparison("tail") is None


@pytest.mark.parametrize(("old", "new"), [(1, 3), (3, 1), (2, 2), (2, 3)])
def test_too_few_runs(old: int, new: int) -> None:
    """Two runs do not show how much runs differ; the message says what to give."""
    with pytest.raises(
        InvalidError, match=f"old has {old} and new {new} runs: give one of each, or at least 3 of each"
    ):
        libperf.diff(several(1, old, 0.1), several(2, new, 0.1))


def test_a_name_that_not_every_run_has() -> None:
    """It needs three runs on each side, and says how many are missing."""
    old, new = [{"f": [1.0], "g": [1.0]} for _ in range(4)], [{"f": [1.0]} for _ in range(4)]
    new[0]["g"] = [1.0]
    by_name = {change.name: change for change in libperf.diff(old, new).changes}
    assert (by_name["g"].verdict, by_name["g"].needs) == ("undecided", (0, 2))
    assert by_name["f"].verdict == "same"


# ---- too little, odd values ----


def test_too_few_calls() -> None:
    """They are not compared; how many more are needed is said."""
    difference = libperf.diff({"f": lognormal(1, 300)}, {"f": lognormal(2, 1500, 5)})
    assert (difference.verdict, only(difference).needs) == ("undecided", (700, 0))
    assert libperf.diff({"f": lognormal(1, 300)}, {"f": lognormal(2, 1500, 5)}, min_calls=300).verdict == "regression"


def test_names_of_one_side() -> None:
    """What is new and what is gone are listed, and are no regressions; a side may be empty."""
    difference = libperf.diff({"f": [1.0], "g": []}, {"h": [1.0] * 3})
    assert [(change.name, change.verdict) for change in difference.changes] == [("h", "new"), ("f", "gone")]
    assert libperf.diff({}, {}).verdict == "undecided"
    assert "nothing was recorded on either side" in str(libperf.diff({}, {}))


@pytest.mark.parametrize("value", [0.0, 1e-9, 2**63 / 1e9, 1e30, math.inf], ids=str)
def test_values_at_the_ends(value: float) -> None:
    """No time at all, and the longest that there is: equal ones are equal, a millisecond is another matter."""
    assert libperf.diff({"f": [value] * 1000}, {"f": [value] * 1000}).verdict == "same"
    worse = libperf.diff({"f": [0.001] * 1000}, {"f": [value] * 1000}).verdict
    assert worse == ("regression" if value > 0.001 else "improvement")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"alpha": 0}, "alpha=0 is not a chance"),
        ({"alpha": 0.5}, "alpha=0.5 is not"),
        ({"alpha": "x"}, "alpha='x'"),
        ({"threshold": -0.1}, "threshold=-0.1 is not a share"),
        ({"threshold": math.nan}, "threshold=nan"),
        ({"min_calls": 19}, "min_calls=19: at least 20"),
        ({"only": "nosuch"}, "only='nosuch': neither side has an operation of that name; there is: f"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(settings: dict[str, Any], words: str) -> None:
    """The message names the setting, its value, and what would do."""
    with pytest.raises(InvalidError, match=words):
        libperf.diff({"f": [1.0]}, {"f": [1.0]}, **settings)


@pytest.mark.parametrize(
    ("side", "words"),
    [
        ([], "nothing to compare"),
        (3.5, "3.5 is nothing to compare"),
        (None, "None is nothing to compare"),
        (True, "True is nothing to compare"),
        ({"f": [1.0, -1.0]}, "a duration=-1.0 is not a number of seconds"),
        ({"f": ["x"]}, "'x'"),
        ({"f": 3}, "not iterable"),
        ({5: [1.0]}, "the name 5 is no text"),
    ],
    ids=str,
)
def test_sides_that_make_no_sense(side: Any, words: str) -> None:
    """The message names the side and the value."""
    with pytest.raises(InvalidError, match=words):
        libperf.diff({"f": [1.0]}, side)
    with pytest.raises(InvalidError, match="old"):
        libperf.diff(side, {"f": [1.0]})


# ---- recordings ----


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("traces")
    return {
        "old": recorded(folder, "old.perf", seed=1),
        "same": recorded(folder, "same.perf", seed=2),
        "new": recorded(folder, "new.perf", seed=3, factor=1.3),
    }


def test_recordings(traces: dict[str, Path]) -> None:
    """Spans, errors, a cache, quantities, timings; what is on one side only."""
    difference = libperf.diff(traces["old"], traces["new"])
    found = {(change.kind, change.name): change for change in difference.changes}
    plan, search, cache = found["llm", "plan"], found["tool", "search"], found["cache", "users memory"]
    assert [each.what for each in plan.worse] == ["shift", "tail"]
    shift = plan.comparison("shift")
    assert shift is not None and shift.low < 1.3 < shift.high
    assert plan.quantities == {"tokens": (100.0, 130.0)}
    assert [each.what for each in search.worse] == ["errors"]
    assert [each.what for each in cache.worse] == ["misses"]
    assert found["timing", "waited"].needs == (999, 999)
    assert (found["span", "new way"].verdict, found["span", "old way"].verdict) == ("new", "gone")
    assert libperf.diff(traces["old"], traces["same"]).verdict == "same"
    text = str(difference)
    assert "slower, slower tail" in text and "more errors" in text and "more misses" in text
    assert "tokens: 100 → 130 a call (+30 %; not tested: one run a side)" in text


def test_records_tell_how_calls_hang_together(traces: dict[str, Path]) -> None:
    """Independent calls, in virtual time: there are records of all of them, and nothing to correct."""
    plan = next(change for change in libperf.diff(traces["old"], traces["same"]).changes if change.name == "plan")
    assert max(plan.inflation) < 2.5
    assert RECORD.size == ffi.sizeof("perf_record")


def test_several_recordings(tmp_path: Path) -> None:
    """A folder is several runs; quantities are tested, too."""
    for side, factor in (("old", 1.0), ("new", 1.3)):
        (tmp_path / side).mkdir()
        for run in range(3):
            recorded(tmp_path / side, f"{run}.perf", seed=run + 10 * int(factor * 10), factor=factor, calls=120)
    difference = libperf.diff(tmp_path / "old", tmp_path / "new")
    plan = next(change for change in difference.changes if change.name == "plan")
    assert difference.by_runs and len(difference.old) == 3
    tokens = plan.comparison("tokens")
    assert tokens is not None and (tokens.verdict, round(tokens.ratio, 3)) == ("worse", 1.3)
    assert plan.comparison("tail") is not None
    assert difference.verdict == "regression"
    assert "more tokens" in str(difference)


def test_allocations_count_where_both_sides_counted_them(tmp_path: Path, traces: dict[str, Path]) -> None:
    """A run that did not count seems to allocate nothing; that is said, and no difference of the program."""
    counted = [recorded(tmp_path, f"{seed}.perf", seed=seed, LIBPERF_MEMORY="1") for seed in (1, 2)]
    both = libperf.diff(*counted)
    assert all(
        {"alloc.bytes", "alloc.blocks"} <= change.quantities.keys() for change in both.changes if change.kind == "llm"
    )
    assert not any("allocations" in note for note in both.notes)
    for old, new in ((counted[0], traces["same"]), (traces["old"], counted[1])):
        one = libperf.diff(old, new)
        assert not any("alloc.bytes" in change.quantities for change in one.changes)
        assert one.notes[0].startswith("allocations were counted only in ") and one.verdict == "same"


def test_notes(traces: dict[str, Path]) -> None:
    """The same file twice, and sides that look swapped, are said; and that one run cannot tell how runs differ."""
    assert "both sides are the same recording" in libperf.diff(traces["old"], traces["old"]).notes
    assert any("are they swapped?" in note for note in libperf.diff(traces["new"], traces["old"]).notes)
    assert any("one run a side" in note for note in libperf.diff(traces["old"], traces["new"]).notes)
    assert libperf.diff(traces["old"], traces["old"]).verdict == "same"


def test_this_process_and_readers(name: str) -> None:
    """A Reader of this process is a side; what it has read already does not matter, and it keeps its records."""
    for _ in range(30):
        with libperf.span(name):
            pass
    with libperf.Reader() as reader:
        difference = libperf.diff(reader, reader, only=name, min_calls=20)
        assert only(difference).old.calls == only(difference).new.calls == 30
        assert len([record for record in reader.records() if record.name == name]) == 30
    assert only(libperf.diff(os.getpid(), os.getpid(), only=f"span:{name}", min_calls=20)).verdict == "same"


def test_hostile_files(traces: dict[str, Path], tmp_path: Path) -> None:
    """A file cut short anywhere, with bytes changed, empty, JSON, missing: an error of libperf, or a result."""
    whole = traces["old"].read_bytes()
    r = random.Random(1)
    for part in (0, 10, 4096, len(whole) // 2, len(whole) - 1):
        hostile = bytearray(whole[:part])
        for _ in range(0 if part % 2 else 50):
            if hostile:
                hostile[r.randrange(len(hostile))] = r.randrange(256)
        (tmp_path / "x.perf").write_bytes(hostile)
        try:
            libperf.diff(traces["old"], tmp_path / "x.perf").to_dict()
        except libperf.PerfError as error:
            assert "x.perf" in str(error)
    (tmp_path / "report.json").write_text('{"schema": 1}')
    with pytest.raises(InvalidError, match="is JSON, which has percentiles but no distributions: keep the traces"):
        libperf.diff(tmp_path / "report.json", traces["old"])
    (tmp_path / "text.perf").write_text("hello")
    with pytest.raises(CorruptError):
        libperf.diff(tmp_path / "text.perf", traces["old"])
    with pytest.raises(NotFoundError):
        libperf.diff(traces["old"], tmp_path / "missing.perf")
    with pytest.raises(NotFoundError):
        libperf.diff(traces["old"], 2**22 + 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match=r"no \*.perf in the folder"):
        libperf.diff(tmp_path / "empty", traces["old"])


def test_a_kind_is_part_of_the_name(name: str) -> None:
    """A span and a model of one name are two operations; "kind:name" says which."""
    for kind in ("span", "llm"):
        with libperf.span(name, kind=kind):
            pass
    with libperf.Reader() as reader:
        assert len(libperf.diff(reader, reader, only=name).changes) == 2
        assert only(libperf.diff(reader, reader, only=[f"llm:{name}"])).kind == "llm"


def test_threads(traces: dict[str, Path]) -> None:
    """Comparisons in several threads at a time give the same."""
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(libperf.diff(traces["old"], traces["new"]).to_dict()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(each == found[0] for each in found)


def test_a_difference_can_be_passed_on(traces: dict[str, Path]) -> None:
    """It holds no file, and survives pickling."""
    difference = libperf.diff(traces["old"], traces["new"])
    assert pickle.loads(pickle.dumps(difference)) == difference


# ---- for tests ----


def test_assert_no_regression() -> None:
    """Passes and gives the difference; fails with the table; nothing compared is a failure unless it may be."""
    old, new = {"f": lognormal(1, 1000)}, {"f": lognormal(2, 1000)}
    assert assert_no_regression(old, new).verdict == "same"
    with pytest.raises(AssertionError, match=r"worse than before: f\n(.|\n)*slower"):
        assert_no_regression(old, {"f": lognormal(3, 1000, 1.3)})
    with pytest.raises(AssertionError, match="nothing could be compared"):
        assert_no_regression({"f": [1.0]}, {"f": [1.0]})
    assert assert_no_regression({"f": [1.0]}, {"f": [1.0]}, allow_undecided=True).verdict == "undecided"


def test_histograms_are_not_used_up() -> None:
    """A Histogram that was given stays as it is."""
    histogram = libperf.Histogram()
    histogram.record_many_ns(array("Q", range(1000, 3000)))
    libperf.diff({"f": histogram}, {"f": histogram})
    assert histogram.count == 2000
