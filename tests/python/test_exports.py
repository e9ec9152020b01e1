"""libperf.export(): real recordings in every format, files that are whole or not there, and names that come back."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.errors import InvalidError, NotFoundError, PerfError
from libperf.exports import find_format, written_whole
from libperf.exports.trace import OPEN, Trace
from libperf.names import Kind
from libperf.reader import Reader
from libperf.samples import Frame
from support_exports import NASTY, Pprof, Timeline, exported, record

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]
Segments = Callable[[], list[Path]]

FILES = ("perfetto", "speedscope", "folded", "pprof")  # formats that hold spans, and are read back here

# ---- what a program recorded, in every format ----

AGENT = """
import asyncio, threading, libperf

@libperf.trace
async def fetch(n):
    with libperf.span("ask", kind="llm", model="gpt-4o") as span:
        span.set(**{"gen_ai.usage.input_tokens": 5})
        span.log("asked", level="warning")
        await asyncio.sleep(0.001 * n)

@libperf.trace
async def main():
    await asyncio.gather(*(fetch(n) for n in range(3)))
    await asyncio.to_thread(libperf.wrap(work))

@libperf.trace
def work():
    sum(range(10_000))

libperf.Counter("pages").add(7)
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("agent"), AGENT)


def test_a_recorded_program_as_a_timeline(agent: Path) -> None:
    """Coroutines that overlap, a thread, log lines, counters, memory, whose turn it was."""
    with Reader(agent) as reader:
        found = Timeline(exported(reader, "perfetto").decode())
        pid = reader.info.pid
    turns = {slice["row"] for slice in found.slices if slice["row"].endswith("whose turn")}
    assert found.row("fetch") == found.row("fetch (2)") == [("fetch", 0), ("ask", 1)]
    assert "main thread: whose turn" in turns
    assert [event["args"]["level"] for event in found.of("i")] == ["warning"] * 3
    assert {event["name"] for event in found.of("C")} >= {"resident memory"}
    assert found.data["otherData"]["pages"] == "7"
    assert {event["pid"] for event in found.events} == {pid}
    assert ("started", "main", "work") in found.arrows and found.arrows.count(("started", "main", "fetch")) == 3


def test_a_recorded_program_as_stacks(agent: Path) -> None:
    """Folded and pprof agree, to the nanosecond."""
    with Reader(agent) as reader:
        folded = exported(reader, "folded", weight="wall").decode()
        profile = Pprof(exported(reader, "pprof"))
    lines = dict(line.rsplit(" ", 1) for line in folded.splitlines())
    assert {"main", "main;fetch", "main;fetch;llm:ask", "main;work"} == set(lines)
    totals: dict[str, int] = dict.fromkeys(lines, 0)
    for stack, values, _ in profile.samples:
        totals[";".join(stack)] += values["wall"]
    assert totals == {stack: int(total) for stack, total in lines.items()}


def test_every_format_reads_a_reader_that_was_read(agent: Path) -> None:
    """Records are given once to each reader; exports start anew, and the second is the same as the first."""
    with Reader(agent) as reader:
        assert len(list(reader.records())) > 5
        for to in FILES:
            assert exported(reader, to) == exported(reader, to)


def test_spans_parents_and_open_spans(start: Start, segments: Segments) -> None:
    """A process that runs: what is open ends now, and is marked; what it waits in has its children."""
    process = start("""if True:
        import sys, libperf
        with libperf.span("outer", step=1) as outer:
            with libperf.span("inner"):
                outer.log("line")
            with libperf.span("deep"):
                print("ready", flush=True)
                sys.stdin.read()
        """)
    with Reader(segments()[0]) as reader:
        trace = Trace.read(reader)
    spans = trace.spans
    rows = {trace.label(spans.name[row]): row for row in range(len(spans))}
    assert spans.parent[rows["inner"]] == spans.parent[rows["deep"]] == rows["outer"]
    assert [spans.status[rows[name]] for name in ("inner", "outer", "deep")] == [0, OPEN, OPEN]
    assert spans.end[rows["outer"]] == spans.end[rows["deep"]] >= spans.end[rows["inner"]]
    assert spans.attributes(rows["outer"]) == {"step": 1} and spans.attributes(rows["inner"]) == {}
    assert [(log.message, log.span) for log in trace.logs] == [("line", rows["outer"])]
    assert set(spans.thread) == {process.pid}


def test_samples_belong_to_spans_and_threads(run: Run, segments: Segments) -> None:
    """CPU samples and allocations that a sampler wrote come into every format that has a place for them."""
    done = run("""if True:
        import libperf
        from libperf._core import lib
        main = lib.perf_frame(0, b"main", 4, b"/srv/a.py", 9, 3)
        work = lib.perf_frame(main, b"work", 4, b"/srv/b.py", 9, 7)
        with libperf.span("busy") as span:
            for code, weight in ((lib.PERF_EVENT_SAMPLE, 1000), (lib.PERF_EVENT_ALLOCATED, 512)):
                lib.perf_event_write(code, 0, int(span.id, 16), work, weight)
        """)
    assert (done.returncode, done.stderr) == (0, "")
    frames = (Frame("main", "/srv/a.py", 3), Frame("work", "/srv/b.py", 7))
    texts = [f"{frame.function} ({frame.file}:{frame.line})" for frame in frames]
    with Reader(segments()[0]) as reader:
        assert [sample.stack for sample in Trace.read(reader).samples()] == [frames, frames]
        assert exported(reader, "folded").decode() == f"{';'.join(texts)} 1000\n"
        assert exported(reader, "folded", weight="allocated").decode() == f"{';'.join(texts)} 512\n"
        samples = Pprof(exported(reader, "pprof")).samples
        chart = Timeline(exported(reader, "perfetto").decode())
        scope = json.loads(exported(reader, "speedscope"))
    labels = {"span": "busy", "thread": "main thread"}
    assert samples[1:] == [(tuple(texts), {"cpu": 1000}, labels), (tuple(texts), {"alloc_space": 512}, labels)]
    assert chart.row("main thread: CPU samples") == [(texts[0], 0), (texts[1], 1)]
    assert [profile["name"] for profile in scope["profiles"]] == [
        "main thread: CPU samples",
        "main thread",
        "main thread: allocated bytes (sampled)",
    ]


# ---- names ----

NAMES = """
import json, sys, time, libperf
for name in json.loads(sys.argv[1]):
    with libperf.span(name, kind="tool", **{name: name}) as span:
        span.log(name)
        with libperf.span(name):
            time.sleep(0.0001)
"""


def unescaped(text: str) -> str:
    r"""What folded.escape() made of a name."""
    found, at = "", 0
    lengths = {"x": 4, "u": 6, "U": 10}
    while at < len(text):
        length = lengths.get(text[at + 1], 2) if text[at] == "\\" else 1
        part = text[at : at + length]
        found += part.encode("ascii").decode("unicode_escape") if length > 1 else part
        at += length
    return found


def names_in(to: str, data: bytes) -> set[str]:
    """The names of spans that somebody finds who reads the format."""
    if to == "perfetto":
        return {slice["name"] for slice in Timeline(data.decode()).slices}
    if to == "speedscope":
        return {frame["name"].removeprefix("tool:") for frame in json.loads(data.decode())["shared"]["frames"]}
    if to == "folded":
        parts = (part for line in data.decode().splitlines() for part in line.rpartition(" ")[0].split(";"))
        return {unescaped(part).removeprefix("tool:") for part in parts}
    return {name.removeprefix("tool:") for stack, _, _ in Pprof(data).samples for name in stack}


@pytest.mark.parametrize("to", FILES)
@pytest.mark.parametrize("seed", range(3))
def test_names_of_any_kind_come_back(run: Run, segments: Segments, to: str, seed: int) -> None:
    """Control characters, quotes, lone surrogates, emoji, 200 bytes: as names, as keys, as values, as lines."""
    dice = random.Random(seed)
    made = [
        "".join(chr(dice.choice((dice.randrange(1, 256), dice.randrange(1, 0x11000)))) for _ in range(9))
        for _ in range(30)
    ]
    done = run(NAMES, json.dumps(NASTY + made))
    assert (done.returncode, done.stderr) == (0, "")
    with Reader(segments()[0]) as reader:
        expected = {name.text for name in reader.names if name.kind is Kind.TOOL and reader.totals(name).count}
        assert len(expected) >= len(NASTY)
        data = exported(reader, to)
        if to == "folded":  # lines, whatever a name holds
            assert all(line.rpartition(b" ")[2].isdigit() for line in data.split(b"\n")[:-1])
            data = exported(reader, to, weight="wall")
    assert names_in(to, data) == expected


# ---- files that are damaged ----


def parsed(to: str, data: bytes) -> object:
    return (
        json.loads(data)
        if to in ("perfetto", "speedscope")
        else gzip.decompress(data)
        if to == "pprof"
        else data.decode()
    )


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_are_exported_or_refused(agent: Path, tmp_path: Path, seed: int) -> None:
    """Bytes overwritten or cut off anywhere: a file that can be parsed, or an error that names the recording."""
    dice = random.Random(seed)
    good = agent.read_bytes()
    used = [at for at, byte in enumerate(good) if byte]
    path, written = tmp_path / "damaged.perf", 0
    for _ in range(40):
        data = bytearray(good)
        for _ in range(dice.choice((1, 5, 40))):
            data[dice.choice(used)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        path.write_bytes(data[: dice.choice((len(data), len(data), dice.randrange(len(data))))])
        try:
            with Reader(path) as reader:
                for to in FILES:
                    parsed(to, exported(reader, to))
                    written += 1
        except PerfError as error:
            assert "damaged.perf" in str(error) or "no cpu samples" in str(error)
    assert written > 40


# ---- the function ----


def test_a_trace_file_a_process_a_reader_and_oneself(
    agent: Path, start: Start, tmp_path: Path, monkeypatch: Any
) -> None:
    """Each source has a name for its file when none is given; the path comes back."""
    monkeypatch.chdir(tmp_path)
    assert libperf.export(agent, to="speedscope") == Path("x.speedscope.json")
    assert libperf.export(str(agent), to="folded", weight="wall") == Path("x.folded")
    with Reader(agent) as reader:
        assert libperf.export(reader, to="pprof") == Path("x.pb.gz")
        assert not reader.closed
    process = start('import libperf\nwith libperf.span("a"): pass\nprint("ready", flush=True)\ninput()')
    monkeypatch.setenv("LIBPERF_DIR", str(tmp_path))
    assert libperf.export(process.pid, to="perfetto") == Path(f"{process.pid}.perfetto.json")
    assert Timeline(Path(f"{process.pid}.perfetto.json").read_text()).row("main thread") == [("a", 0)]
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with libperf.span("of this process"):
        assert libperf.export(to="perfetto") == Path(f"{os.getpid()}.perfetto.json")
    assert "of this process" in Path(f"{os.getpid()}.perfetto.json").read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_into_an_open_file(agent: Path) -> None:
    """A binary file stays open; what is written is the same as into a path."""
    for to in FILES:
        out = io.BytesIO()
        assert libperf.export(agent, to=to, out=out) is None
        assert parsed(to, out.getvalue())
        with Reader(agent) as reader:
            assert out.getvalue() == exported(reader, to)


def test_wrong_words(agent: Path) -> None:
    """They name what there is."""
    with pytest.raises(InvalidError, match="to='nosuch' is no format: use one of perfetto, speedscope, folded, pprof"):
        libperf.export(agent, to="nosuch")
    with pytest.raises(InvalidError, match="weight='cpu': format pprof has no options"):
        libperf.export(agent, to="pprof", weight="cpu")
    with pytest.raises(InvalidError, match="colour='red': format folded takes weight"):
        libperf.export(agent, to="folded", colour="red")
    with pytest.raises(NotFoundError, match=r"nosuch\.perf"):
        libperf.export("nosuch.perf", to="folded")


def test_what_cannot_be_written_is_said(agent: Path, tmp_path: Path) -> None:
    for out in (tmp_path / "no/such/folder.json", tmp_path):
        with pytest.raises(PerfError, match=f"cannot write {out}: "):
            libperf.export(agent, to="speedscope", out=out)
    with pytest.raises(PerfError, match="cannot write /dev/full: No space left"):
        libperf.export(agent, to="speedscope", out="/dev/full")


def test_a_file_is_replaced_only_by_a_whole_one(agent: Path, tmp_path: Path) -> None:
    """An export that fails leaves the old file, and nothing beside it; one that succeeds keeps its mode, and a link."""
    out, link = tmp_path / "out.folded", tmp_path / "link.folded"
    out.write_text("old")
    out.chmod(0o640)
    link.symlink_to(out)
    with pytest.raises(NotFoundError):
        libperf.export(agent, to="folded", out=out, weight="cpu")
    assert (out.read_text(), sorted(path.name for path in tmp_path.iterdir())) == ("old", ["link.folded", "out.folded"])
    libperf.export(agent, to="folded", out=link, weight="wall")
    assert out.read_text().startswith("main") and link.is_symlink()
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.folded", "out.folded"]


def test_what_is_no_ordinary_file_stays_what_it_is(tmp_path: Path) -> None:
    """A device is written into, never replaced."""
    with written_whole(Path("/dev/null")) as file:
        file.write(b"gone")
    assert Path("/dev/null").is_char_device()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with written_whole(pipe) as file:
        file.write(b"through")
    assert os.read(reading, 100) == b"through" and pipe.is_fifo()
    os.close(reading)


def test_two_exports_at_once_do_not_meet(agent: Path, tmp_path: Path) -> None:
    """Threads that write the same file: it is whole."""
    from concurrent.futures import ThreadPoolExecutor

    out = tmp_path / "out.json"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: libperf.export(agent, to="speedscope", out=out), range(12)))
    assert json.loads(out.read_text())["profiles"]
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_overwritten_records_are_said(run: Run, segments: Segments) -> None:
    """The notes of a format are what is missing."""
    code = """if True:
        import libperf
        libperf.configure(ring_bytes=64 * 1024)
        for _ in range(5000):
            with libperf.span("x"): pass
        """
    assert run(code).returncode == 0
    with Reader(segments()[0]) as reader:
        notes = Trace.read(reader).notes
        found = find_format("pprof", {})
        comments = Pprof(exported(reader, found.name)).comments
    assert len(notes) == 1 and notes[0].endswith("records were overwritten before they were read")
    assert comments[1:] == notes


def test_a_forked_child_exports_its_own(run: Run, tmp_path: Path) -> None:
    """Each process's spans, and only these."""
    done = run("""if True:
        import io, os, libperf
        def names():
            out = io.BytesIO()
            libperf.export(to="folded", out=out, weight="wall")
            return out.getvalue().decode().split()[::2]
        with libperf.span("before"): pass
        child = os.fork()
        with libperf.span("child" if child == 0 else "parent"): pass
        if child:
            os.waitpid(child, 0)
        print(names(), flush=True)
        """)
    assert done.stdout.splitlines() == ["['child']", "['before', 'parent']"]
    shutil.rmtree(tmp_path, ignore_errors=True)
