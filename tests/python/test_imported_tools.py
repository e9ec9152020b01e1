"""py-spy and memray themselves watch a program that libperf records; what is joined is what the recording knows as well."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pytest

import libperf
from libperf.errors import InvalidError
from libperf.exports.trace import Trace
from libperf.imported import NO_SPAN, Joined, join
from libperf.reader import Reader
from support_cli import Runner

PYSPY = shutil.which("py-spy", path=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ.get('PATH', '')}")
FORMATS = ("chrometrace", "speedscope", "raw")
# Each function works for a while by the clock; plan and answer are spans of functions, format is one by hand.
PROGRAM = """\
import asyncio, threading, time
import libperf

def spin(s):
    end = time.monotonic() + s
    while time.monotonic() < end: sum(range(100))
@libperf.trace
def plan(): spin(0.4)
@libperf.trace
def answer():
    spin(0.3)
    with libperf.span("format"): spin(0.3)
@libperf.trace
def helper(): spin(0.4)
@libperf.trace
async def fetch():
    for _ in range(4): spin(0.08); await asyncio.sleep(0.01)
@libperf.trace
async def parse():
    for _ in range(4): spin(0.05); await asyncio.sleep(0.01)
async def main(): await asyncio.gather(fetch(), parse())
plan()
thread = threading.Thread(target=helper); thread.start(); thread.join()
answer()
asyncio.run(main())
"""
SPUN = {"plan": 0.4, "answer": 0.3, "format": 0.3, "helper": 0.4, "fetch": 0.32, "parse": 0.2}  # seconds, at least
ALLOCATING = """\
import threading, time
import libperf

kept = []
def grab(mib):
    for _ in range(10): kept.append(bytearray(mib << 20)); time.sleep(0.01)
@libperf.trace
def plan(): grab(3)
@libperf.trace
def helper(): grab(1)
@libperf.trace
def answer():
    grab(2)
    with libperf.span("format"):
        time.sleep(0.1); grab(1); time.sleep(0.1)
plan(); time.sleep(0.05)
thread = threading.Thread(target=helper); thread.start(); thread.join(); time.sleep(0.05)
answer()
"""


class Watched(NamedTuple):
    folder: Path
    trace: Path
    samples: Path


def segment(runner: Runner) -> Path:
    (found,) = runner.segments.glob("*/*.perf")
    return found


@pytest.fixture(scope="module", params=FORMATS)
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A program that py-spy has started and watched, in one of its formats."""
    if PYSPY is None:
        pytest.skip("py-spy is not installed: pip install py-spy")
    runner = Runner(tmp_path_factory.mktemp(request.param))
    runner.write("app.py", PROGRAM)
    words = [PYSPY, "record", "--rate", "100", "--threads", "--idle", "--format", request.param, "--output", "out"]
    done = subprocess.run(
        [*words, "--", sys.executable, "app.py"],
        cwd=runner.folder,
        env=runner.environment,
        capture_output=True,
        text=True,
    )
    if not (runner.folder / "out").exists():
        pytest.skip(f"py-spy may not look into a process of its own here: {done.stderr.strip()[-300:]}")
    return Watched(runner.folder, segment(runner), runner.folder / "out")


def own_seconds(path: Path) -> dict[str, float]:
    """What the recording says of each operation, without the spans inside: of tasks, which wait for each other, nothing."""
    from libperf.exports.paths import own_times

    with Reader(path) as reader:
        trace = Trace.read(reader)
    found: dict[str, float] = {}
    for row, own in enumerate(own_times(trace.spans)):
        label = trace.label(trace.spans.name[row])
        found[label] = found.get(label, 0) + own / 1e9
    return {label: time for label, time in found.items() if label not in ("fetch", "parse")}


def seconds_of(found: Joined) -> dict[str, float]:
    return {each.name: each.weight for each in found.operations}


def test_pyspy_agrees_with_the_recording(watched: Watched) -> None:
    """With times each operation has the time that its spans took; without, the stacks in its function. spin() has nearly
    all of it."""
    found = join(watched.trace, watched.samples)
    assert (found.tool, found.format) == ("py-spy", watched.folder.name.rstrip("0123456789"))
    by = seconds_of(found)
    if found.joined_by == "time":
        assert found.clock is not None and found.clock.agreement is not None and found.clock.agreement > 0.8
        for name, truth in own_seconds(watched.trace).items():
            assert by[name] == pytest.approx(truth, abs=0.06), name
        assert by["fetch"] > by["parse"] > 0.1
        expected = set(SPUN)
    else:
        assert "format" not in by  # it is no function: its stacks end in answer's
        expected = set(SPUN) - {"format"}
    lines = {each.name: each.lines[0].frame for each in found.operations if each.name in expected}
    assert set(lines) == expected
    assert {frame.function for name, frame in lines.items() if name not in ("fetch", "parse")} == {"spin"}
    assert {Path(frame.file).name for frame in lines.values()} == {"app.py"}


def test_pyspy_on_the_command_line(watched: Watched) -> None:
    """`libperf report --samples` ends with the table, and with --json it has the same as data."""
    words = [sys.executable, "-m", "libperf", "report", str(watched.trace), "--samples", str(watched.samples)]
    text = subprocess.check_output(words, text=True)
    assert re.search(r"^operation +lines +(time|samples) +share *$", text, re.MULTILINE)
    assert re.search(r"app.py:\d spin", text)
    data = json.loads(subprocess.check_output([*words, "--json"], text=True))
    assert data["samples"]["tool"] == "py-spy"
    assert (
        data["samples"]["operations"]
        == json.loads(json.dumps(join(watched.trace, watched.samples).to_dict()))["operations"]
    )


def test_a_copy_of_pyspys_file(watched: Watched, tmp_path: Path) -> None:
    """A copy has another time; its functions place it where it was, within what is told."""
    found = join(watched.trace, watched.samples)
    copy = tmp_path / "copy"
    copy.write_bytes(watched.samples.read_bytes())
    os.utime(copy, (10**9, 10**9))
    again = join(watched.trace, copy)
    if found.clock is None or again.clock is None:
        assert seconds_of(again) == seconds_of(found)
        return
    assert again.clock.how == "from functions that spans are named after"
    assert abs(again.clock.zero - found.clock.zero) <= max(30e6, again.clock.spread)
    for name in ("plan", "answer", "format", "helper"):
        assert seconds_of(again)[name] == pytest.approx(seconds_of(found)[name], abs=0.06)


def test_pyspy_and_libperf_run(tmp_path: Path) -> None:
    """Under `libperf run` scheduler events say whose turn it was: two tasks whose code has one name are told apart."""
    if PYSPY is None:
        pytest.skip("py-spy is not installed: pip install py-spy")
    program = """\
import asyncio, json, time
import libperf
took = {"one": 0, "two": 0}
async def work(name, s):
    with libperf.span(name):
        for _ in range(5):
            start = time.monotonic()
            while time.monotonic() < start + s: sum(range(100))
            took[name] += time.monotonic() - start
            await asyncio.sleep(0)
@libperf.trace
async def main(): await asyncio.gather(work("one", 0.09), work("two", 0.03))
@libperf.trace
def prepare():
    end = time.monotonic() + 0.2
    while time.monotonic() < end: sum(range(100))
prepare()
asyncio.run(main())
prepare()
json.dump(took, open("took", "w"))
"""
    runner = Runner(tmp_path)
    runner.write("app.py", program)
    words = [
        PYSPY,
        "record",
        "--rate",
        "200",
        "--subprocesses",
        "--threads",
        "--idle",
        "--format",
        "chrometrace",
        "-o",
        "out",
    ]
    command = [*words, "--", sys.executable, "-m", "libperf", "run", "--trace", "x.perf", "app.py"]
    done = subprocess.run(command, cwd=tmp_path, env=runner.environment, capture_output=True, text=True, timeout=60)
    if not (tmp_path / "out").exists():
        pytest.skip(f"py-spy may not look into a process of its own here: {done.stderr.strip()[-300:]}")
    by = seconds_of(join(tmp_path / "x.perf", tmp_path / "out"))
    took = json.loads((tmp_path / "took").read_text())
    assert {name: by[name] for name in took} == pytest.approx(took, abs=0.06)


def test_memray_agrees_with_the_program(tmp_path: Path) -> None:
    """Bytes of each operation as the program has asked for them, by line; its clock is the recording's. A thread that
    memray has numbered by itself is found by its functions. Another run is refused."""
    if importlib.util.find_spec("memray") is None:
        pytest.skip("memray is not installed: pip install memray")
    runner = Runner(tmp_path)
    runner.write("app.py", ALLOCATING)
    for name in ("one", "two"):
        status, _, err = runner.plain("-m", "memray", "run", "-q", "-o", f"{name}.bin", "app.py")
        assert status == 0, err
    first, second = sorted(runner.segments.glob("*/*.perf"), key=lambda path: path.stat().st_mtime_ns)
    found = join(first, tmp_path / "one.bin")
    assert (found.tool, found.unit, found.joined_by) == ("memray", "bytes", "time")
    assert found.clock is not None and found.clock.how == "memray wrote when it began"
    mib = {
        each.name: sum(line.weight for line in each.lines if line.frame.function == "grab") / (1 << 20)
        for each in found.operations
        if each.name != NO_SPAN
    }
    assert mib["plan"] == pytest.approx(30, abs=0.5)
    assert mib["helper"] == pytest.approx(10, abs=0.5)
    assert mib["answer"] + mib["format"] == pytest.approx(30, abs=0.5)
    assert mib["answer"] == pytest.approx(20, abs=4) and mib["format"] == pytest.approx(10, abs=4)
    with pytest.raises(InvalidError, match=r"it is of process \d+, and the recording of process \d+"):
        join(second, tmp_path / "one.bin")
    libperf.imported.join(second, tmp_path / "two.bin")


def test_an_aggregated_capture_has_no_times(tmp_path: Path) -> None:
    """The message says how to record."""
    if importlib.util.find_spec("memray") is None:
        pytest.skip("memray is not installed: pip install memray")
    runner = Runner(tmp_path)
    runner.write("app.py", ALLOCATING)
    status, _, err = runner.plain("-m", "memray", "run", "-q", "--aggregate", "-o", "x.bin", "app.py")
    assert status == 0, err
    with pytest.raises(InvalidError, match=r"added it up \(--aggregate\)"):
        join(segment(runner), tmp_path / "x.bin")
