"""How much memory there is, and who hears when it runs out: over made-up /proc and /sys, and over the real ones."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from libperf import memory
from libperf.memory import process
from libperf.memory.levels import Level, Pressure, Watch, judge
from libperf.memory.process import Limits, find_limits

GIB = 2**30


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def machine(total: int = 16, available: int = 8) -> dict[str, str]:
    """GiB."""
    text = f"MemTotal: {total * GIB // 1024} kB\nMemFree: 1 kB\nMemAvailable:   {available * GIB // 1024} kB\nHuge: 3\n"
    return {"proc/meminfo": text}


def version_2(path: str, **files: object) -> dict[str, str]:
    folder = f"sys/fs/cgroup{path}".rstrip("/")
    return {f"{folder}/memory.{name}": f"{value}\n" for name, value in files.items()}


OURS = {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/cgroup.controllers": "memory\n"}


# ---- limits ----


def test_the_machine(tmp_path: Path) -> None:
    """Without control groups the machine's memory is the limit."""
    limits = find_limits(write(tmp_path, machine()))
    assert limits == Limits(16 * GIB, 8 * GIB, "machine", 8 * GIB, 0.0, 0.0)


def test_a_control_group(tmp_path: Path) -> None:
    """Version 2: its own limit, and how much is used without files that can be dropped."""
    stat = f"anon 5\ninactive_file {GIB}\nactive_file 7"
    files = {**machine(), **OURS, **version_2("/a/b", max=4 * GIB, current=3 * GIB, stat=stat)}
    limits = find_limits(write(tmp_path, files))
    assert (limits.limit, limits.used, limits.where) == (4 * GIB, 2 * GIB, "control group")


def test_the_nearest_of_several_limits(tmp_path: Path) -> None:
    """A group is in others, which have limits, too; and memory.high slows down before memory.max ends it."""
    files = {
        **machine(),
        **OURS,
        **version_2("/a/b", max="max", high=3 * GIB, current=GIB),
        **version_2("/a", max=8 * GIB, current=7 * GIB),
    }
    limits = find_limits(write(tmp_path, files))
    assert (limits.limit, limits.used) == (8 * GIB, 7 * GIB)


def test_a_full_machine_is_nearer_than_a_wide_group(tmp_path: Path) -> None:
    """A group may have more room than the machine has left."""
    files = {**machine(16, 1), **OURS, **version_2("/a/b", max=8 * GIB, current=GIB)}
    assert find_limits(write(tmp_path, files)).where == "machine"
    (tmp_path / "sys/fs/cgroup/a/b/memory.max").write_text(str(64 * GIB))  # more than there is
    assert find_limits(tmp_path).where == "machine"


def test_in_a_container(tmp_path: Path) -> None:
    """The group's path is the host's, and not visible: the root of what is visible is ours."""
    files = {**machine(), **OURS, **version_2("", max=2 * GIB, current=GIB), "proc/self/cgroup": "0::/../../x\n"}
    assert find_limits(write(tmp_path, files)).limit == 2 * GIB


def test_version_1(tmp_path: Path) -> None:
    """The older hierarchy, in which no limit is a large number."""
    folder = "sys/fs/cgroup/memory/docker/x"
    files = {
        **machine(),
        "proc/self/cgroup": "12:cpu,cpuacct:/docker/x\n5:memory:/docker/x\n0::/system\n",
        f"{folder}/memory.limit_in_bytes": f"{2 * GIB}\n",
        f"{folder}/memory.usage_in_bytes": f"{GIB}\n",
        f"{folder}/memory.stat": f"total_inactive_file {GIB // 2}\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{9 * GIB}\n",
    }
    limits = find_limits(write(tmp_path, files))
    assert (limits.limit, limits.used) == (2 * GIB, GIB // 2)


@pytest.mark.parametrize(
    "garbage", ["", "\n", "max", "-5", "0x10", "\0\0", "some", "some avg10=x", "a b c\n:::\n", "9" * 400]
)
def test_files_of_garbage(tmp_path: Path, garbage: str) -> None:
    """Whatever lies there, there is an answer."""
    names = ("proc/meminfo", "proc/self/cgroup", "proc/self/status", "proc/pressure/memory")
    groups = version_2("/a/b", max=garbage, current=garbage, high=garbage, stat=garbage, pressure=garbage)
    root = write(tmp_path, {**OURS, **groups})
    assert isinstance(judge(find_limits(root)), Pressure)
    assert isinstance(judge(find_limits(write(tmp_path, dict.fromkeys(names, garbage)))), Pressure)
    assert judge(find_limits(tmp_path / "nowhere")).level is Level.NONE


def test_stalls(tmp_path: Path) -> None:
    """The group's own pressure, else the machine's."""
    lines = "some avg10={} avg60=0.00 avg300=0.00 total=1\nfull avg10={} avg60=0.00 avg300=0.00 total=1\n"
    root = write(tmp_path, {**machine(), "proc/pressure/memory": lines.format("12.50", "1.00")})
    assert (find_limits(root).stalled_some, find_limits(root).stalled_full) == (0.125, 0.01)
    write(root, {**OURS, **version_2("/a/b", pressure=lines.format("60.00", "40.00"), max="max", current=1)})
    assert (find_limits(root).stalled_some, find_limits(root).stalled_full) == (0.6, 0.4)


# ---- levels ----


@pytest.mark.parametrize(
    ("used", "some", "full", "level"),
    [
        (0, 0, 0, Level.NONE),
        (799, 0, 0, Level.NONE),
        (801, 0, 0, Level.SOME),
        (901, 0, 0, Level.HIGH),
        (951, 0, 0, Level.CRITICAL),
        (1500, 0, 0, Level.CRITICAL),
        (0, 0.099, 0.049, Level.NONE),
        (0, 0.10, 0, Level.SOME),
        (0, 0.10, 0.05, Level.HIGH),
        (0, 0.5, 0.30, Level.CRITICAL),
        (901, 0.5, 0, Level.HIGH),
    ],
)
def test_levels(used: int, some: float, full: float, level: Level) -> None:
    """The level is the highest that anything asks for; it says why."""
    found = judge(Limits(1000, used, "machine", None, some, full))
    assert found.level is level
    assert (found.why == "there is enough") == (level is Level.NONE)
    assert found.left == max(0, 1000 - used)
    assert json.loads(json.dumps(found.to_dict()))["level"] == level.name.lower()


def test_where_nothing_is_known() -> None:
    """Level NONE, and None for what is not known."""
    found = judge(Limits(None, None, "machine", None, 0.0, 0.0))
    assert (found.level, found.left, found.limit) == (Level.NONE, None, None)


# ---- callbacks ----


def at(level: Level) -> Pressure:
    return Pressure(level, "made up", 1, 2, 1, 0.0)


class Made:
    """A pressure that is set by hand, and a watch that looks when it is told to."""

    def __init__(self) -> None:
        self.now = at(Level.NONE)
        self.watch = Watch(lambda: self.now, interval=1e9)
        self.told: list[Level] = []

    def add(self) -> Callable[[], None]:
        return self.watch.add(lambda pressure: self.told.append(pressure.level))

    def set(self, level: Level) -> None:
        self.now = at(level)
        self.watch.look()


@pytest.fixture
def made() -> Iterator[Made]:
    made = Made()
    yield made
    assert made.watch._stop is None  # whoever added has taken back


def test_a_change_is_told_once(made: Made) -> None:
    """Up and down, each change once; nothing while the level stays."""
    take_back = made.add()
    for level in (Level.NONE, Level.HIGH, Level.HIGH, Level.CRITICAL, Level.NONE, Level.NONE):
        made.set(level)
    assert made.told == [Level.HIGH, Level.CRITICAL, Level.NONE]
    take_back()
    made.set(Level.HIGH)
    assert made.told == [Level.HIGH, Level.CRITICAL, Level.NONE]


def test_a_thread_looks_while_somebody_listens() -> None:
    """Started by the first callback, which hears at once when it is bad already; it ends with the last one."""
    told = threading.Event()
    watch = Watch(lambda: at(Level.HIGH), interval=0.01)
    before = set(threading.enumerate())
    first, second = watch.add(lambda pressure: told.set()), watch.add(print)
    assert told.wait(30)
    (thread,) = set(threading.enumerate()) - before
    assert (thread.daemon, thread.name) == (True, "libperf memory")
    first()
    first()  # twice is once
    assert thread.is_alive()
    second()
    thread.join(30)
    assert not thread.is_alive()


def test_a_callback_that_fails(made: Made, caplog: pytest.LogCaptureFixture) -> None:
    """What it raises is logged; the others hear, too, and so they do next time."""
    take_back = [made.watch.add(lambda pressure: 1 / 0), made.add()]
    made.set(Level.SOME)
    made.set(Level.NONE)
    assert made.told == [Level.SOME, Level.NONE]
    assert caplog.text.count("ZeroDivisionError") == 2
    for each in take_back:
        each()


def test_a_forked_child_goes_on(made: Made) -> None:
    """The thread is not there after a fork; another one takes its place."""
    take_back = made.add()
    child = os.fork()
    if not child:
        made.watch.after_fork()
        names = [thread.name for thread in threading.enumerate()]
        os._exit(0 if "libperf memory" in names else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    take_back()


def test_wrong_callback() -> None:
    """An error that names what was given."""
    with pytest.raises(TypeError, match=r"on_pressure\(3\)"):
        memory.on_pressure(3)  # type: ignore[arg-type]


# ---- this machine ----


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_usage_of_this_process() -> None:
    """Resident memory and its peak are there, and grow when memory is touched."""
    before = memory.usage()
    held = bytearray(b"x" * (50 * 2**20))
    after = memory.usage(pss=True)
    assert before.rss is not None and after.rss is not None and after.peak is not None and after.pss is not None
    assert after.rss - before.rss > 40 * 2**20
    assert after.peak >= after.rss
    assert 0 < after.pss <= after.rss * 1.1
    assert (before.pss, len(held)) == (None, 50 * 2**20)
    assert after.limit is not None and after.limit_used is not None and 0 < after.limit_used <= after.limit
    counted = not os.environ.get("PYTHONMALLOC", "").startswith("malloc")  # which counts none
    assert (after.python_blocks > 1000) is counted
    assert json.loads(json.dumps(after.to_dict()))["rss"] == after.rss
    with memory.counting(sample_bytes=0):
        bytearray(1000)
        assert memory.usage().allocated_bytes > 1000


def test_without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no /proc, the peak is known and the rest is None."""
    monkeypatch.setattr(process, "ROOT", tmp_path)
    found = memory.usage()
    assert (found.rss, found.pss, found.limit, found.available) == (None, None, None, None)
    assert found.peak is not None and found.peak > 2**20


def test_pressure_of_this_machine() -> None:
    """There is an answer, with a level and a reason."""
    found = memory.pressure()
    assert found.level in Level
    assert found.why
