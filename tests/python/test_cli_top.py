"""`libperf top` as text and JSON: what it says, what it refuses, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libperf.live.table import NOBODY
from libperf.testing import MockLLM
from support_cli import Runner

ROOT = Path(__file__).parents[2]
DOCUMENT, EXAMPLE = ROOT / "docs/top.md", ROOT / "examples/agent_service.py"
BLOCK = """\
import sys
import libperf
libperf.configure(service=sys.argv[1])
@libperf.trace("work")
def work(): pass
for _ in range(3): work()
with libperf.span("waiting", step=7, ratio=float("inf")):
    print("ready", flush=True)
    for line in sys.stdin:
        for _ in range(int(line)): work()
        print("done", flush=True)
"""


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


@pytest.fixture
def living(runner: Runner) -> Iterator[subprocess.Popen[str]]:
    """A process with three calls behind it, blocked inside a span until its input ends."""
    with runner.start("-c", BLOCK, "the agent") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def top(runner: Runner, *words: str | Path, **settings: Any) -> tuple[int, str, str]:
    return runner.plain("-m", "libperf", "top", *words, **settings)


def test_nobody_runs(runner: Runner) -> None:
    """It says so and how to start; as JSON there is nobody."""
    status, out, err = top(runner, "--once", "--interval", "0.05")
    assert (status, err) == (0, "")
    assert NOBODY in out.splitlines()
    status, out, _ = top(runner, "--json", "-n", "1", "--interval", "0.05")
    assert (status, json.loads(out)["processes"]) == (0, [])


def test_a_snapshot(runner: Runner, living: subprocess.Popen[str]) -> None:
    """Text without colours: the process, what goes on in it; of one process everything."""
    status, out, err = top(runner, "--once", "--interval", "0.05")
    assert (status, err, "\x1b" in out) == (0, "", False)
    assert all(text in out for text in ("1 running", "the agent", "open now", "function waiting  step=7"))
    status, out, err = top(runner, "--once", "--interval", "0.05", str(living.pid))
    assert (status, err) == (0, "")
    for text in ("operation", "work", "waiting", "step=7", "open now, 1", "memory"):
        assert text in out


def test_json_is_an_object_a_look(runner: Runner, living: subprocess.Popen[str]) -> None:
    """So many lines; intervals and windows are what they were; counts of the window and of all time."""
    with runner.start("-m", "libperf", "top", "--json", "-n", "3", "--interval", "0.2", "--window", "1") as process:
        assert process.stdout is not None and living.stdin is not None and living.stdout is not None
        first = json.loads(process.stdout.readline())
        living.stdin.write("10\n")
        living.stdin.flush()
        assert living.stdout.readline() == "done\n"
        rest = [json.loads(line) for line in process.stdout]
        assert process.wait(60) == 0
    assert len(rest) == 2
    for look in (first, *rest):
        assert (look["schema"], look["more"], look["skipped"]) == (1, 0, [])
        assert look["interval_s"] > 0.1
        (seen,) = look["processes"]
        assert (seen["pid"], seen["service"], seen["state"]) == (living.pid, "the agent", "running")
        assert seen["age_s"] > 0 and 0 < seen["window_s"] <= max(1.2, look["interval_s"] * 3)
        (span,) = seen["open"]
        assert (span["name"], span["attributes"]) == ("waiting", {"step": 7, "ratio": "inf"})
        work = next(each for each in seen["operations"] if each["name"] == "work")
        assert work["calls_per_s"] * seen["window_s"] == pytest.approx(work["calls"])
    assert (work["calls_total"], work["open"]) == (13, 0)


def test_a_process_that_is_dead(runner: Runner, living: subprocess.Popen[str]) -> None:
    """It is shown as it was, when it is asked for."""
    living.kill()
    living.wait(60)
    status, out, _ = top(runner, "--json", "-n", "1", "--interval", "0.05", str(living.pid))
    (seen,) = json.loads(out)["processes"]
    assert (status, seen["state"], seen["cpu"]) == (0, "killed", None)
    assert [span["name"] for span in seen["open"]] == ["waiting"]
    assert json.loads(top(runner, "--json", "--once", "--interval", "0.05")[1])["processes"] == []


@pytest.mark.parametrize("words", [["--once"], ["--json", "-n", "1"]], ids=str)
def test_a_process_that_never_recorded(runner: Runner, living: subprocess.Popen[str], words: list[str]) -> None:
    """One line that names it, and the folder."""
    status, out, err = top(runner, *words, str(os.getpid()))
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert f"no segment of process {os.getpid()} in {runner.segments}" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x"], "'x' is not the id of a process"),
        (["0"], "'0' is not the id of a process"),
        (["99999999999"], "'99999999999' is not the id of a process"),
        (["--interval", "0"], "'0' is not a number of seconds from 0.05 to 86400"),
        (["--interval", "nan"], "'nan' is not a number of seconds"),
        (["--window", "soon"], "'soon' is not a number of seconds"),
        (["-n", "0"], "'0' is not a number of looks (1 or more)"),
        (["--sort", "colour"], "invalid choice: 'colour'"),
    ],
    ids=str,
)
def test_wrong_words(runner: Runner, words: list[str], said: str) -> None:
    """Status 2; the value is named, and what it should be."""
    status, out, err = top(runner, *words)
    assert (status, out) == (2, "")
    assert said in err


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_a_reader_that_leaves(runner: Runner, living: subprocess.Popen[str], form: list[str]) -> None:
    """`libperf top | head` ends without a traceback, with status 0."""
    with runner.start("-m", "libperf", "top", "--interval", "0.05", *form) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, -15)])
def test_signals(runner: Runner, living: subprocess.Popen[str], number: signal.Signals, status: int) -> None:
    """Snapshots end without a word."""
    with runner.start("-m", "libperf", "top", "--json", "--interval", "0.05") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (status, "")


def test_other_commands_do_not_wait_for_it(runner: Runner) -> None:
    """What draws is loaded by `libperf top` alone."""
    code = "import sys, libperf.cli; libperf.cli.build_parser(); print('rich' in sys.modules)"
    assert runner.plain("-c", code)[1] == "False\n"


def fields(value: Any, path: str = "") -> set[str]:
    """Every field of an object and of those in its lists, as a path."""
    if isinstance(value, list):
        return set().union(*(fields(each, path) for each in value)) if value else set()
    if not isinstance(value, dict):
        return set()
    free = path.rpartition(".")[2] in ("attributes", "counters", "gauges", "lost")
    found = set() if free else {f"{path}.{name}" for name in value}
    return found.union(*(fields(each, f"{path}.{name}") for name, each in value.items())) if not free else found


def test_the_document_has_every_field(runner: Runner, living: subprocess.Popen[str]) -> None:
    """The example of docs/top.md is an object as it is written."""
    text = DOCUMENT.read_text()
    example = json.loads(text.partition("```json\n")[2].partition("```")[0])
    (runner.segments / f"libperf-{os.geteuid()}" / "1-bad.perf").write_text("bad")
    written = json.loads(top(runner, "--json", "--once", "--interval", "0.05")[1])
    assert fields(example) == fields(written)


def test_the_service_that_the_document_names(runner: Runner, llm: MockLLM) -> None:
    """It answers, and is seen with its graph, cache and batcher."""
    runner.environment |= llm.environment()
    with runner.start(EXAMPLE, "--visitors", "3", "--answers", "500") as service:
        for _ in range(200):
            status, out, _ = top(runner, "--json", "-n", "1", "--interval", "0.05")
            seen = json.loads(out)["processes"]
            if seen and seen[0]["caches"] and seen[0]["batchers"] and len(seen[0]["operations"]) > 10:
                break
        service.kill()
        _, err = service.communicate()
    assert (status, err) == (0, "")
    assert seen[0]["service"] == "agent-service"
    assert {"visit", "research agent"} <= {each["name"] for each in seen[0]["operations"]}
