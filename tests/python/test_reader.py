"""Reading segments: one's own, a living one, a finished, a killed one, and files that are damaged or no segments."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf import PerfError
from libperf.errors import CorruptError, DeniedError, NotFoundError, VersionError
from libperf.reader import Reader, find_segment

Start = Callable[..., "subprocess.Popen[str]"]
Segments = Callable[[], list[Path]]

PROGRAM = """if True:
    import sys
    import libperf

    @libperf.trace("work", tags={"a": 1})
    def work():
        with libperf.span("inner", kind="llm", model="m") as span:
            span.set(**{"gen_ai.usage.input_tokens": 5})
            span.log("one line")

    for _ in range(3):
        work()
    libperf.Counter("items").add(7)
    libperf.Gauge("level").set(0.5)
    libperf.Timing("wait").record(0.25)
    open_one = libperf.span("outer", step="x")
    open_one.__enter__()
    print("ready", flush=True)
    for line in sys.stdin:
        work()
        print("done", flush=True)
    """


def totals(reader: Reader) -> dict[str, Any]:
    return {name.text: reader.totals(name) for name in reader.names if name.kind.is_operation}


def tell(process: subprocess.Popen[str]) -> None:
    """Let the program work once more."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


# ---- who is read ----


def test_a_living_process_is_read_from_outside(start: Start, segments: Segments) -> None:
    """Names, totals, records, open spans, metrics; it goes on undisturbed, and a refresh shows what is new."""
    process = start(PROGRAM)
    (path,) = segments()
    with Reader(path) as reader:
        info = reader.info
        assert (info.pid, info.alive, info.finished, info.losses) == (process.pid, True, False, {})
        assert totals(reader)["work"].count == 3
        assert totals(reader)["inner"].quantities == {"gen_ai.usage.input_tokens": 15}
        values = {name.kind: reader.totals(name) for name in reader.names if name.text in ("items", "level", "wait")}
        assert values[libperf.Kind.COUNTER].value == 7
        assert values[libperf.Kind.GAUGE].gauge == 0.5
        assert values[libperf.Kind.TIMING].sum == 0.25
        records = list(reader.records())
        assert [record.name for record in records] == ["inner", "inner", "work"] * 3
        assert list(reader.records()) == []
        (outer,) = reader.open_spans()
        assert (outer.name, outer.end, outer.attributes) == ("outer", None, {"step": "x"})
        tell(process)
        assert totals(reader)["work"].count == 3  # the picture is that of before
        reader.refresh()
        assert totals(reader)["work"].count == 4
        assert [record.name for record in reader.records() if record.type == "span"] == ["inner", "work"]
    assert process.poll() is None


def test_a_record_says_everything(start: Start, segments: Segments) -> None:
    """Parent, trace, thread, kind, status, times in order, attributes."""
    process = start(PROGRAM)
    with Reader(segments()[0]) as reader:
        log, inner, work, *_ = reader.records()
    assert (inner.kind, inner.status, inner.parent, inner.trace_id) == (libperf.Kind.LLM, 0, work.id, work.trace_id)
    assert (work.attributes, inner.attributes) == ({"a": 1}, {"model": "m", "gen_ai.usage.input_tokens": 5})
    assert (log.parent, log.status, log.attributes) == (inner.id, 2, {"message": "one line"})
    assert work.thread == inner.thread == process.pid
    assert inner.end is not None and work.end is not None
    assert work.start <= inner.start <= log.start <= inner.end <= work.end


@pytest.mark.parametrize("how", ["finished", "killed"])
def test_a_dead_process_is_read(start: Start, segments: Segments, how: str) -> None:
    """Everything it recorded is there, and whether it came to its end; what it was doing then is open."""
    process = start(PROGRAM)
    with Reader(segments()[0]) as reader:
        if how == "killed":
            process.kill()
        process.communicate()
        reader.refresh()
        assert (reader.info.alive, reader.info.finished) == (False, how == "finished")
        assert totals(reader)["work"].count == 3
        assert [span.name for span in reader.open_spans()] == ["outer"]
        assert len(list(reader.records())) == 9
    assert process.returncode == (-9 if how == "killed" else 0)


def test_a_process_is_found_by_its_number(start: Start, segments: Segments, monkeypatch: Any, tmp_path: Path) -> None:
    """find_segment(), dead or alive; an unknown one is named, with the folder and what to check."""
    process = start(PROGRAM)
    monkeypatch.setenv("LIBPERF_DIR", str(tmp_path))
    assert find_segment(process.pid) == segments()[0]
    process.kill()
    process.communicate()
    assert find_segment(process.pid) == segments()[0]
    with pytest.raises(NotFoundError, match=f"no segment of process 999999999 in {tmp_path}.*same LIBPERF_DIR"):
        find_segment(999999999)
    monkeypatch.setenv("LIBPERF_DIR", str(tmp_path / "other"))
    with pytest.raises(NotFoundError, match="has recorded anything yet"):
        find_segment(process.pid)


def test_ones_own_process_is_read(name: str) -> None:
    """Reader() and Reader(segment_path()) see the same."""
    libperf.Counter(name).add(3)
    with Reader() as own, Reader(libperf.segment_path()) as by_path:
        for reader in (own, by_path):
            assert (reader.info.pid, reader.info.alive) == (os.getpid(), True)
            assert [reader.totals(found).value for found in reader.names if found.text == name] == [3]


def test_an_overwritten_ring_is_counted(run: Any) -> None:
    """Counts are exact whatever the ring keeps; records read and records lost add up to all there were."""
    code = """if True:
        import libperf
        from libperf.reader import Reader

        libperf.configure(ring_bytes=64 * 1024)
        work = libperf.trace("work")(lambda: None)
        reader = Reader()
        seen = 0
        for turn in range(20):
            for _ in range(300 * turn):
                work()
            reader.refresh()
            seen += sum(1 for _ in reader.records())
        (name,) = (name for name in reader.names if name.text == "work")
        print(reader.totals(name).count, seen + reader.lost, 0 < reader.lost < seen + reader.lost, reader.info.losses)
        print(libperf.report().lost > 0, "overwritten" in str(libperf.report()))
        """
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["57000 57000 True {}", "True True"]


# ---- what is no segment ----


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: None, NotFoundError),
        (lambda path: path.write_bytes(b""), CorruptError),
        (lambda path: path.write_text("no segment\n" * 20_000), CorruptError),
        (lambda path: path.write_bytes(bytes(1 << 20)), CorruptError),
        (lambda path: path.mkdir(), PerfError),
        (os.mkfifo, PerfError),
        (lambda path: path.symlink_to("/dev/null"), PerfError),
    ],
    ids=["missing", "empty", "text", "zeros", "folder", "pipe", "device"],
)
def test_what_is_no_segment_is_named(tmp_path: Path, make: Callable[[Path], object], error: type[PerfError]) -> None:
    """An error of libperf's with the path in it; nothing waits and nothing crashes."""
    path = tmp_path / "thing.perf"
    make(path)
    with pytest.raises(error) as raised:
        Reader(path)
    assert f"reading {str(path)!r}: " in str(raised.value)


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """DeniedError, with the path."""
    path = tmp_path / "thing.perf"
    path.touch(mode=0)
    user = os.geteuid()
    if not user:  # root may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(DeniedError, match=r"thing\.perf"):
            Reader(path)
    finally:
        os.seteuid(user)


@pytest.fixture
def whole(start: Start, segments: Segments, tmp_path: Path) -> Path:
    """A copy of a good segment."""
    start(PROGRAM).communicate()
    return Path(shutil.copy(segments()[0], tmp_path / "copy.perf"))


def read_everything(path: Path) -> int:
    """Everything that a reader can be asked for; PerfError is the only error allowed."""
    try:
        with Reader(path) as reader:
            found = [reader.totals(name).count for name in reader.names]
            for name in reader.names:
                reader.histogram(name).quantile(0.99)
            read = len(list(reader.records())) + len(reader.open_spans())
            str(libperf.Report.read(reader))
            return len(found) + read + reader.info.damaged
    except PerfError as error:
        assert str(path) in str(error)
        return 0


def test_another_version_is_named(whole: Path) -> None:
    """VersionError: it says that the file is fine, but of another libperf."""
    data = bytearray(whole.read_bytes())
    data[8] += 1
    whole.write_bytes(data)
    with pytest.raises(VersionError, match="version"):
        Reader(whole)


@pytest.mark.parametrize("kept", [1, 100, 4096, 65535, 65536, 65537, 100_000, 131_072])
def test_a_file_cut_short(whole: Path, kept: int) -> None:
    """An error, or what is left of it, at whatever length; never a signal."""
    with whole.open("r+b") as file:
        file.truncate(kept)
    assert read_everything(whole) >= 0
    if kept < 65536:
        with pytest.raises(CorruptError):
            Reader(whole)


def test_a_file_cut_short_under_its_reader(whole: Path) -> None:
    """refresh() raises with the path, and the picture of before stays."""
    with Reader(whole) as reader:
        before = totals(reader)
        with whole.open("r+b") as file:
            file.truncate(10)
        with pytest.raises(CorruptError, match=r"copy\.perf"):
            reader.refresh()
        assert totals(reader) == before


@pytest.mark.parametrize("seed", range(5))
def test_noise_never_crashes(whole: Path, seed: int) -> None:
    """A hundred times: some bytes overwritten, then everything read. Most files are still of use."""
    dice = random.Random(seed)
    good = whole.read_bytes()[: 4 * 65536]
    used = [at for at, byte in enumerate(good) if byte]
    found = 0
    for _ in range(100):
        data = bytearray(good)
        for _ in range(dice.choice((1, 3, 20))):
            at = dice.choice(used)
            data[at] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        whole.write_bytes(data)
        found += read_everything(whole) > 0
    assert found > 50
