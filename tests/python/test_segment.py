"""Where measurements lie: the folder and who may read it, settings, leftovers, and what happens when there is no room."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.errors import OutOfRangeError, StartedError
from libperf.reader import Reader

Segments = Callable[[], list[Path]]

WORK = """
import libperf

work = libperf.trace("work")(lambda: None)
for _ in range(10):
    work()
print(libperf.segment_path())
print(libperf.snapshot()["operations"][0]["calls"])
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---- folder ----


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_may_read_it(run: Any, tmp_path: Path, umask: int) -> None:
    """Files are 0600 in a folder of 0700, whatever the umask lets through."""
    path = Path(run(f"import os\nos.umask({umask})\n{WORK}").stdout.splitlines()[0])
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert path.parent == tmp_path / f"libperf-{os.geteuid()}"


def test_the_folder_is_made(run: Any, tmp_path: Path) -> None:
    """LIBPERF_DIR need not exist yet; a segment is named after its process."""
    folder = tmp_path / "new folder é"
    done = run(WORK + "import os\nprint(os.getpid())", LIBPERF_DIR=str(folder))
    path, calls, pid = done.stdout.splitlines()
    assert (calls, done.stderr) == ("10", "")
    assert Path(path).parent.parent == folder
    assert Path(path).name.startswith(f"{pid}-")


def test_the_runtime_folder_is_the_default(run: Any, tmp_path: Path) -> None:
    """Without LIBPERF_DIR: $XDG_RUNTIME_DIR."""
    done = run(WORK, LIBPERF_DIR="", XDG_RUNTIME_DIR=str(tmp_path))
    assert Path(done.stdout.splitlines()[0]).parent.parent == tmp_path


def test_off_keeps_it_private(run: Any, segments: Segments) -> None:
    """LIBPERF_DIR=off: no file anywhere, no warning, and the process can still read itself."""
    done = run(WORK, LIBPERF_DIR="off")
    assert (done.stdout.splitlines(), done.stderr, done.returncode) == (["None", "10"], "", 0)
    assert segments() == []


def file_in_the_way(path: Path) -> None:
    path.write_text("a file")


def open_to_everybody(path: Path) -> None:
    (path / f"libperf-{os.geteuid()}").mkdir(parents=True)
    (path / f"libperf-{os.geteuid()}").chmod(0o777)


def link_to_another(path: Path) -> None:
    path.mkdir()
    (path.parent / "elsewhere").mkdir(mode=0o700)
    (path / f"libperf-{os.geteuid()}").symlink_to(path.parent / "elsewhere")


def nothing_there(path: Path) -> None:
    """Not even the folder in which it could be made."""


CASES = [
    ("wanted", file_in_the_way),
    ("wanted", open_to_everybody),
    ("wanted", link_to_another),
    ("no/such/folder", nothing_there),
]


@pytest.mark.parametrize(("wanted", "make"), CASES)
def test_a_folder_that_cannot_be_used(run: Any, tmp_path: Path, wanted: str, make: Callable[[Path], None]) -> None:
    """One warning names the folder and the way out; the program goes on, and can read itself; no file is made."""
    folder = tmp_path / wanted
    make(folder)
    done = run(WORK, LIBPERF_DIR=str(folder))
    assert (done.stdout.splitlines(), done.returncode) == (["None", "10"], 0)
    (warning,) = done.stderr.splitlines()
    assert warning.startswith(f"libperf: cannot write to {folder}/libperf-{os.geteuid()} (")
    assert "set LIBPERF_DIR to a folder you own" in warning
    assert list(tmp_path.rglob("*.perf*")) == []
    assert run(WORK, LIBPERF_DIR=str(folder), LIBPERF_QUIET="1").stderr == ""


# ---- settings ----


def test_configure_goes_before_the_environment(run: Any, tmp_path: Path) -> None:
    """Service, folder and size as told, and readers see them."""
    mine = tmp_path / "mine"
    code = f"import libperf\nlibperf.configure(service='api', dir={str(mine)!r}, max_bytes=1 << 20)\n{WORK}"
    done = run(code, LIBPERF_SERVICE="other", LIBPERF_MAX_BYTES="2000000")
    with Reader(Path(done.stdout.splitlines()[0])) as reader:
        assert (reader.info.service, reader.info.max_bytes) == ("api", 1 << 20)
        assert reader.path is not None and reader.path.is_relative_to(mine)
    assert done.stderr == ""


def test_the_environment_is_read(run: Any) -> None:
    """LIBPERF_SERVICE and LIBPERF_MAX_BYTES, when configure() says nothing of them."""
    done = run(f"import libperf\nlibperf.configure()\n{WORK}", LIBPERF_SERVICE="svc", LIBPERF_MAX_BYTES="1048576")
    with Reader(Path(done.stdout.splitlines()[0])) as reader:
        assert (reader.info.service, reader.info.max_bytes) == ("svc", 1 << 20)


@pytest.mark.parametrize("text", ["much", "-1", "100", "64MiB", "99999999999999999999", " "])
def test_a_setting_that_makes_no_sense(run: Any, text: str) -> None:
    """One warning names it and its range; the default is used."""
    done = run(WORK + WORK, LIBPERF_MAX_BYTES=text)
    (warning,) = done.stderr.splitlines()
    assert warning.startswith(f"libperf: LIBPERF_MAX_BYTES={text} is not a number of bytes from 262144 to 4294967296")
    with Reader(Path(done.stdout.splitlines()[0])) as reader:
        assert reader.info.max_bytes == 64 << 20


@pytest.mark.parametrize(
    "wrong",
    [{"max_bytes": 1}, {"max_bytes": -1}, {"max_bytes": 10**30}, {"ring_bytes": 0}, {"ring_bytes": 1 << 40}],
    ids=repr,
)
def test_a_size_out_of_range_is_named(run: Any, wrong: dict[str, int]) -> None:
    """OutOfRangeError holds the value, and configure() can be called again."""
    code = f"""
import libperf
try:
    libperf.configure(**{wrong})
except libperf.errors.OutOfRangeError as error:
    print(error)
libperf.configure(max_bytes=1 << 20)
"""
    done = run(code)
    ((field, value),) = wrong.items()
    assert f"{field}={value!r}" in done.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert issubclass(OutOfRangeError, ValueError)


def test_configure_after_a_record_is_too_late(name: str) -> None:
    """StartedError says what to do."""
    libperf.Counter(name).add()
    with pytest.raises(StartedError, match=r"too late.*call it first"):
        libperf.configure(service="x")


def test_configure_when_the_recording_came_first(run: Any, segments: Segments) -> None:
    """In a program that is profiled from before its first line the service is set; what is not is said, in one line."""
    code = (
        f"import libperf\nlibperf.configure(service='shop')\n{WORK}libperf.configure(dir='/nosuch', max_bytes=1 << 20)"
    )
    done = run(code, LIBPERF_PROFILE="1", LIBPERF_SERVICE="before")
    (warning,) = done.stderr.splitlines()
    assert warning.endswith("does not change dir (LIBPERF_DIR), max_bytes (LIBPERF_MAX_BYTES)")
    (segment,) = segments()
    with Reader(segment) as reader:
        assert (done.returncode, reader.info.service, reader.info.max_bytes) == (0, "shop", 64 << 20)


def test_nothing_is_made_before_the_first_record(run: Any, segments: Segments) -> None:
    """Importing and decorating makes no file; segment_path() says None."""
    done = run(
        "import libperf\nlibperf.trace(len)\nlibperf.Counter('a')\nlibperf.flush()\nprint(libperf.segment_path())"
    )
    assert (done.stdout, segments()) == ("None\n", [])


def test_flush_marks_what_os_exit_would_leave_open(run: Any, segments: Segments) -> None:
    """With it a program that ends by os._exit() counts as finished; without it as killed."""
    for end, finished in (("", False), ("libperf.flush()\n", True)):
        run(f"import os\n{WORK}{end}os._exit(0)")
        with Reader(max(segments(), key=lambda path: path.stat().st_mtime_ns)) as reader:
            assert reader.info.finished is finished


# ---- no room ----


def test_the_bound_is_kept(run: Any, segments: Segments) -> None:
    """At max_bytes: one warning, totals go on, and every record is kept, overwritten or dropped, and counted as that."""
    code = """
import libperf

libperf.configure(max_bytes=256 * 1024)
work = libperf.trace("work")(lambda: None)
for _ in range(20_000):
    work()
print("went on")
"""
    done = run(code)
    assert (done.stdout, done.returncode) == ("went on\n", 0)
    (warning,) = done.stderr.splitlines()
    assert "has reached its 262144 bytes" in warning and "set LIBPERF_MAX_BYTES higher" in warning
    (path,) = segments()
    assert path.stat().st_size == 256 * 1024
    with Reader(path) as reader:
        kept = len(list(reader.records()))
        assert [reader.totals(name).count for name in reader.names if name.text == "work"] == [20_000]
        assert 0 < kept == 20_000 - reader.lost - reader.info.dropped_records


FILL = """
import threading
import libperf

work = libperf.trace("work", tags={"text": "x" * 100})(lambda: None)

def many():
    for _ in range(30_000):
        work()

full, over = threading.Event(), threading.Event()

def first():  # what it has filled is its own as long as it lives
    many()
    full.set()
    over.wait()

threads = [threading.Thread(target=first), *(threading.Thread(target=many) for _ in range(3))]
threads[0].start()
full.wait()
for thread in threads[1:]:
    thread.start()
for thread in threads[1:]:
    thread.join()
over.set()
threads[0].join()
with libperf.Reader() as reader:
    totals = [reader.totals(name) for name in reader.names if name.text == "work"]
    read = sum(1 for _ in reader.records())
    info = reader.info
    print(0 < totals[0].count <= 120_000, read + reader.lost + info.dropped_records, info.dropped_records > 0)
"""


def in_small_folder(folder: Path, *before: str) -> subprocess.CompletedProcess[str]:
    """Run FILL with a file system of 1 MB mounted at `folder`, seen by that process alone."""
    mount = f'mount -t tmpfs -o size=1m,mode=0700 tmpfs "$1" && {" && ".join((*before, "exec"))} "$2" -c "$3"'
    command = ["unshare", "--mount", "--map-root-user", "--user", "sh", "-c", mount, "sh", folder, sys.executable, FILL]
    if os.geteuid() == 0:
        del command[2:4]
    done = subprocess.run(
        command, text=True, capture_output=True, timeout=60, env={**os.environ, "LIBPERF_DIR": str(folder)}
    )
    if done.returncode and ("unshare:" in done.stderr or "mount:" in done.stderr):
        pytest.skip(f"no file system of one's own can be mounted here: {done.stderr.strip()}")
    return done


@pytest.mark.skipif(not shutil.which("unshare"), reason="unshare (util-linux) is not installed")
def test_a_file_system_that_fills_up(tmp_path: Path) -> None:
    """No SIGBUS: the program goes on, exactly one warning, and everything is either kept or counted as lost."""
    done = in_small_folder(tmp_path)
    assert (done.stdout, done.returncode) == ("True 120000 True\n", 0)
    (warning,) = done.stderr.splitlines()
    assert warning.startswith(f"libperf: no more room for measurements in {tmp_path}/libperf-")
    assert "set LIBPERF_DIR to a folder with room" in warning


@pytest.mark.skipif(not shutil.which("unshare"), reason="unshare (util-linux) is not installed")
def test_a_file_system_that_is_full(tmp_path: Path) -> None:
    """No room even for the first chunk: one warning, and private memory instead."""
    done = in_small_folder(tmp_path, 'head -c 2m /dev/zero 2>/dev/null >"$1/full" || true')
    assert (done.stdout.split()[:2], done.returncode) == (["True", "120000"], 0)
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("libperf: cannot ") and "set LIBPERF_DIR to a folder" in warning


# ---- leftovers ----


def test_leftovers_of_dead_processes_are_removed(run: Any, start: Any, segments: Segments, tmp_path: Path) -> None:
    """The next start removes what is over a day old or beyond the newest 32; never a living one's, nor other files."""
    living = start("import libperf\nlibperf.Counter('a').add()\nprint('ready', flush=True)\ninput()")
    run(WORK)
    folder = segments()[0].parent
    (live,) = folder.glob(f"{living.pid}-*")
    (dead,) = set(segments()) - {live}
    others = [folder / "notes.txt", folder / "directory.perf"]
    others[0].touch()
    others[1].mkdir()
    copies = [folder / f"{number}-{number:016x}.perf" for number in range(1, 41)]
    now = time.time()
    for age, path in enumerate(copies):
        path.write_bytes(dead.read_bytes()[:65536])
        os.utime(path, (now - 60 * age - 60,) * 2)
    for path in (live, copies[0], *others):
        os.utime(path, (now - 25 * 3600,) * 2)
    run(WORK)
    left = set(segments())
    assert live in left and copies[0] not in left
    assert [path in left for path in copies[1:]] == [True] * 31 + [False] * 8
    assert all(path.exists() for path in others)
