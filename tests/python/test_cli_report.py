"""`libperf report`, and what all commands have in common: help, versions, unknown words."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import libperf

BLOCK = """\
import sys
import libperf
@libperf.trace
def work(): pass
for _ in range(3): work()
with libperf.span("waiting", step=7):
    print("ready", flush=True)
    sys.stdin.read()
"""
COMMANDS = ["run", "report", "top", "export", "diff", "serve-metrics", "doctor", "mock"]


class Machine:
    """An environment with a folder of segments of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("LIBPERF_")}
        self.environment |= {"LIBPERF_DIR": str(folder)}
        for name in ("COLUMNS", "FORCE_COLOR"):
            self.environment.pop(name, None)

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command = [sys.executable, *map(str, words)]
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, text=True, stdin=pipe, stdout=pipe, stderr=pipe
        )

    def libperf(self, *words: str | Path) -> tuple[int, str, str]:
        with self.start("-m", "libperf", *words) as process:
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    def segment_of(self, pid: int) -> Path:
        return next(self.folder.glob(f"libperf-*/{pid}-*.perf"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def living(machine: Machine) -> Iterator[subprocess.Popen[str]]:
    """A process with three calls behind it, blocked inside a span until its input ends."""
    with machine.start("-c", BLOCK) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def calls_of(report: dict[str, Any]) -> dict[str, int]:
    return {row["name"]: row["calls"] for row in report["operations"]}


def test_a_living_process(machine: Machine, living: subprocess.Popen[str]) -> None:
    """The id of a process that runs: its counts, and the span it is in, with what it has lasted so far."""
    status, out, err = machine.libperf("report", "--json", str(living.pid))
    report = json.loads(out)
    assert (status, err) == (0, "")
    assert report["program"]["pid"] == living.pid
    assert report["program"]["state"] == "running"
    assert calls_of(report) == {"work": 3}
    [call] = report["open"]
    assert (call["name"], call["status"], call["attributes"]) == ("waiting", "open", {"step": 7})
    assert 0 < call["duration_s"] <= report["wall_s"]
    again = json.loads(machine.libperf("report", "--json", str(living.pid))[1])
    assert again["open"][0]["duration_s"] > call["duration_s"]
    status, out, err = machine.libperf("report", str(living.pid))
    assert (status, err, "work" in out, "waiting" in out) == (0, "", True, True)


def test_a_dead_process(machine: Machine, living: subprocess.Popen[str]) -> None:
    """The id of a process that was killed: the same, as it was at the last sign of life."""
    living.kill()
    living.wait(60)
    status, out, _ = machine.libperf("report", "--json", str(living.pid))
    report = json.loads(out)
    assert (status, report["program"]["state"]) == (0, "killed")
    assert calls_of(report) == {"work": 3}
    assert [call["name"] for call in report["open"]] == ["waiting"]
    assert machine.libperf("report", "--json", str(living.pid))[1] == out


def test_a_file(machine: Machine, living: subprocess.Popen[str]) -> None:
    """A segment's path says the same as the process's id; a file that is called like a process wins."""
    living.kill()
    living.wait(60)
    by_pid = machine.libperf("report", "--json", str(living.pid))
    segment = machine.segment_of(living.pid)
    assert machine.libperf("report", "--json", segment) == by_pid
    (machine.folder / "1").write_bytes(segment.read_bytes())
    assert machine.libperf("report", "--json", "1") == by_pid


def test_the_same_as_snapshot(machine: Machine) -> None:
    """What a process says of itself by snapshot() is what `libperf report --json` says of it."""
    code = """
import json, sys, libperf
with libperf.span("step", tokens=12): pass
print(json.dumps(libperf.snapshot()), flush=True)
sys.stdin.read()
"""
    with machine.start("-c", code) as process:
        assert process.stdout is not None
        own = json.loads(process.stdout.readline())
        status, out, _ = machine.libperf("report", "--json", str(process.pid))
        process.kill()
    assert own["operations"][0]["quantities"] == {"tokens": 12}
    assert (status, json.loads(out)) == (0, own)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(1 << 16), os.urandom(1 << 16)], ids=["", "text", "0", "any"])
def test_garbage(machine: Machine, content: bytes) -> None:
    """A file that is none of ours is refused in one line that names it."""
    (machine.folder / "x.perf").write_bytes(content)
    status, out, err = machine.libperf("report", "x.perf")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("libperf: ") and "x.perf" in err


def test_a_file_that_was_cut(machine: Machine, living: subprocess.Popen[str]) -> None:
    """A segment cut short anywhere gives a report or one line, never a traceback."""
    living.kill()
    living.wait(60)
    whole = machine.segment_of(living.pid).read_bytes()
    for part in (0.001, 0.1, 0.5, 0.9):
        (machine.folder / "cut.perf").write_bytes(whole[: int(len(whole) * part)])
        status, out, err = machine.libperf("report", "--json", "cut.perf")
        assert "Traceback" not in err
        assert (status == 0 and calls_of(json.loads(out)) in ({}, {"work": 3})) or (status, out) == (1, "")


@pytest.mark.parametrize("target", ["missing.perf", "missing/x.perf", "999999999", "99999999999999999999", "²", "."])
def test_what_is_not_there(machine: Machine, target: str) -> None:
    """A missing file, a process without a segment, and a folder are refused in one line."""
    status, out, err = machine.libperf("report", target)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("libperf: ")


def test_a_process_that_records_nothing(machine: Machine, living: subprocess.Popen[str]) -> None:
    """A process without a segment beside one that has: the message says where it was looked for, and what to check."""
    status, _, err = machine.libperf("report", str(os.getpid()))
    assert status == 1
    assert str(machine.folder) in err
    assert "LIBPERF_DIR" in err


def test_a_process_that_hangs_in_many_places(machine: Machine) -> None:
    """The oldest of its open spans are shown, how many there are, and where to look further."""
    code = (
        "import sys, libperf\nfor n in range(50): libperf.span(f'step {n}').__enter__()\n"
        "print('ready', flush=True)\nsys.stdin.read()"
    )
    with machine.start("-c", code) as process:
        assert process.stdout is not None
        process.stdout.readline()
        _, out, _ = machine.libperf("report", str(process.pid))
        process.kill()
    lines = out.splitlines()
    at = lines.index("open now, 50, oldest first")
    assert all(f"step {n} " in lines[at + 1 + n] for n in range(20))
    assert lines[at + 21].strip() == "and 30 more: --json has all of them"
    assert lines[at + 22].strip() == f"libperf top {process.pid} shows which is inside of which, and follows them"
    _, out, _ = machine.libperf("report", str(process.pid))
    assert "still open at the end, 50, oldest first" in out and "libperf top" not in out


@pytest.mark.parametrize("words", [["report"], ["report", "--json"]], ids=str)
def test_a_reader_that_leaves(machine: Machine, living: subprocess.Popen[str], words: list[str]) -> None:
    """`libperf report PID | head -1` ends without a traceback."""
    with machine.start("-m", "libperf", *words, str(living.pid)) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        status = process.wait(60)
    assert err == ""
    assert status in (0, 1)


def test_help() -> None:
    """`libperf --help` names every command, and the help of each has examples that begin with the command."""
    out = subprocess.run([sys.executable, "-m", "libperf", "--help"], check=True, text=True, capture_output=True).stdout
    assert [command for command in COMMANDS if not re.search(rf"\n    {command}\s", out)] == []
    assert "examples:\n  libperf run " in out
    for command in COMMANDS:
        words = [sys.executable, "-m", "libperf", command, "--help"]
        out = subprocess.run(words, check=True, text=True, capture_output=True).stdout
        assert f"usage: libperf {command}" in out
        assert f"examples:\n  libperf {command}" in out


def test_help_survives_optimisation() -> None:
    """Under `python -OO`, which drops docstrings, the help is the same."""
    words = ["-m", "libperf", "run", "--help"]
    plain = subprocess.run([sys.executable, *words], check=True, text=True, capture_output=True).stdout
    bare = subprocess.run([sys.executable, "-OO", *words], check=True, text=True, capture_output=True).stdout
    assert bare == plain


def test_version(machine: Machine) -> None:
    """--version prints the package's version."""
    assert machine.libperf("--version") == (0, f"libperf {libperf.__version__}\n", "")


@pytest.mark.parametrize(
    "words", [[], ["nosuch"], ["--nosuch"], ["report"], ["report", "1", "2"], ["doctor", "x"]], ids=str
)
def test_wrong_words(machine: Machine, words: list[str]) -> None:
    """Unknown commands and options, and missing ones, are status 2 with the usage."""
    status, out, err = machine.libperf(*words)
    assert (status, out) == (2, "")
    assert err.startswith("usage: libperf")


def test_the_installed_command(machine: Machine) -> None:
    """The script `libperf` beside the interpreter is the same command as `python -m libperf`."""
    script = Path(sys.executable).with_name("libperf")
    answer = subprocess.run([script, "--version"], text=True, capture_output=True, timeout=60)
    assert (answer.returncode, answer.stdout) == (0, f"libperf {libperf.__version__}\n")


def test_mock_is_mounted(machine: Machine) -> None:
    """`libperf mock -- COMMAND` runs the command against a server, and gives its status."""
    code = "import os, sys; print(os.environ['OPENAI_BASE_URL']); sys.exit(6)"
    status, out, err = machine.libperf("mock", "--", sys.executable, "-c", code)
    assert (status, out.startswith("http://127.0.0.1:")) == (6, True)
    assert "MockLLM: 0 requests" in err


def test_ctrl_c_leaves_no_traceback_behind(machine: Machine) -> None:
    """A `libperf mock` that serves ends by SIGINT with status 0."""
    with machine.start("-m", "libperf", "mock") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("MockLLM listens on http://")
        process.stdout.readline()
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")


def test_an_attribute_cannot_steer_the_terminal(machine: Machine) -> None:
    """Escape sequences in what a program attached are shown as spaces."""
    code = (
        "import libperf\nwith libperf.span('read', title='a\\x1b[2Jb\\x9bc\\nd'): pass\nprint(libperf.segment_path())"
    )
    with machine.start("-c", code) as process:
        path = process.communicate(timeout=60)[0].strip()
    status, out, _ = machine.libperf("report", path)
    assert status == 0
    assert "title=a [2Jb c d" in out
