"""Whatever lies in the folder of segments, and whatever happens to files there: `top` and metrics go on, and say why
something is left out."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from libperf.live import Live, Picture
from libperf.processes import Processes
from support_live import Clock
from support_metrics import PROGRAM
from test_openmetrics import SMALL
from test_processes import end, make_hostile, more_work

Start = Callable[..., "subprocess.Popen[str]"]


class Looker(Protocol):
    """Somebody who reads all segments, again and again."""

    def look(self) -> dict[int, int]:
        """Calls of "work" by process."""

    def skipped(self) -> int: ...

    def close(self) -> None: ...


class Top:
    def __init__(self) -> None:
        self.live, self.clock = Live(), Clock()
        self.picture: Picture | None = None

    def look(self) -> dict[int, int]:
        self.picture = self.live.refresh(self.clock.later(11))  # what was refused is tried again
        return {
            each.pid: sum(found.calls for found in each.operations(None) if found.row.name == "work")
            for each in self.picture.processes
        }

    def skipped(self) -> int:
        assert self.picture is not None
        assert all(str(path) in why for path, why in self.picture.skipped.items())
        return len(self.picture.skipped)

    def close(self) -> None:
        self.live.close()


class Metrics:
    def __init__(self) -> None:
        self.processes = Processes(bounds=SMALL)

    def look(self) -> dict[int, int]:
        self.processes.refresh()
        return {
            each.pid: sum(found.count for (_, name), found in each.counts.durations.items() if name == "work")
            for each in self.processes.all
            if each.counts
        }

    def skipped(self) -> int:
        return sum(self.processes.skipped.values())

    def close(self) -> None:
        self.processes.close()


@pytest.fixture(params=[Top, Metrics])
def looker(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Looker]:
    monkeypatch.setenv("LIBPERF_DIR", str(tmp_path))
    made: Looker = request.param()
    yield made
    made.close()


def segment_of(tmp_path: Path, process: subprocess.Popen[str]) -> Path:
    (path,) = tmp_path.glob(f"libperf-*/{process.pid}-*.perf")
    return path


# ---- what lies there ----


def test_what_is_called_like_a_segment_and_is_none(looker: Looker, start: Start, tmp_path: Path) -> None:
    """Links, also to good segments, pipes, folders, noise: none is read, or waited for; the good one is."""
    process = start(PROGRAM, "api", 3)
    path = segment_of(tmp_path, process)
    good = path.read_bytes()
    hostile = make_hostile(path.parent, good)
    (tmp_path / "kept").write_bytes(good)
    (path.parent / "20-good.perf").symlink_to(tmp_path / "kept")
    for _ in range(2):
        seen = looker.look()
        assert seen.pop(process.pid) == 3
        assert set(seen.values()) <= {0, 3}  # one that was cut may still be read
        assert hostile - 1 <= looker.skipped() <= hostile + 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_and_folders_of_others(looker: Looker, start: Start, tmp_path: Path) -> None:
    """Are not read, whoever could."""
    one, other = start(PROGRAM, "api", 3), start(PROGRAM, "api", 4)
    os.chown(segment_of(tmp_path, other), 12345, 12345)
    assert (looker.look(), looker.skipped()) == ({one.pid: 3}, 1)
    os.chown(segment_of(tmp_path, one).parent, 12345, 12345)
    fresh = type(looker)()
    assert (fresh.look(), fresh.skipped()) == ({}, 0)
    fresh.close()


def test_a_folder_that_others_can_write_to(looker: Looker, start: Start, tmp_path: Path) -> None:
    """What lies there is anybody's."""
    process = start(PROGRAM, "api", 3)
    segment_of(tmp_path, process).parent.chmod(0o777)
    assert (looker.look(), looker.skipped()) == ({}, 0)


def test_top_and_a_folder_of_nonsense(start: Start, tmp_path: Path) -> None:
    """The command shows who runs, and names every file that it left out."""
    process = start(PROGRAM, "api", 3)
    path = segment_of(tmp_path, process)
    hostile = make_hostile(path.parent, path.read_bytes())
    command = [sys.executable, "-m", "libperf", "top", "--json", "-n", "1", "--interval", "0.05"]
    done = subprocess.run(command, env={**os.environ, "LIBPERF_DIR": str(tmp_path)}, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    look = json.loads(done.stdout)
    assert [each["pid"] for each in look["processes"]] == [process.pid]
    assert hostile - 2 <= len(look["skipped"]) <= hostile


# ---- what happens to a file that is known ----


def put_instead(path: Path, what: str, good: bytes) -> None:
    path.unlink()
    match what:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to("/etc/passwd")
        case "noise":
            path.write_bytes(random.Random(1).randbytes(1 << 17))
        case "earlier":
            path.write_bytes(good)


@pytest.mark.parametrize("what", ["pipe", "folder", "link", "noise", "earlier", "nothing"])
def test_a_file_that_is_replaced(looker: Looker, start: Start, tmp_path: Path, what: str) -> None:
    """What was opened goes on being read, to the end of its process, whoever has its name now."""
    process = start(PROGRAM, "api", 3)
    path = segment_of(tmp_path, process)
    good = path.read_bytes()
    assert looker.look() == {process.pid: 3}
    put_instead(path, what, good)
    more_work(process, 10)
    assert (looker.look(), looker.skipped()) == ({process.pid: 13}, 0)
    more_work(process, 10)
    end(process, "killed")
    seen = looker.look()
    if isinstance(looker, Metrics) and what == "nothing":
        seen = {
            process.pid: sum(d.count for (_, n), d in looker.processes.gone["api"].durations.items() if n == "work")
        }
    assert seen == {process.pid: 23}


def grow(path: Path, how: str) -> None:
    size = path.stat().st_size
    chunk = 1 << 16
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        match how:
            case "noise":
                file.write(random.Random(2).randbytes(3 * chunk + 11))
            case "huge":
                file.truncate(1 << 40)
            case "trailer":  # as if the last of it were chunks that a trace file has kept
                file.write(random.Random(3).randbytes(2 * chunk))
                file.write(b"PRFTAIL1")
                for word in (size, 2, 0):
                    file.write(word.to_bytes(8, "little"))


@pytest.mark.parametrize("how", ["noise", "huge", "trailer"])
def test_a_file_that_grows(looker: Looker, start: Start, tmp_path: Path, how: str) -> None:
    """What comes behind a segment is none of it."""
    process = start(PROGRAM, "api", 3)
    assert looker.look() == {process.pid: 3}
    process.send_signal(signal.SIGSTOP)
    grow(segment_of(tmp_path, process), how)
    assert (looker.look(), looker.skipped()) == ({process.pid: 3}, 0)
    fresh = type(looker)()  # who comes now: reads it, or says that it is too large
    assert (fresh.look(), fresh.skipped()) == (({}, 1) if how == "huge" else ({process.pid: 3}, 0))
    fresh.close()


def test_a_file_that_is_cut_and_made_whole_while_it_is_read(looker: Looker, start: Start, tmp_path: Path) -> None:
    """Again and again: it is read, or skipped; nobody fails, and in the end the numbers are right."""
    process = start(PROGRAM, "api", 3)
    path = segment_of(tmp_path, process)
    assert looker.look() == {process.pid: 3}
    process.send_signal(signal.SIGSTOP)  # or it would write where there is no file any more
    whole, dice = path.read_bytes(), random.Random(4)
    cuts, over = 0, threading.Event()

    def cut() -> None:
        nonlocal cuts
        with path.open("r+b") as file:
            while not over.is_set():
                file.truncate(dice.choice((0, 1, 100, 1 << 16, 3 << 16, dice.randrange(len(whole)))))
                file.seek(0)
                file.write(whole)
                file.flush()
                cuts += 1

    cutter = threading.Thread(target=cut)
    cutter.start()
    looks = 0
    try:
        while looks < 100 or (cuts < 100 and cutter.is_alive()):
            looker.look()
            looks += 1
    finally:
        over.set()
        cutter.join()
    assert cuts >= 100
    assert (looker.look(), looker.skipped()) == ({process.pid: 3}, 0)
