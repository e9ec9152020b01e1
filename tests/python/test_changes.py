"""What-ifs of everything that has a name, in virtual time, where gains are what arithmetic says."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.analysis.changes import Prediction
from libperf.errors import PerfError
from libperf.reader import Reader
from support_analysis import analysed, call, chain, hand_over, one_slot_in_half_a_second, one_worker, saturated


async def in_threads() -> None:
    """An executor with a name, and one without work to share."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2, thread_name_prefix="readers") as pool:
        await asyncio.gather(*[asyncio.get_running_loop().run_in_executor(pool, int) for _ in range(4)])


async def namesakes() -> None:
    """A node, its model and a semaphore of one name; the colon of another name is its own."""
    plan = libperf.Semaphore(1, name="plan")

    async def guarded() -> None:
        async with plan:
            await call("db: query", 1)

    with libperf.span("plan", kind="node"):
        await asyncio.sleep(1)
        await call("plan", 2, "llm")
    await asyncio.gather(guarded(), guarded())


async def one_after_the_other() -> None:
    """Four calls from one place, 1 s each, and one from another."""
    for _ in range(4):
        await call("page", 1)
    await call("summary", 1)


async def again() -> None:
    """Four calls of 1 s: two that are the same, one that is not, and one more of the first."""

    @libperf.trace
    async def look(what: str) -> None:
        await asyncio.sleep(1)

    for what in ("a", "a", "b", "a"):
        await look(what)


class Service:
    @libperf.trace
    async def fetch(self) -> None:
        await asyncio.sleep(1)


# ---- what-ifs ----


@pytest.mark.parametrize(
    ("program", "changes", "gain"),
    [
        (chain, {}, 0),
        (chain, {"B": 0.5}, 1.5 / 5),
        (chain, {"llm:B": 0.5}, 1.5 / 5),
        (chain, {"B": 0}, 3 / 5),
        (chain, {"B": 1}, 0),
        (chain, {"B": 2}, -3 / 5),
        (chain, {"A": 0.5, "tool:C": 0.25, "B": 0.1}, (0.5 + 0.75 + 2.7) / 5),
        (chain, {"span:A": 0.5}, 0.5 / 5),
        (chain, {"function:A": 0.5}, 0.5 / 5),
        (Service().fetch, {"fetch": 0.5}, 0.5),
        (saturated, {"db": {"capacity": 2}}, 5 / 10),
        (saturated, {"semaphore:db": {"capacity": 2}}, 5 / 10),
        (saturated, {"semaphore:db": {"capacity": 5}}, 8 / 10),
        (saturated, {"semaphore:db": {"capacity": 3.0}}, 6 / 10),
        (saturated, {"semaphore:db": {"capacity": 10**9}}, 9 / 10),
        (saturated, {"semaphore:db": {"capacity": 1}}, 0),
        (saturated, {"semaphore:db": {"capacity": 2}, "query": 0.5}, 7.5 / 10),
        (hand_over, {"journal": {"hold": 0.5}}, 2 / 4),
        (hand_over, {"lock:journal": {"hold": 0.5}}, 2 / 4),
        (one_worker, {"queue:jobs": {"workers": 2}}, 2 / 4),
        (one_slot_in_half_a_second, {"rate limit in gate": 0.5}, 1.245 / 2.7),
        (one_slot_in_half_a_second, {"gate": 0.5}, 0),
        (one_slot_in_half_a_second, {"fetch": 0.5}, 0.1 / 2.7),
        (one_after_the_other, {"page": {"side_by_side": True}}, 3 / 5),
        (one_after_the_other, {"page": {"side_by_side": True}, "summary": 0}, 4 / 5),
        (again, {"look": {"cached": True}}, 2 / 4),
        (again, {"span:look": {"cached": True}}, 2 / 4),
        (again, {"look": {"cached": True}, "function:look": 0.5}, 3 / 4),
        (in_threads, {"executor:readers": {"capacity": 4}}, 0),
        (namesakes, {"plan": 0.5}, 1.5 / 5),
        (namesakes, {"llm:plan": 0.5}, 1.5 / 5),
        (namesakes, {"node:plan": 0.5}, 1.5 / 5),
        (namesakes, {"plan": {"capacity": 2}}, 1 / 5),
        (namesakes, {"db: query": 0.5}, 1 / 5),
        (namesakes, {"span:db: query": 0.5}, 1 / 5),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_what_if(program: Any, changes: dict[str, Any], gain: float) -> None:
    """Everything that has a name can be changed, by that or with its kind, alone or together with others."""
    found = analysed(program).what_if(changes)
    assert found == pytest.approx(gain, abs=2e-6)  # an answer out of a cache takes a microsecond
    assert found.reliable


def test_a_prediction_is_a_number_with_its_terms() -> None:
    """It can be compared and formatted; `before` and `after` are seconds."""
    found = analysed(chain).what_if({"B": 0.5})
    assert isinstance(found, Prediction) and 0.2 < found < 0.4
    assert (f"{found:.0%}", found.before, found.after) == ("30%", 5.0, 3.5)
    assert found == (found.before - found.after) / found.before


@pytest.mark.parametrize(
    ("program", "name", "value", "error", "said"),
    [
        (chain, "D", 0.5, KeyError, r"'D'; there are: span:A, llm:B, tool:C"),
        (chain, "node:B", 0.5, KeyError, r"nothing was recorded under 'node:B'"),
        (chain, "", 0.5, KeyError, "under ''"),
        (chain, "none", 0.5, KeyError, "under 'none'"),
        (chain, "B", -0.5, ValueError, r"'B': -0.5 is no factor; 0.5 means half the time"),
        (chain, "B", float("nan"), ValueError, "nan is no factor"),
        (chain, "B", 1001, ValueError, "1001 is no factor.* 1000 is the most"),
        (chain, "B", "fast", ValueError, "'fast' is no factor"),
        (chain, "B", True, ValueError, "True is no factor"),
        (chain, "B", {"capacity": 2}, ValueError, "'B': {'capacity': 2} is no factor"),
        (saturated, "db", 2, ValueError, r"'db': 2 is no change of a semaphore; use {'capacity': …}"),
        (saturated, "db", {"workers": 2}, ValueError, "use {'capacity': …}"),
        (saturated, "db", {"capacity": 2, "to": 3}, ValueError, "use {'capacity': …}"),
        (saturated, "db", {"capacity": True}, ValueError, "use {'capacity': …}"),
        (saturated, "db", {"capacity": "2"}, ValueError, "use {'capacity': …}"),
        (saturated, "db", {"capacity": 0}, ValueError, "a capacity is a whole number, 1 or more, not 0"),
        (saturated, "db", {"capacity": 1.5}, ValueError, "not 1.5"),
        (saturated, "db", {"capacity": float("inf")}, ValueError, "not inf"),
        (hand_over, "journal", {"capacity": 2}, ValueError, r"no change of a lock; use {'hold': …}"),
        (hand_over, "journal", {"hold": 0.1}, ValueError, r"only {'hold': 0.5} can be replayed, not 0.1"),
        (one_worker, "jobs", {"workers": 3}, ValueError, "only twice the 1 workers can be replayed, not 3"),
        (one_worker, "jobs", {"capacity": 2}, ValueError, r"no change of a queue; use {'workers': …}"),
        (again, "look", {"cached": False}, ValueError, "'look': {'cached': False} is no factor"),
        (chain, "B", {"cached": True}, ValueError, "'B': nothing is known of its arguments"),
        (one_slot_in_half_a_second, "rate limit in fetch", 0.5, KeyError, "rate limit in fetch"),
        (one_slot_in_half_a_second, "rate limit in gate", -1, ValueError, "-1 is no factor"),
    ],
)
def test_what_cannot_be_changed_is_said(program: Any, name: str, value: Any, error: type[Exception], said: str) -> None:
    """With the name, the value, and what would be right."""
    with pytest.raises(error, match=said):
        analysed(program).what_if({name: value})


def test_a_signal_has_no_capacity() -> None:
    """A semaphore that is made with 0 is waited for, and is no bottleneck; twice nothing is nothing."""

    async def program() -> None:
        signal = libperf.Semaphore(0, name="signal")
        task = asyncio.create_task(call("prepare", 1))
        task.add_done_callback(lambda _: signal.release())
        await signal.acquire()

    analysis = analysed(program)
    assert [each.name for each in analysis.bottlenecks] == ["prepare"]
    with pytest.raises(ValueError, match="'signal': it was made with capacity 0"):
        analysis.what_if({"signal": {"capacity": 2}})


def test_a_queue_without_workers_of_its_own() -> None:
    """Where the main program takes from the queue there is no worker to add."""

    async def program() -> None:
        jobs: libperf.Queue[int] = libperf.Queue(name="jobs")
        jobs.put_nowait(1)
        await call("job", await jobs.get())
        await call("rest", 1)

    with pytest.raises(ValueError, match="no workers to add"):
        analysed(program).what_if({"jobs": {"workers": 2}})


def test_imports_are_named_with_their_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a call imports costs it time, which is the module's: "import:NAME", never a span of that name."""
    (tmp_path / "heavy_to_load.py").write_text("import time\ntime.sleep(0.05)\n")
    monkeypatch.syspath_prepend(str(tmp_path))  # type: ignore[no-untyped-call]
    monkeypatch.delitem(sys.modules, "heavy_to_load", raising=False)
    with libperf.Profiler() as profiler, libperf.span("first request"):
        time.sleep(0.001)
        __import__("heavy_to_load")
    analysis = profiler.analyze()
    assert analysis.what_if({"import:heavy_to_load": 0}).after < analysis.wall - 0.04
    with pytest.raises(KeyError, match="import:heavy_to_load"):
        analysis.what_if({"heavy_to_load": 0})


def test_what_if_of_a_trace(run: Callable[..., Any], segments: Callable[[], list[Path]]) -> None:
    """libperf.what_if() takes a file, a Reader, or an Analysis, which stays open."""
    program = "import time, libperf\nfor name in 'AB':\n    with libperf.span(name): time.sleep(0.01)\n"
    assert run(program, LIBPERF_PROFILE="1").returncode == 0
    (trace,) = segments()
    wanted = {"A": 0, "B": 0}
    gains = [libperf.what_if(trace, wanted), libperf.what_if(str(trace), wanted)]
    with Reader(trace) as reader:
        gains.append(libperf.what_if(reader, wanted))
    with libperf.Analysis(trace) as analysis:
        gains.append(libperf.what_if(analysis, wanted))
        assert not analysis.closed
    assert min(gains) == max(gains) > 0.5
    with pytest.raises(PerfError, match=r"what_if\(3\): expected a trace file, a Reader or an Analysis"):
        libperf.what_if(3, {})  # type: ignore[arg-type]
