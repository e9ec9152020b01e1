"""`libperf export`: files, standard output, terminals, and what it says when it cannot."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from libperf.cli.export import Progress
from libperf.exports import FORMATS
from support_cli import Runner
from support_exports import Pprof

PROGRAM = """
import libperf
with libperf.span("outer"):
    with libperf.span("inner"):
        sum(range(10_000))
"""


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    found = Runner(tmp_path)
    found.write("agent.py", PROGRAM)
    assert found.run("--trace", "agent.perf", "agent.py")[0] == 0
    return found


def export(runner: Runner, *words: str | Path, **settings: Any) -> tuple[int, str, str]:
    return runner.plain("-m", "libperf", "export", *words, **settings)


@pytest.mark.parametrize("to", FORMATS)
def test_a_file_named_after_the_recording(runner: Runner, to: str) -> None:
    """It says what was written, how large it is, and with what it is opened."""
    status, out, err = export(runner, "agent.perf", "--to", to)
    file = f"agent{FORMATS[to].suffix}"
    assert (status, out) == (0, "")
    assert err.startswith(f"libperf: wrote {file} (") and err.count("\n") == 1
    assert FORMATS[to].opens.format(file=file) in err
    assert (runner.folder / file).stat().st_size >= 20


def test_a_file_of_that_name(runner: Runner) -> None:
    """-o; an old one is replaced, as `libperf report --html` does."""
    runner.write("out.json", "old")
    assert export(runner, "agent.perf", "--to", "speedscope", "-o", "out.json")[0] == 0
    assert json.loads((runner.folder / "out.json").read_text())["profiles"][0]["name"] == "main thread"


def test_standard_output(runner: Runner) -> None:
    """-o -: the data and nothing else."""
    status, out, err = export(runner, "agent.perf", "--to", "folded", "-o", "-", "--weight", "wall")
    assert (status, err) == (0, "")
    assert [line.rpartition(" ")[0] for line in out.splitlines()] == ["outer", "outer;inner"]
    status, packed, _ = export(runner, "agent.perf", "--to", "pprof", "-o", "-", text=False)
    assert len(Pprof(packed).samples) == 2  # type: ignore[arg-type]


def test_a_process_by_its_id(runner: Runner) -> None:
    code = "import libperf\nwith libperf.span('once'): pass\nprint(__import__('os').getpid())"
    pid = runner.plain("-c", code)[1].strip()
    assert export(runner, pid, "--to", "folded", "--weight", "wall")[0] == 0
    assert (runner.folder / f"{pid}.folded").read_text().startswith("once ")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["agent.perf"], 2, "--to"),
        (["agent.perf", "--to", "nosuch"], 2, "choose from"),
        (["agent.perf", "--to", "pprof", "--weight", "wall"], 1, "weight='wall': format pprof has no options"),
        (["agent.perf", "--to", "folded", "--weight", "cpu"], 1, "there are no cpu samples in it: record with"),
        (["nosuch.perf", "--to", "folded"], 1, "nosuch.perf"),
        (["agent.py", "--to", "folded"], 1, "agent.py"),
        (["agent.perf", "--to", "folded", "-o", "no/such/folder"], 1, "cannot write no/such/folder: No such file"),
    ],
    ids=str,
)
def test_what_cannot_be_done(runner: Runner, words: list[str], status: int, said: str) -> None:
    """Wrong words are status 2 with the usage, the rest is status 1 and one line."""
    found, out, err = export(runner, *words)
    assert (found, out, said in err) == (status, "", True)
    assert "Traceback" not in err
    assert status == 2 or (err.startswith("libperf: ") and err.count("\n") == 1)


def test_losses_are_said(runner: Runner) -> None:
    """Of the recording: damaged parts, and what was overwritten."""
    code = """if True:
        import libperf
        libperf.configure(ring_bytes=64 * 1024)
        for _ in range(3000):
            with libperf.span("x", text="y" * 300): pass
        print(libperf.segment_path())
        """
    path = runner.plain("-c", code)[1].strip()
    status, _, err = export(runner, path, "--to", "perfetto", "-o", "x.json")
    assert status == 0
    lines = err.splitlines()[1:]
    assert any("records were overwritten" in line for line in lines) and any(
        "cut at 200 bytes" in line for line in lines
    )


def test_a_reader_that_leaves(runner: Runner) -> None:
    """`libperf export … -o - | head -1` ends without a traceback."""
    with runner.start("-m", "libperf", "export", "agent.perf", "--to", "perfetto", "-o", "-") as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        assert (process.wait(60) in (0, 1), err) == (True, "")


def test_binary_is_not_written_to_a_terminal(runner: Runner) -> None:
    """It names the two ways out; text may be."""
    for to, status in (("pprof", 1), ("speedscope", 0)):
        master, slave = pty.openpty()
        words = [sys.executable, "-m", "libperf", "export", "agent.perf", "--to", to, "-o", "-"]
        folder, pipe = runner.folder, subprocess.PIPE
        with subprocess.Popen(
            words, stdout=slave, stderr=pipe, env=runner.environment, cwd=folder, text=True
        ) as process:
            os.close(slave)
            err = process.communicate(timeout=60)[1]
        os.close(master)
        assert process.returncode == status
        assert ("-o FILE, or a pipe" in err) == bool(status)


def test_progress_on_a_terminal() -> None:
    """After a second, four times a second, on one line that is taken back."""
    times = iter((0.0, 0.5, 0.9, 1.0, 1.1, 1.3))
    terminal, file = io.StringIO(), io.BytesIO()
    progress = Progress(file, terminal, lambda: next(times))
    for _ in range(5):
        assert progress.write(b"x" * 1024) == 1024
    progress.clear()
    assert terminal.getvalue() == ("\r\x1b[Klibperf: 3.00 KiB written\r\x1b[Klibperf: 5.00 KiB written\r\x1b[K")
    assert len(file.getvalue()) == progress.bytes == 5 * 1024
    quick, silent = Progress(file, terminal := io.StringIO(), lambda: 0.0), terminal
    quick.write(b"x")
    quick.clear()
    assert silent.getvalue() == ""


def test_a_terminal_changes_nothing_in_the_file(runner: Runner) -> None:
    master, slave = pty.openpty()
    words = [sys.executable, "-m", "libperf", "export", "agent.perf", "--to", "speedscope"]
    with subprocess.Popen(words, stderr=slave, env=runner.environment, cwd=runner.folder) as process:
        os.close(slave)
        assert process.wait(60) == 0
    assert b"libperf: wrote agent.speedscope.json" in os.read(master, 10_000)
    os.close(master)
    on_terminal = (runner.folder / "agent.speedscope.json").read_bytes()
    export(runner, "agent.perf", "--to", "speedscope")
    assert (runner.folder / "agent.speedscope.json").read_bytes() == on_terminal


def test_help_lists_the_formats(runner: Runner) -> None:
    out = export(runner, "--help")[1]
    for format in FORMATS.values():
        assert f"  {format.name:<12} {format.help}\n" in out
