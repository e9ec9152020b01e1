"""All processes of a user: counters never fall while processes come, go, are killed, and their files are swept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from libperf import processes as module
from libperf.folders import Found, folders, open_segment, segments
from libperf.processes import Process, Processes
from libperf.reader import Reader
from support_metrics import PROGRAM
from test_openmetrics import SMALL

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIBPERF_DIR", str(tmp_path))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where segments lie."""
    folder = tmp_path / f"libperf-{os.geteuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@pytest.fixture
def all_of_them() -> Iterator[Processes]:
    found = Processes(bounds=SMALL)
    yield found
    found.close()


def work_of(found: Processes) -> int:
    """Calls of "work", of whoever lives and of whoever is gone."""
    counted = [*found.gone.values(), *(process.counts for process in found.all if process.counts)]
    return sum(
        durations.count for counts in counted for (_, name), durations in counts.durations.items() if name == "work"
    )


def more_work(process: subprocess.Popen[str], calls: int) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(f"{calls}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def end(process: subprocess.Popen[str], how: str) -> None:
    if how == "killed":
        process.kill()
    else:
        assert process.stdin is not None
        process.stdin.write("end\n")
        process.stdin.flush()
    process.wait(60)


# ---- come and go ----


def test_processes_that_live(start: Start, all_of_them: Processes) -> None:
    """Each with its service, state and numbers; the next refresh has what is new."""
    api, worker = start(PROGRAM, "api", 3), start(PROGRAM, "worker", 4)
    all_of_them.refresh()
    assert {(p.pid, p.service, p.state) for p in all_of_them.all} == {
        (api.pid, "api", "running"),
        (worker.pid, "worker", "running"),
    }
    assert work_of(all_of_them) == 7
    more_work(api, 10)
    all_of_them.refresh()
    assert work_of(all_of_them) == 17


@pytest.mark.parametrize("how", ["killed", "finished"])
def test_a_process_that_ends_is_counted_to_its_end(start: Start, all_of_them: Processes, how: str) -> None:
    """Also what it did after the last refresh; for five minutes it is still there, then in the sum of its service."""
    process = start(PROGRAM, "api", 3)
    all_of_them.refresh(now=1000)
    more_work(process, 10)
    end(process, how)
    all_of_them.refresh(now=1010)
    assert [p.state for p in all_of_them.all] == [how]
    assert work_of(all_of_them) == 13
    all_of_them.refresh(now=1010 + module.SHOWN_DEAD_S)
    assert len(all_of_them.all) == 1
    all_of_them.refresh(now=1011 + module.SHOWN_DEAD_S)
    assert (all_of_them.all, work_of(all_of_them), list(all_of_them.gone)) == ([], 13, ["api"])
    all_of_them.refresh(now=2000)
    assert work_of(all_of_them) == 13


@pytest.mark.parametrize("how", ["killed", "finished"])
def test_a_file_that_is_swept(start: Start, all_of_them: Processes, how: str, home: Path) -> None:
    """Its last numbers are read from what is held open; a file without a name whose process lives goes on counting."""
    process = start(PROGRAM, "api", 3)
    all_of_them.refresh()
    more_work(process, 10)
    (path,) = home.iterdir()
    path.unlink()
    all_of_them.refresh()
    assert work_of(all_of_them) == 13
    more_work(process, 10)
    end(process, how)
    for _ in range(3):
        all_of_them.refresh()
        assert (work_of(all_of_them), all_of_them.all, all_of_them._known) == (23, [], {})


def test_files_that_are_not_held(start: Start, all_of_them: Processes, home: Path, monkeypatch: Any) -> None:
    """Above so many, a swept process keeps what was read last."""
    monkeypatch.setattr(module, "HELD_MAX", 0)
    process = start(PROGRAM, "api", 3)
    all_of_them.refresh()
    more_work(process, 10)
    all_of_them.refresh()
    assert all(p.fd is None for p in all_of_them.all)
    next(home.iterdir()).unlink()
    all_of_them.refresh()
    assert (work_of(all_of_them), all_of_them.all) == (13, [])


def test_a_new_reader_finds_the_dead(start: Start, all_of_them: Processes) -> None:
    """As long as their files are there."""
    end(start(PROGRAM, "api", 3), "killed")
    all_of_them.refresh()
    assert (work_of(all_of_them), [p.state for p in all_of_them.all]) == (3, ["killed"])


def test_a_dead_process_is_read_once(start: Start, all_of_them: Processes, monkeypatch: Any) -> None:
    """Its file does not change any more."""
    end(start(PROGRAM, "api", 3), "killed")
    all_of_them.refresh()
    monkeypatch.setattr(Process, "read", lambda *_: pytest.fail("read again"))
    all_of_them.refresh()
    assert work_of(all_of_them) == 3


STORM = """
import os, sys, libperf
for _ in range(int(sys.argv[1])):
    with libperf.span("work"): pass
print("ready", flush=True)
os.kill(os.getpid(), int(sys.argv[2])) if int(sys.argv[2]) else None
"""


def test_many_processes_that_are_killed(tmp_path: Path, all_of_them: Processes) -> None:
    """While others read: the sum never falls, and in the end it is exact."""
    environment = {**os.environ, "LIBPERF_DIR": str(tmp_path)}
    expected, last = 0, 0
    for batch in range(4):
        started = []
        for number in range(4):
            calls, how = 10 * batch + number, signal.SIGKILL if number % 2 else 0
            command = [sys.executable, "-c", STORM, str(calls), str(int(how))]
            started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE))
            expected += calls
        while any(process.poll() is None for process in started):
            all_of_them.refresh()
            assert work_of(all_of_them) >= last
            last = work_of(all_of_them)
        for process in started:
            process.communicate()
    all_of_them.refresh()
    assert work_of(all_of_them) == expected


def test_forked_children_count_as_processes(start: Start, all_of_them: Processes) -> None:
    """Each has a segment of its own."""
    code = """
import os, sys, libperf
with libperf.span("work"): pass
if not os.fork():
    with libperf.span("work"): pass
    os._exit(0)
os.wait()
print("ready", flush=True)
sys.stdin.read()
"""
    start(code)
    all_of_them.refresh()
    assert work_of(all_of_them) == 2
    assert len(all_of_them.all) == 2


def examples_of(found: Processes) -> dict[str, int]:
    """Span ids of examples, and how long they took."""
    return {
        example.span_id: example.duration_ns
        for process in found.all
        if process.counts
        for durations in process.counts.durations.values()
        for example in durations.exemplars.values()
    }


@pytest.mark.parametrize("held", [256, 0])
def test_examples_from_refresh_to_refresh(start: Start, all_of_them: Processes, monkeypatch: Any, held: int) -> None:
    """Of what is new the slower ones take over, and each that is kept was one; nothing new: they stay."""
    monkeypatch.setattr(module, "HELD_MAX", held)
    process = start(PROGRAM, "api", 3)
    all_of_them.refresh()
    seen = examples_of(all_of_them)
    assert seen
    all_of_them.refresh()
    assert examples_of(all_of_them) == seen
    for _ in range(5):
        more_work(process, 2000)
        all_of_them.refresh()
        assert max(examples_of(all_of_them).values()) >= max(seen.values())
        seen |= examples_of(all_of_them)
    with Reader(next(iter(all_of_them._known))) as reader:
        spans = {f"{record.id:016x}" for record in reader.records()}
    assert set(seen) <= spans


def test_files_are_open_once(start: Start, all_of_them: Processes) -> None:
    """As long as a process lives; nothing is left when it has died."""
    folder = Path("/proc/self/fd")
    before = len(list(folder.iterdir()))
    process = start(PROGRAM, "api", 3)
    pipes = len(list(folder.iterdir()))
    for _ in range(3):
        more_work(process, 1)
        all_of_them.refresh()
        assert len(list(folder.iterdir())) == pipes + 1
    end(process, "killed")
    all_of_them.refresh()
    assert len(list(folder.iterdir())) <= pipes
    assert pipes > before


# ---- which ----


def test_only_some_pids(start: Start) -> None:
    """Those that are named, when they come."""
    one, _ = start(PROGRAM, "api", 3), start(PROGRAM, "api", 5)
    found = Processes(pids=[one.pid, 999_999_999], bounds=SMALL)
    found.refresh()
    assert (work_of(found), [p.pid for p in found.all]) == (3, [one.pid])
    found.close()


def test_only_some_services(start: Start) -> None:
    """Of the living and of those that are gone."""
    for service in ("api", "worker"):
        end(start(PROGRAM, service, 3), "killed")
    found = Processes(services=["api"], bounds=SMALL)
    found.refresh(now=1000)
    assert [p.service for p in found.all] == ["api"]
    found.refresh(now=2000)
    assert (found.all, list(found.gone), work_of(found)) == ([], ["api"], 3)
    found.close()


def test_services_are_bounded(start: Start, all_of_them: Processes, monkeypatch: Any) -> None:
    """Of those that are gone, later ones are one."""
    monkeypatch.setattr(module, "SERVICES_MAX", 1)
    for service in ("a", "b", "c"):
        end(start(PROGRAM, service, 1), "killed")
    all_of_them.refresh(now=1000)
    all_of_them.refresh(now=2000)
    assert len(all_of_them.gone) == 2 and "(other)" in all_of_them.gone
    assert work_of(all_of_them) == 3


def test_time_runs_out(start: Start, all_of_them: Processes) -> None:
    """One is read at least; the others keep their numbers, and are first the next time."""
    for _ in range(3):
        start(PROGRAM, "api", 1)
    for late, read in ((2, 1), (2, 2), (2, 3), (2, 3)):
        all_of_them.refresh(within=0)
        assert (all_of_them.late, len(all_of_them.all)) == (late, read)


# ---- what lies in the folder ----


def make_hostile(home: Path, segment: bytes) -> int:
    """Everything that is called like a segment and is none. Returns how many."""
    (home / "1-link.perf").symlink_to("/etc/passwd")
    (home / "2-loop.perf").symlink_to("2-loop.perf")
    os.mkfifo(home / "3-pipe.perf")
    (home / "4-folder.perf").mkdir()
    (home / "5-empty.perf").touch()
    (home / "6-short.perf").write_bytes(segment[:1000])
    (home / "7-zeros.perf").write_bytes(bytes(1 << 16))
    (home / "8-noise.perf").write_bytes(os.urandom(1 << 17))
    (home / "9-cut.perf").write_bytes(segment[: 1 << 16])
    with (home / "10-huge.perf").open("wb") as file:
        file.truncate(1 << 40)
    (home / "11-closed.perf").write_bytes(segment[: 1 << 16])
    (home / "11-closed.perf").chmod(0)
    for name in ("nonsense.perf", "-1.perf", "x-1.perf", "1-a.txt", "².perf", "²-a.perf", ".perf"):
        (home / name).write_bytes(b"not looked at")
    return 11


def test_hostile_files(start: Start, all_of_them: Processes, home: Path) -> None:
    """Links, pipes, folders, garbage: skipped and counted by why; the good one is read."""
    start(PROGRAM, "api", 3)
    (path,) = home.iterdir()
    hostile = make_hostile(home, path.read_bytes())
    for _ in range(2):
        all_of_them.refresh()
        assert work_of(all_of_them) in (3, 6)  # what was cut may still hold the counters
        read = len(all_of_them.all)
        assert read + sum(all_of_them.skipped.values()) == hostile + 1
        assert 1 <= read <= 3
        assert {"OSError", "CorruptError"} <= set(all_of_them.skipped)


def test_a_file_that_is_spoiled_later(start: Start, all_of_them: Processes, home: Path) -> None:
    """What was read before still counts, and the trouble is told."""
    process = start(PROGRAM, "api", 3)
    all_of_them.refresh()
    (path,) = home.iterdir()
    end(process, "killed")
    whole = path.read_bytes()
    os.truncate(path, 1000)
    all_of_them.refresh()
    assert (work_of(all_of_them), all_of_them.skipped) == (3, {"CorruptError": 1})
    path.write_bytes(whole)
    all_of_them.refresh()
    assert (work_of(all_of_them), all_of_them.skipped) == (3, {})


def test_a_file_that_counts_backwards(start: Start, all_of_them: Processes, home: Path) -> None:
    """Is damaged: counters stay."""
    process = start(PROGRAM, "api", 3)
    (path,) = home.iterdir()
    early = path.read_bytes()
    more_work(process, 10)
    all_of_them.refresh()
    with path.open("r+b") as file:
        file.write(early)
    all_of_them.refresh()
    assert (work_of(all_of_them), all_of_them.skipped) == (13, {"CountsBackwards": 1})


def test_a_spoiled_segment_is_an_error_or_numbers(start: Start, home: Path) -> None:
    """Whatever bytes are wrong: never anything but skipped or read."""
    import random

    process = start(PROGRAM, "api", 3)
    end(process, "killed")
    (path,) = home.iterdir()
    whole, chance = path.read_bytes()[: 1 << 18], random.Random(3)
    for _ in range(150):
        spoiled = bytearray(whole)
        for _ in range(20):
            spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
        path.write_bytes(spoiled)
        found = Processes(bounds=SMALL)
        found.refresh()
        assert len(found.all) + sum(found.skipped.values()) == 1
        found.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_of_others(start: Start, all_of_them: Processes, home: Path) -> None:
    """Are not read."""
    start(PROGRAM, "api", 3)
    (path,) = home.iterdir()
    os.chown(path, 12345, 12345)
    all_of_them.refresh()
    assert (all_of_them.all, all_of_them.skipped) == ([], {"OSError": 1})


# ---- folders ----


def test_folders_of_this_user(tmp_path: Path) -> None:
    """LIBPERF_DIR's alone when it is set; only a real folder that nobody else can write to."""
    own = f"libperf-{os.geteuid()}"
    base = tmp_path / "base"
    (base / own).mkdir(parents=True, mode=0o700)
    assert folders({"LIBPERF_DIR": str(base)}) == [base / own]
    assert base / own in folders({"XDG_RUNTIME_DIR": str(base)})
    assert base / own not in folders({"XDG_RUNTIME_DIR": "base"})
    (base / own).chmod(0o777)
    assert folders({"LIBPERF_DIR": str(base)}) == []
    (base / own).chmod(0o700)
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / own).symlink_to(base / own)
    assert folders({"LIBPERF_DIR": str(tmp_path / "links")}) == []
    assert folders({"LIBPERF_DIR": str(tmp_path / "nowhere")}) == []
    assert folders({"LIBPERF_DIR": "off"}) == []


def test_a_folder_is_listed_once(home: Path, tmp_path: Path) -> None:
    """However many of the bases lead to it."""
    (home / "7-a.perf").touch()
    assert list(segments({"LIBPERF_DIR": str(tmp_path)})) == [Found(home / "7-a.perf", 7, os.geteuid())]
    assert list(segments({"LIBPERF_DIR": str(tmp_path / "nowhere")})) == []


def test_what_is_opened(home: Path) -> None:
    """A plain file of a segment's size; a descriptor is never left open."""
    path = home / "7-a.perf"
    path.write_bytes(bytes(1 << 16))
    os.close(open_segment(path))
    before = len(list(Path("/proc/self/fd").iterdir()))
    path.write_bytes(b"short")
    with pytest.raises(OSError, match="5 bytes"):
        open_segment(path)
    with pytest.raises(OSError, match="no plain file"):
        open_segment(home)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
