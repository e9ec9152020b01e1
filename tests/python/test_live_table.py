"""Lines for people: what fits, what stands out, what goes first when the terminal is narrow."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console, Group

from libperf._core import lib
from libperf.live import SORTS, Live, Picture
from libperf.live.table import (
    NOBODY,
    View,
    list_lines,
    process_lines,
    sorted_processes,
    span_of_time,
    spark,
    window,
)
from libperf.live.watched import SECOND, Watched

Start = Callable[..., "subprocess.Popen[str]"]

PROGRAM = """if True:
    import sys
    import libperf

    libperf.configure(service=sys.argv[1])
    slow, broken = libperf.trace("slow")(lambda: sum(range(100_000))), libperf.trace("broken")(lambda: 1 / 0)
    often = libperf.trace("a name that is much too long for a narrow terminal, 名前")(lambda: None)
    for _ in range(int(sys.argv[2])):
        often()
    for _ in range(5):
        slow()
        try:
            broken()
        except ZeroDivisionError:
            pass
    for number in range(30):
        span = libperf.span(f"step {number}", kind="node", text="a\\x1b[2Jb\\nc")
        span.__enter__()
    libperf.Counter("cache.users.memory.hits").add(3)
    libperf.Counter("cache.users.memory.misses").add(1)
    libperf.Counter("batcher.embed.items").add(30)
    libperf.Counter("batcher.embed.batches").add(3)
    print("ready", flush=True)
    sys.stdin.read()
    """


@pytest.fixture
def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    monkeypatch.setenv("LIBPERF_DIR", str(tmp_path))
    with Live() as live:
        yield live


def look(live: Live, seconds: float = 20) -> Picture:
    return live.refresh(int(lib.perf_clock_now_ns()) + int(seconds * SECOND))


def drawn(lines: object, width: int) -> list[str]:
    file = io.StringIO()
    parts = lines if isinstance(lines, list) else [lines]
    Console(file=file, width=width, color_system=None, force_terminal=False).print(Group(*parts))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def listed(picture: Picture, view: View, width: int = 80) -> list[str]:
    return drawn([*list_lines(picture, sorted_processes(picture, view), view, width)], width)


def test_nobody(live: Live) -> None:
    """What to do when nothing runs."""
    assert drawn([*list_lines(look(live), [], View(), 80)], 200) == [NOBODY]
    assert NOBODY == "no process of yours records now: start one with libperf.instrument() or libperf run"


def test_a_filter_that_nothing_passes(live: Live, start: Start) -> None:
    """It says so, and names it."""
    start(PROGRAM, "agent", 1)
    view = View(filter="xyz")
    assert listed(look(live), view) == ["no process matches 'xyz'"]
    view.filter = "AGE"
    assert "agent" in listed(look(live), view)[1]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("height", [None, 5, 10, 21, 60])
def test_it_fits(live: Live, start: Start, width: int, height: int | None) -> None:
    """No line is wider than the terminal, whatever the names; what matters most is in the narrowest."""
    start(PROGRAM, "agent", 100)
    picture = look(live)
    view = View(int(10 * SECOND), height=height, chosen=0)
    lines = list_lines(picture, sorted_processes(picture, view), view, width)
    assert all(line.cell_len <= width for line in lines)
    assert height is None or len(lines) <= height
    if width >= 80:
        assert lines[0].plain.split()[:2] == ["pid", "program"]
        assert {"calls/s", "err/s", "open", "busiest", "P95"} <= set(lines[0].plain.split())
    if width >= 60:
        text = drawn([*process_lines(picture.processes[0], view, width)], width)
        assert {"operation", "open", "calls/s", "errors", "P50", "P95"} <= set(" ".join(text).split())
        assert all("\x1b" not in line for line in text)


def test_everything_about_one_process(live: Live, start: Start) -> None:
    """Operations, the tree of open spans, caches and batchers; in 80 by 21 a part of each."""
    start(PROGRAM, "agent", 100)
    picture = look(live)
    text = drawn([*process_lines(picture.processes[0], View(), 160)], 160)
    whole = "\n".join(text)
    assert "a name that is much too long for a narrow terminal, 名前" in whole
    assert "users memory" in whole and "75 %" in whole
    assert "embed" in whole and "10.0" in whole
    assert whole.count("node step ") == 30 + 30
    assert "open now, 30, oldest first" in text
    at = text.index("open now, 30, oldest first")
    assert [line[8:].replace("a [2Jb c", "…").rstrip() for line in text[at + 1 : at + 4]] == [
        "  node step 0  text=…", "    node step 1  text=…", "      node step 2  text=…",
    ]  # fmt: skip
    few = drawn([*process_lines(picture.processes[0], View(height=21, chosen=0), 80)], 80)[:21]
    assert any(line.startswith("open now, 30") for line in few)
    assert any("node step 0 " in line for line in few) and any(line.startswith("users memory") for line in few)


@pytest.mark.parametrize("sort", SORTS)
def test_sorting(live: Live, start: Start, sort: str) -> None:
    """By the time spent, calls, P95, errors."""
    start(PROGRAM, "busy", 3000)
    start(PROGRAM, "calm", 1)
    picture = look(live)
    view = View(sort=sort)
    programs = [line.process.program for line in sorted_processes(picture, view)]
    if sort == "calls":
        assert programs == ["busy", "calm"]
    (process,) = [each for each in picture.processes if each.program == "calm"]
    text = drawn([*process_lines(process, view, 120)], 120)
    at = next(number for number, line in enumerate(text) if line.startswith("operation"))
    first = {"time": "function slow", "P95": "function slow", "errors": "function broken", "calls": "function broken"}
    assert text[at + 1].startswith(first[sort])


def test_the_chosen_line_stands_out(live: Live, start: Start) -> None:
    """In reverse, and it is always among those that are shown."""
    start(PROGRAM, "agent", 1)
    picture = look(live)
    for chosen in (0, 5, 31):
        lines = process_lines(picture.processes[0], View(chosen=chosen, height=15), 80)
        marked = [line for line in lines if any(span.style == "reverse" for span in getattr(line, "spans", []))]
        assert len(marked) == 1


def test_losses_and_skipped_files_are_told(live: Live, start: Start, tmp_path: Path) -> None:
    """What found no room, and what could not be read."""
    code = PROGRAM.replace(
        'print("ready"', 'for n in range(5000): libperf.span(f"n{n}").__enter__()\n    print("ready"'
    )
    start(code, "agent", 1)
    (segment,) = tmp_path.glob("libperf-*/*.perf")
    for number in range(4):
        segment.with_name(f"{number}-bad.perf").write_text("bad")
    picture = look(live)
    text = listed(picture, View(), 150)
    assert "lost" in text[0]
    assert sum(line.startswith("skipped: ") and "-bad.perf" in line for line in text) == 2
    assert "and 2 more files that cannot be read" in text
    one = "\n".join(drawn([*process_lines(picture.processes[0], View(), 150)], 150))
    assert "spans were open beyond 1,024 at a time" in one
    assert "the 200 oldest, with those around them" in one


def test_a_process_that_ended(live: Live, start: Start) -> None:
    """It is last, and says how it ended."""
    dead, alive = start(PROGRAM, "dead", 5000), start(PROGRAM, "alive", 1)
    assert alive.poll() is None
    look(live)
    dead.kill()
    dead.communicate()
    text = listed(look(live, 21), View())
    assert [line.split()[1:3] for line in text[1:3]] == [["alive", "running"], ["dead", "killed"]]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 m 0 s"),
        (3599, "59 m 59 s"),
        (7500, "2 h 5 m"),
        (90_000, "1 d 1 h"),
        (-5, "0 s"),
    ],
)
def test_spans_of_time(seconds: float, text: str) -> None:
    """Two units."""
    assert span_of_time(int(seconds * SECOND)) == text


def test_sparks() -> None:
    """The highest is a full bar, nothing is the lowest one, a gap is a gap."""
    assert spark([0, 1, 2, 4, 8]) == "▁▁▂▄█"
    assert spark([None, 3.0, None]) == " █ "
    assert spark([0.0, 0.0]) == "▁▁"
    assert spark([]) == ""


def test_windows_into_lists() -> None:
    """What is chosen is always inside."""
    assert window(0, 5, 10, 3) == range(0, 5)
    for chosen in range(100):
        shown = window(0, 100, 7, chosen)
        assert len(shown) == 7 and chosen in shown
    assert window(0, 100, 7, None) == range(0, 7)


def test_circles_in_a_damaged_file_end(live: Live, start: Start) -> None:
    """Spans that are inside of each other are shown once, or not at all."""
    start(PROGRAM, "agent", 1)
    watched: Watched = look(live).processes[0]
    a, b, *rest = watched.open
    watched.open = [a._replace(parent=b.id), b._replace(parent=a.id), *rest]
    assert len(watched.parents(watched.open[0])) == 1
    drawn([*process_lines(watched, View(), 100)], 100)
