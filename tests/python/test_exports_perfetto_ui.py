"""Perfetto itself: its trace processor imports our files without a complaint, and finds in them what we wrote."""

from __future__ import annotations

import functools
import http.server
import json
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from libperf.events import Code
from libperf.exports import perfetto
from libperf.exports.trace import Log
from libperf.names import Kind
from libperf.samples import Frame
from support_browser import CHROMIUM, Browser
from support_exports import BEGIN, MS, NASTY, PID, Recording, written

UI = Path(__file__).parents[2] / ".deps/viewers/perfetto"
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here: apt-get install chromium"),
    pytest.mark.skipif(not UI.exists(), reason="there is no .deps/viewers: sh tools/viewers.sh"),
]

Query = Callable[[str], list[list[Any]]]


class Files(http.server.SimpleHTTPRequestHandler):
    """The UI, and the file that this edition of it opens by itself."""

    trace = b""

    def do_GET(self) -> None:
        if not self.path.endswith(("vizviewer_info", "file_info", "localtrace")):
            super().do_GET()
            return
        data = self.trace if self.path.endswith("localtrace") else b"{}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def imported() -> Iterator[Callable[[str], Query]]:
    """Opens a file in the UI, which is served from here and asks nobody else; gives what answers SQL."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=UI))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = Browser()

    def imported(text: str) -> Query:
        Files.trace = text.encode()
        browser.events.clear()
        browser("Page.navigate", url=f"http://127.0.0.1:{server.server_port}/")
        while not any(event.get("method") == "Page.loadEventFired" for event in browser.events):
            browser.events.append(browser._receive())
        assert browser.run(OPEN) == "open"
        return lambda sql: list(browser.run(ASK % sql))

    try:
        yield imported
    finally:
        browser.close()
        server.shutdown()
        server.server_close()


OPEN = """new Promise((done, failed) => {
  setTimeout(() => failed("not within 30 s: " + document.body.innerText.slice(-300)), 30000);
  const look = () => window.app?.trace?.engine ? done("open") : setTimeout(look, 50);
  look();
})"""

ASK = """(async () => {
  const result = await app.trace.engine.query(`%s`);
  const columns = result.columns();
  const rows = [];
  for (const row = result.iter({}); row.valid(); row.next()) {
    rows.push(columns.map(column => { const value = row.get(column); return typeof value === "bigint" ? Number(value) : value; }));
  }
  return rows;
})()"""

COMPLAINTS = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"
SLICES = "select s.name, s.depth, s.ts, s.dur, t.name from slice s join thread_track k on s.track_id = k.id join thread t using (utid) order by t.tid, s.ts, s.depth"


def everything() -> Recording:
    """Tasks that overlap, a thread, batches, lines, turns, samples, memory; names of any kind."""
    recording = Recording()
    main = recording.span("main", 0, 20, task=1)
    for task in (2, 3):
        fetch = recording.span('fetch "a;b" 🐝\n\x7f', task, 15 + task, main, task=task, ratio=0.5, path="é")
        recording.span("parse", 5, 6, fetch, task=task, kind=Kind.LLM, model="gpt-4o")
    recording.span("work", 3, 4, main, thread=7)
    batch = recording.span("batcher embed: batch", 5, 9, task=9, items=2)
    ask = recording.span("ask", 1, 10, task=5)
    recording.span("batcher embed: item", 2, 9, ask, task=5, batch=f"{batch:016x}")
    recording.logs = [Log(BEGIN + 2 * MS, 3, "cache miss", 0, PID, 1)]
    recording.event(0, Code.THREAD, 50, more=1)
    recording.turn(1, 2, 51, main)
    recording.event(4, Code.MEMORY, more=123_456_789)
    for i in range(3):
        recording.sample("cpu", 1 + i, 1, Frame("main", "a.py", 9), Frame("work", "a.py", i))
    recording.sample("allocated", 4, 1024, Frame("main", "a.py", 9))
    return recording


def test_perfetto_imports_everything(imported: Callable[[str], Query]) -> None:
    """No complaint of the importer; slices, rows, arrows, counters and lines are what we wrote."""
    recording = everything()
    query = imported(written(perfetto.write_trace, recording.trace()))
    assert query(COMPLAINTS) == []
    spans = query("select name, ts, dur from slice where category in ('span', 'llm') order by ts, dur desc, name")
    assert len(spans) == len(recording.spans)
    assert ["main", 0, 20 * MS] in spans
    assert [row for row in spans if row[0] == "work"] == [["work", 3 * MS, MS]]
    rows = {name for (name,) in query("select name from thread where name is not null")}
    assert rows >= {"main", "thread 7", "main thread: whose turn", "main thread: CPU samples"}
    assert len([name for name in rows if name.startswith("fetch")]) == 2
    arrows = query(
        "select a.name, b.name from flow f join slice a on f.slice_out = a.id join slice b on f.slice_in = b.id order by 1, 2"
    )
    assert ["main", "work"] in arrows and ["batcher embed: item", "batcher embed: batch"] in arrows
    counters = query(
        "select t.name, c.value from counter c join counter_track t on c.track_id = t.id where t.name like '%memory%'"
    )
    assert counters == [["resident memory bytes", 123456789]]
    assert query("select name from slice where category = 'log'") == [["cache miss"]]
    model = query("select string_value from args where key = 'args.gen_ai.request.model' limit 1")
    assert model == [["gpt-4o"]]


def unescaped(name: str) -> str:
    """Some names it gives as they are escaped, those with a quote as they are."""
    try:
        return str(json.loads(f'"{name}"'))
    except ValueError:
        return name


def test_names_of_any_kind_come_back_from_perfetto(imported: Callable[[str], Query]) -> None:
    """Of spans, and of rows. A lone surrogate is a question mark."""
    recording = Recording()
    for task, name in enumerate(NASTY, 1):
        recording.span(name, 0, 1, task=task)
    query = imported(written(perfetto.write_trace, recording.trace()))
    expected = {name.encode("utf-8", "replace").decode() for name in NASTY}
    assert query(COMPLAINTS) == []
    assert {unescaped(name) for (name,) in query("select name from slice")} == expected
    assert {unescaped(name) for (name,) in query("select name from thread where tid > 1000")} == expected


def test_perfetto_nests_any_recording(imported: Callable[[str], Query]) -> None:
    """Nanoseconds at random: nothing is dropped, every child lies inside of its parent."""
    dice = random.Random(5)
    recording = Recording()
    ids = [0]
    for _ in range(2000):
        start = dice.randrange(10**6) / 10**6 + dice.randrange(3000)
        length = dice.choice((1e-6, 1e-3, 0.3, 40.000001))
        ids.append(recording.span("x", start, start + length, dice.choice(ids), task=dice.choice((0, 1, 2))))
    query = imported(written(perfetto.write_trace, recording.trace()))
    assert query(COMPLAINTS) == []
    assert query("select count(*) from slice where name = 'x'") == [[2000]]
    assert query(
        "select count(*) from slice s join slice p on s.parent_id = p.id where s.ts < p.ts or s.ts + s.dur > p.ts + p.dur"
    ) == [[0]]
