"""The page as a file: what is in it, what cannot break out of it, and what is said when it cannot be made."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from libperf import cli
from libperf.analysis import Analysis, classes
from libperf.analysis.glossary import CLASSES
from libperf.html import write_html
from libperf.html.fixes import fixes
from libperf.html.latency import PER_DECADE, in_bins
from libperf.html.page import page_data, page_json
from libperf.reader import Reader

Run = Callable[..., subprocess.CompletedProcess[str]]
Segments = Callable[[], list[Path]]

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>window.broken = true</script>",
    "<!--<script>",
    "<img src=x onerror='window.broken = true'>",
    "line\u2028separator\u2029",
    "\"quotes\" 'single' `back` ${window.broken = true} \\",
    "escape \x1b[31m bell \x07 turned \u202e name",
    "&lt;entity&amp;",
]

PROGRAM = """
import asyncio, json, sys, libperf
names = json.loads(sys.argv[1])
gate = libperf.Semaphore(1, name=names[1])
for name in names:
    libperf.Counter(name).add(3)
    libperf.Gauge(name).set(float("inf"))

async def work(name):
    async with gate:
        with libperf.span(name, note=name):
            await asyncio.sleep(0.002)

async def main():
    await asyncio.gather(*(work(name) for name in names for _ in range(2)))

asyncio.run(main())
"""


class Page(HTMLParser):
    """The elements of a page: names and attributes in order, and the data that is in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.json = ""
        self.feed(text)
        self.data: dict[str, Any] = json.loads(self.json)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1] == ("script", {"type": "application/json", "id": "data"}):
            self.json += data.strip()

    def count(self, tag: str) -> int:
        return sum(found == tag for found, _ in self.elements)


@pytest.fixture
def hostile(run: Run, segments: Segments, tmp_path: Path) -> Path:
    """The page of a program whose names try to break out."""
    assert run(PROGRAM, json.dumps(HOSTILE), LIBPERF_PROFILE="1", LIBPERF_SERVICE=HOSTILE[0]).returncode == 0
    with Reader(segments()[0]) as reader, Analysis(reader) as analysis:
        write_html(reader, analysis, tmp_path / "hostile.html")
    return tmp_path / "hostile.html"


def visible(name: str) -> str:
    """As the page shows it; the core has made spaces of ASCII's control characters."""
    name = re.sub(r"[\x00-\x1f]", " ", name)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


def test_no_name_breaks_out_of_the_page(hostile: Path) -> None:
    text = hostile.read_text()
    page = Page(text)
    assert page.count("script") == 4  # the data, Bokeh, its interface, ours
    assert page.count("img") == 0 and page.count("title") == 1
    assert "<script>alert" not in text and "\u2028" not in page.json and "\x1b" not in text and "\u202e" not in text
    assert {row["name"] for row in page.data["latency"]["rows"]} == {visible(name) for name in HOSTILE}
    assert {visible(name) for name in HOSTILE} <= set(page.data["counters"])
    assert f"semaphore {visible(HOSTILE[1])}" in page.data["timeline"]["texts"]


def test_json_in_the_page_shows_what_cannot_be_seen_and_ends_no_script() -> None:
    text = page_json({"a\x1b": ["</script>\u2028", "\u202e&", float("nan"), float("-inf"), 1.5, None, True]})
    assert not re.search(r"[<>&]|[^ -~]", text)
    assert json.loads(text) == {"a\\x1b": ["</script>\\u2028", "\\u202e&", "nan", "-inf", 1.5, None, True]}


def test_the_page_names_nothing_outside_itself(hostile: Path) -> None:
    text = hostile.read_text()
    page = Page(text)
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "base", "object", "embed")
        assert not {"src", "href", "srcset", "action"} & attributes.keys(), (tag, attributes)
    assert not re.search(r"url\((?!data:)|@import", text[: text.index("<body>")])
    (policy,) = (found["content"] for tag, found in page.elements if "http-equiv" in found)
    assert policy and policy.startswith("default-src 'none';") and "unsafe-eval" not in policy
    assert policy.count("sha256-") == 3 and "script-src 'sha256-" in policy


def test_the_page_is_mostly_the_library(hostile: Path) -> None:
    assert hostile.stat().st_size < 2_000_000


def test_a_program_without_profiling_has_latencies_and_a_flame_graph(run: Run, segments: Segments) -> None:
    run("import libperf\nwith libperf.span('a'):\n    with libperf.span('b'): pass")
    with Reader(segments()[0]) as reader:
        assert Analysis.read(reader) is None
        data = page_data(reader, None)
    assert "analysis" not in data and "timeline" not in data
    assert data["flame"]["nodes"]["name"][:2] == ["all spans", "a"]
    assert [row["calls"] for row in data["latency"]["rows"]] == [1, 1]


def test_a_reader_that_was_read_already_gives_the_same_page(run: Run, segments: Segments) -> None:
    run("import libperf\nfor _ in range(3):\n    with libperf.span('a'): pass")
    with Reader(segments()[0]) as reader:
        before = page_data(reader, None)
        assert len(list(reader.records())) == 3
        assert page_data(reader, None) == before


# ---- sliders ----

CAPACITIES = """
import asyncio, libperf
gate = libperf.Semaphore(2, name="gate")
lock = libperf.Lock(name="lock")
queue = libperf.Queue(name="queue")

async def call():
    async with gate:
        with libperf.span("call"):
            await asyncio.sleep(0.004)
    async with lock:
        await asyncio.sleep(0.001)

async def worker():
    while True:
        await queue.get()
        await asyncio.sleep(0.005)
        queue.task_done()

async def main():
    await asyncio.gather(*(call() for _ in range(12)))
    for i in range(12):
        queue.put_nowait(i)
    workers = [asyncio.create_task(worker()) for _ in range(2)]
    await queue.join()
    for each in workers:
        each.cancel()

asyncio.run(main())
"""


def test_sliders_begin_with_the_run_as_it_was_and_go_through_the_table_s_fix(run: Run, segments: Segments) -> None:
    run(CAPACITIES, LIBPERF_PROFILE="1")
    with Reader(segments()[0]) as reader, Analysis(reader) as analysis:
        rows, notes = fixes(analysis)
        wall = analysis.wall
        by_name = {row["name"]: row for row in rows}
    assert notes == []
    assert [step["label"] for step in by_name["gate"]["steps"]] == [
        *("as it is", "capacity 3", "capacity 4", "capacity 6", "capacity 8")
    ]
    assert [step["label"] for step in by_name["queue"]["steps"]] == ["as it is", "4 workers"]
    assert [step["label"] for step in by_name["call"]["steps"]][1:] == [
        *("75 % of its time", "50 % of its time", "25 % of its time", "no time at all")
    ]
    for row in rows:
        fixed = row["steps"][row["fixed"]]
        assert row["steps"][0]["wall"] == wall
        assert fixed["wall"] == pytest.approx(wall * (1 - row["gain"]), rel=0.002)
    walls = [step["wall"] for step in by_name["call"]["steps"]]
    assert walls == sorted(walls, reverse=True)


def test_every_class_that_a_finding_can_have_is_in_the_glossary() -> None:
    used = set(re.findall(r'Evidence\(\s*"([\w-]+)"', inspect.getsource(classes)))
    assert len(used) > 8 and used <= CLASSES.keys()


def test_each_class_is_explained_in_three_sentences() -> None:
    for name, text in CLASSES.items():
        assert len(re.findall(r"\.(?= [A-Z]|$)", text)) == 3, name


# ---- latencies ----


def test_bins_are_shares_of_all_calls_and_lie_where_the_values_are() -> None:
    bins = in_bins([0.001] * 3 + [1.5])
    assert bins == {-3 * PER_DECADE: 0.75, 2: 0.25}
    assert in_bins([0.0]) == {-9 * PER_DECADE: 1.0}
    assert in_bins([]) == {}


# ---- when it cannot be made ----


def test_without_bokeh_the_command_says_what_to_install(
    run: Run, segments: Segments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("import libperf\nwith libperf.span('a'): pass")
    for module in [name for name in sys.modules if name.split(".")[0] == "bokeh"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "bokeh", None)
    assert cli.main(["report", str(segments()[0]), "--html", str(tmp_path / "out.html")]) == 1
    assert "pip install 'libperf[html]'" in capsys.readouterr().err
    assert not (tmp_path / "out.html").exists()


def test_the_command_writes_the_page_beside_its_table(
    run: Run, segments: Segments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("import libperf\nwith libperf.span('only'): pass")
    assert cli.main(["report", str(segments()[0]), "--html", str(tmp_path / "out.html")]) == 0
    assert "only" in capsys.readouterr().out
    assert Page((tmp_path / "out.html").read_text()).data["latency"]["rows"][0]["name"] == "only"


def test_a_folder_that_is_not_there_is_said(
    run: Run, segments: Segments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("import libperf\nwith libperf.span('a'): pass")
    assert cli.main(["report", str(segments()[0]), "--html", str(tmp_path / "none" / "out.html")]) == 1
    assert "cannot write" in capsys.readouterr().err


def test_a_report_without_html_imports_neither_bokeh_nor_the_page(run: Run, segments: Segments) -> None:
    run("import libperf\nwith libperf.span('a'): pass")
    code = (
        "import sys; from libperf import cli; cli.main(['report', sys.argv[1]]);"
        "print([name for name in sys.modules if name.startswith(('bokeh', 'libperf.html'))], file=sys.stderr)"
    )
    assert run(code, segments()[0]).stderr.strip() == "[]"
