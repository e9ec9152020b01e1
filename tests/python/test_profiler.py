"""libperf.Profiler: what it is told to enable it does, and says what it found."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.errors import ClosedError, StartedError, UnsupportedError

BOUND_S = 30


def hot(rounds: int = 3000) -> int:
    return sum(number * number for number in range(rounds))


@libperf.trace
def traced(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        hot()


async def program() -> None:
    await asyncio.sleep(0.01)
    traced(0.3)
    await asyncio.sleep(0.01)


def test_everything_of_the_issue() -> None:
    """CPU and schedulers: rows with place, score, times, then waits and what-if; the stall; the bottlenecks."""
    profiler = libperf.Profiler(enable_cpu=True, enable_async=True)
    profiler.start()
    asyncio.run(program())
    profiler.stop()
    found = profiler.hotspots()
    rows = {row.function: row for row in found.rows}
    assert sum(row.score for row in found.rows) == pytest.approx(100)
    assert rows["traced"].file == __file__ and rows["traced"].total >= rows["traced"].own
    assert rows["traced"].calls == 1 and rows["traced"].wait is not None
    assert found.samples > 0 and found.cpu > 0.02
    (stall,) = (stall for stall in found.stalls if stall.frame and stall.frame.function.startswith(("traced", "hot")))
    assert 0.3 <= stall.worst < 5
    assert any(bottleneck.name == "traced" for bottleneck in profiler.analyze().bottlenecks)
    text = profiler.get_report(top_n=3)
    assert "functions" in text and "score" in text and "cumulative" in text
    assert "event loop held up" in text and "test_profiler.py:" in text
    assert "bottlenecks" in text
    assert "functions more" in text or len(found.rows) <= 3


def test_cpu_alone() -> None:
    """Nothing is patched, so there is nothing to analyze; the report works."""
    with libperf.Profiler(enable_cpu=True, enable_async=False) as profiler:
        end = time.monotonic() + BOUND_S
        while not any(row.function.endswith("hot.<locals>.<genexpr>") for row in profiler.hotspots().rows):
            assert time.monotonic() < end
            for _ in range(200):
                hot()
    assert profiler.session == 0
    with pytest.raises(UnsupportedError, match="enable_async=True"):
        profiler.analyze()
    assert "genexpr" in profiler.get_report()


def test_the_default_is_what_it_was() -> None:
    """Scheduler events, no sampling."""
    with libperf.Profiler() as profiler:
        asyncio.run(program())
    assert profiler.session > 0
    assert profiler.analyze().wall > 0.3
    found = profiler.hotspots()
    assert found.samples == 0 and len(found.stalls) == 1


def test_only_its_own_time_counts() -> None:
    """What was sampled before start() and after stop() belongs to others."""
    with libperf.Profiler(enable_cpu=True) as first:
        traced(0.2)
    with libperf.Profiler(enable_cpu=True) as second:
        pass
    assert first.hotspots().samples > 0
    assert [row for row in second.hotspots().rows if row.function == "traced"] == []


def test_started_twice_and_stopped_elsewhere() -> None:
    """One at a time; a failed start leaves nothing on; any thread may stop it."""
    profiler = libperf.Profiler(enable_cpu=True)
    with profiler:
        with pytest.raises(StartedError, match="one at a time"):
            libperf.Profiler(enable_cpu=True).start()
        other = threading.Thread(target=profiler.stop)
        other.start()
        other.join()
        assert not profiler.running
        profiler.stop()
    from libperf.profiler import sampler

    sampler.start()
    try:
        with pytest.raises(StartedError, match="sampled already"):
            libperf.Profiler(enable_cpu=True).start()
    finally:
        sampler.stop()
    with libperf.Profiler(enable_cpu=True) as again:
        assert again.running


def test_wrong_uses() -> None:
    with pytest.raises(ValueError, match="everything disabled"):
        libperf.Profiler(enable_async=False)
    with pytest.raises(ClosedError, match="never started"):
        libperf.Profiler().get_report()
    with libperf.Profiler() as profiler:
        pass
    for wrong in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="top_n"):
            profiler.get_report(top_n=wrong)  # type: ignore[arg-type]


PROGRAM = """
import asyncio, time, libperf
def burn():
    end = time.monotonic() + 0.35
    while time.monotonic() < end: sum(range(500))
async def main():
    burn()
@libperf.profile
def helper(): pass
helper()
asyncio.run(main())
"""


def test_the_commands(run: Callable[..., Any], tmp_path: Path) -> None:
    """`libperf run --cpu` shows functions and stalls, `libperf report` of its trace says the same as data."""
    (tmp_path / "app.py").write_text(PROGRAM)
    command = "import sys, libperf.cli; sys.exit(libperf.cli.main(sys.argv[1:]))"
    ran = run(command, "run", "--cpu", "--trace", "t.perf", "--json", "out.json", "app.py")
    assert ran.returncode == 0, ran.stderr
    assert "app.py:" in ran.stderr and "burn" in ran.stderr and "event loop held up 1 time" in ran.stderr
    data = json.loads((tmp_path / "out.json").read_text())
    report = json.loads(run(command, "report", "--json", "t.perf").stdout)
    for found in (data, report):
        rows = {row["function"]: row for row in found["hotspots"]}
        assert rows["burn"]["self_s"] > 0.05 and rows["burn"]["file"].endswith("app.py")
        assert rows["helper"]["calls"] == 1
        ours = [row for row in found["hotspots"] if "/bindings/libperf/" in row["file"] and not row["self_s"]]
        assert ours == []  # of libperf's wrappers only what they cost themselves is said
        (stall,) = found["stalls"]
        assert stall["worst_s"] >= 0.3 and stall["function"] == "burn"
        assert found["cpu_samples"] > 0
    assert "burn" in run(command, "report", "t.perf").stdout
