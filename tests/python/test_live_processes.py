"""Processes that come, end, are killed, restart, fork, are many; and files that are no segments."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import libperf
from libperf import Kind
from libperf import live as live_module
from libperf._core import lib
from libperf.errors import NotFoundError
from libperf.live import Live, Picture
from libperf.live.plain import picture_dict
from libperf.live.watched import Watched
from support_live import PROGRAM, Clock, only, row, tell

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs that are started here leave their segments, and where Live looks."""
    monkeypatch.setenv("LIBPERF_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def live(folder: Path) -> Iterator[Live]:
    with Live() as live:
        yield live


# ---- processes that come and go ----


def test_processes_come(live: Live, clock: Clock, start: Start) -> None:
    """One after the other, the most active first."""
    first = start(PROGRAM)
    assert only(live.refresh(clock.later(1))).pid == first.pid
    second = start(PROGRAM)
    live.refresh(clock.later(1))
    tell(second, "work 10 0")
    assert [each.pid for each in live.refresh(clock.later(1)).processes] == [second.pid, first.pid]
    tell(first, "work 20 0")
    assert [each.pid for each in live.refresh(clock.later(1)).processes] == [first.pid, second.pid]


@pytest.mark.parametrize("how", ["finished", "killed"])
def test_a_process_that_ends_stays_for_a_while(live: Live, clock: Clock, start: Start, how: str) -> None:
    """With everything it did up to its end and what it was in then; ten seconds later it is gone."""
    process = start(PROGRAM)
    tell(process, "open asking")
    live.refresh(clock.later(1))
    tell(process, "work 7 0")
    if how == "killed":
        process.kill()
    process.communicate()
    seen = only(live.refresh(clock.later(1)))
    assert (seen.state, row(seen, "work", 10).calls) == (how, 7)
    assert [record.name for record in seen.open] == ["asking"]
    age = seen.age(seen.open[0])
    seen = only(live.refresh(clock.later(9)))
    assert seen.age(seen.open[0]) == age
    assert live.refresh(clock.later(2)).processes == []
    assert live.refresh(clock.later(2)).processes == []


def test_who_was_dead_before_is_not_shown(clock: Clock, start: Start, folder: Path) -> None:
    """Segments of processes that ended before anybody looked are no news."""
    start(PROGRAM).communicate()
    living = start(PROGRAM)
    with Live() as live:
        assert only(live.refresh(clock.later(1))).pid == living.pid


def test_one_process_is_asked_for(clock: Clock, start: Start, folder: Path) -> None:
    """Others are not shown; it stays when it has ended, however long ago."""
    wanted, other = start(PROGRAM), start(PROGRAM)
    tell(wanted, "work 3 0")
    with Live([wanted.pid]) as live:
        assert only(live.refresh(clock.later(1))).pid == wanted.pid
        wanted.kill()
        wanted.communicate()
        for _ in range(3):
            seen = only(live.refresh(clock.later(100)))
            assert (seen.state, row(seen, "work", None).calls) == ("killed", 3)
    with Live([wanted.pid]) as live:  # and when it was dead all the time
        assert only(live.refresh(clock.later(1))).state == "killed"
    with pytest.raises(NotFoundError, match=f"no segment of process {other.pid + 10**6}"):
        Live([other.pid + 10**6])


def test_a_restart_under_the_same_number(live: Live, clock: Clock, start: Start, folder: Path) -> None:
    """A program that replaces itself begins anew: no negative rates, the old one ends, the new one goes on."""
    restart = (
        PROGRAM.replace('case ["exit"]:', 'case ["again"]:\n'
        "                os.execv(sys.executable, [sys.executable, '-c', os.environ['AGAIN']])\n"
        '            case ["exit"]:')
    )  # fmt: skip
    process = start(restart, AGAIN=PROGRAM)
    tell(process, "work 1000 0")
    live.refresh(clock.later(1))
    with Live([process.pid]) as one:
        one.refresh(clock.later(0))
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("again\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        tell(process, "work 2 0")
        picture = live.refresh(clock.later(1))
        assert [(each.pid, each.state, each.calls) for each in picture.processes] == [
            (process.pid, "running", 2), (process.pid, "killed", 1000),
        ]  # fmt: skip
        assert len(one.refresh(clock.later(0)).processes) == 2
        assert row(picture.processes[0], "work", 10).row.calls == 2
        assert [each.calls for each in live.refresh(clock.later(11)).processes] == [2]
        assert [each.calls for each in one.refresh(clock.later(0)).processes] == [2]
    with Live([process.pid]) as one:
        assert [each.calls for each in one.refresh(clock.later(0)).processes] == [2]


def test_a_fork_is_a_process_of_its_own(live: Live, clock: Clock, start: Start) -> None:
    """The child's calls are the child's."""
    process = start(PROGRAM)
    tell(process, "work 5 0")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("fork\n")
    process.stdin.flush()
    child = int(process.stdout.readline())
    try:
        seen = {each.pid: each.calls for each in live.refresh(clock.later(1)).processes}
        assert seen == {process.pid: 5, child: 1}
    finally:
        os.kill(child, signal.SIGKILL)


CROWD = """if True:
    import os, signal, sys
    import libperf

    work = libperf.trace("work")(lambda: None)
    for number in range(int(sys.argv[1])):
        if not os.fork():
            for _ in range(number + 1):
                work()
            signal.pause()
    print("ready", flush=True)
    sys.stdin.read()
    os.killpg(0, signal.SIGKILL)
    """


@pytest.fixture
def crowd(folder: Path) -> Iterator[Callable[[int], None]]:
    """Start so many processes, which do nothing after 1, 2, 3, … calls."""
    started = []

    def start(count: int) -> None:
        command = [sys.executable, "-c", CROWD, str(count)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()

    yield start
    for process in started:
        process.communicate()


def until(live: Live, clock: Clock, holds: Callable[[Picture], bool]) -> Picture:
    """Children record on their own: look until they have."""
    for _ in range(100_000):
        picture = live.refresh(clock.later(0.1))
        if holds(picture):
            return picture
    raise AssertionError(picture)


def test_fifty_processes(live: Live, clock: Clock, crowd: Callable[[int], None]) -> None:
    """All of them are read, each with its own counts; when they are killed, all of them are known as dead."""
    crowd(50)
    picture = until(live, clock, lambda seen: sum(each.calls for each in seen.processes) == 50 * 51 / 2)
    assert sorted(each.calls for each in picture.processes) == list(range(1, 51))
    assert picture.more == 0
    os.killpg(os.getpgid(picture.processes[0].pid), signal.SIGKILL)
    picture = until(live, clock, lambda seen: {each.state for each in seen.processes} == {"killed"})
    assert sorted(each.calls for each in picture.processes) == list(range(1, 51))


def test_more_than_are_shown(
    clock: Clock, crowd: Callable[[int], None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work per look is bounded; the most active are shown, and the others are read in turns."""
    monkeypatch.setattr(live_module, "IN_TURN", 3)
    monkeypatch.setattr(live_module, "OPENED", 7)
    crowd(20)
    with Live(shown=5) as live:
        until(live, clock, lambda seen: len(live._known) == 20 and sum(w.calls for w in live._known.values()) == 210)
        read: dict[int, int] = {}
        refresh = Watched.refresh

        def counted(watched: Watched, now: int, pid: int | None = None) -> None:
            read[watched.pid] = read.get(watched.pid, 0) + 1
            refresh(watched, now, pid)

        monkeypatch.setattr(Watched, "refresh", counted)
        for _ in range(10):
            before = sum(read.values())
            picture = live.refresh(clock.later(1))
            assert sum(read.values()) - before <= 5 + 3
            assert (len(picture.processes), picture.more) == (5, 15)
        assert len(read) == 20  # everyone had a turn


# ---- files that are none ----


def test_files_that_cannot_be_read_are_named(live: Live, clock: Clock, start: Start, folder: Path) -> None:
    """Nonsense, half-written and foreign files are skipped, with the reason; the rest is shown. Later they are tried
    again. What is not called like a segment is none of ours."""
    process = start(PROGRAM)
    (segment,) = folder.glob("libperf-*/*.perf")
    home = segment.parent
    bad = {
        "11-aa.perf": b"", "12-bb.perf": b"x" * 70_000, "13-cc.perf": segment.read_bytes()[:4096],
        "nonsense.perf": b"y", "14-dd.perf.new": b"not yet", ".15-ee.perf": b"hidden", "notes.txt": b"",
    }  # fmt: skip
    for name, data in bad.items():
        (home / name).write_bytes(data)
    (home / "16-ff.perf").mkdir()
    os.mkfifo(home / "17-gg.perf")
    picture = live.refresh(clock.later(1))
    assert only(picture).pid == process.pid
    assert {path.name for path in picture.skipped} == {
        "11-aa.perf", "12-bb.perf", "13-cc.perf", "16-ff.perf", "17-gg.perf",
    }  # fmt: skip
    for path, why in picture.skipped.items():
        assert str(path) in why
    (home / "11-aa.perf").unlink()
    shutil.copy(segment, home / "18-hh.perf")  # a copy: nobody holds its lock
    (home / "12-bb.perf").write_bytes(segment.read_bytes())
    picture = live.refresh(clock.later(5))
    assert {path.name for path in picture.skipped} >= {"12-bb.perf"}
    picture = live.refresh(clock.later(10))
    assert {path.name for path in picture.skipped} == {"13-cc.perf", "16-ff.perf", "17-gg.perf"}
    assert only(picture).pid == process.pid


def test_a_file_cut_short_under_us(live: Live, clock: Clock, folder: Path, start: Start) -> None:
    """It is skipped from then on."""
    process = start(PROGRAM)
    (segment,) = folder.glob("libperf-*/*.perf")
    only(live.refresh(clock.later(1)))
    process.send_signal(signal.SIGSTOP)  # or it would write where there is no file any more
    with segment.open("r+b") as file:
        file.truncate(100)
    picture = live.refresh(clock.later(1))
    assert (picture.processes, list(picture.skipped)) == ([], [segment])


def test_noise_is_survived(clock: Clock, start: Start, folder: Path) -> None:
    """Two hundred spoiled segments: whatever they hold, everything can be asked and shown."""
    process = start(PROGRAM)
    tell(process, "work 50 5", "open a b c", "time t 1 2 3", "count cache.u.memory.hits 3", "count batcher.e.items 3")
    (segment,) = folder.glob("libperf-*/*.perf")
    good = segment.read_bytes()[: 4 * 65536]
    process.kill()
    process.communicate()
    used = [at for at, byte in enumerate(good) if byte]
    dice = random.Random(1)
    shown = 0
    for number in range(200):
        data = bytearray(good)
        for _ in range(dice.choice((1, 3, 20))):
            data[dice.choice(used)] = dice.choice((0, 1, 0x7F, 0xFF, dice.randrange(256)))
        path = segment.with_name(f"{number + 1}-x.perf")
        path.write_bytes(data)
        with Live([number + 1]) as live:
            live.refresh(clock.later(1))
            for seen in live.refresh(clock.later(1)).processes:
                shown += 1
                picture_dict(Picture(clock.now, 1.0, [seen], 0, {}), 10)
                seen.ticks_of(Kind.TOOL, "work")
                assert all(seen.age(record) >= 0 for record in seen.open)
                [seen.parents(record) for record in seen.open]
        path.unlink()
    assert shown > 100


# ---- the system ----


def test_memory_and_cpu(live: Live, clock: Clock, start: Start) -> None:
    """What the system says of the process that holds the segment."""
    start(PROGRAM)
    live.refresh(clock.later(1))
    seen = only(live.refresh(clock.later(1)))
    assert seen.usage is not None and 2**20 < seen.usage.rss < 2**32
    seen = only(live.refresh(clock.later(1)))
    assert seen.cpu is not None and seen.cpu >= 0


def test_this_process(folder: Path, name: str) -> None:
    """A process may look at itself."""
    libperf.Counter(name).add(3)
    path = libperf.segment_path()
    assert path is not None
    watched = Watched(path, int(lib.perf_clock_now_ns()))
    assert watched.pid == os.getpid()
    assert watched.metrics(None)[0][name] == 3
    watched.close()


def test_closing_twice(folder: Path) -> None:
    """Nothing is left open, and nothing happens the second time."""
    live = Live()
    live.close()
    live.close()
