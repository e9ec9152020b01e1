"""`libperf run` and `libperf report` on programs as people have them: what slows them is said, however they end."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from support_cli import Runner

POOL = """\
import asyncio
async def query(slots):
    async with slots:
        await asyncio.sleep(0.03)
async def main():
    slots = asyncio.Semaphore(1)
    await asyncio.gather(*[query(slots) for _ in range(5)])
asyncio.run(main())
"""
STEPS = """\
import time, libperf
with libperf.span("long"): time.sleep(0.1)
with libperf.span("short"): time.sleep(0.02)
"""


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def rows_of(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in report["bottlenecks"]}


def test_a_program_without_a_span(runner: Runner) -> None:
    """Nothing of it knows of libperf, and yet its semaphore is found, by its line."""
    runner.write("app.py", POOL)
    status, out, err = runner.run("--json", "out.json", "app.py")
    assert (status, out) == (0, "")
    report = json.loads((runner.folder / "out.json").read_text())
    (row,) = report["bottlenecks"]
    assert (row["kind"], row["name"], row["fix"]) == (
        "semaphore",
        "app.py:6",
        {"action": "capacity", "from": 1, "to": 2},
    )
    assert 0.2 < row["gain"] < 0.5
    assert "semaphore app.py:6" in err
    assert "no span was recorded" in err
    assert " wall " not in err


def test_the_table_is_at_the_end(runner: Runner) -> None:
    """Behind the operations and the slowest calls, before where the trace lies; the longest first."""
    runner.write("app.py", STEPS)
    _, _, err = runner.run("app.py")
    parts = ["libperf report", "slowest calls", "bottlenecks", "replay of the unchanged run", "program ", "trace "]
    places = [err.index(part) for part in parts]
    assert places == sorted(places)
    assert re.findall(r"^\d  function (\w+) ", err, re.MULTILINE) == ["long", "short"]


def test_a_kept_trace_says_the_same(runner: Runner) -> None:
    """`libperf report` on the trace finds what the run found, as a table and as data."""
    runner.write("app.py", STEPS)
    _, _, err = runner.run("--trace", "kept.perf", "--json", "out.json", "app.py")
    first = json.loads((runner.folder / "out.json").read_text())
    _, out, _ = runner.plain("-m", "libperf", "report", "kept.perf")
    _, text, _ = runner.plain("-m", "libperf", "report", "--json", "kept.perf")
    again = json.loads(text)
    for name in ("self_replay_error", "reliable", "events", "deadlocks", "bottlenecks"):
        assert again[name] == first[name]
    table = err[err.index("   bottlenecks") : err.index("\n\nprogram")]
    assert table in out


def test_a_terminal_of_sixty_columns(runner: Runner) -> None:
    """Nothing wraps in the table, what a fix saves is there."""
    runner.write("app.py", STEPS)
    runner.environment["COLUMNS"] = "60"
    _, _, err = runner.run("app.py")
    table = err[err.index("   bottlenecks") : err.index("replay of")].splitlines()
    assert max(map(len, table)) <= 60
    assert re.search(r"^1  function long .* −\d+ %", err, re.MULTILINE)


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(3)"])
def test_a_program_that_is_killed(runner: Runner, end: str) -> None:
    """What it did until then is analysed, also what was never closed."""
    killed = f'import os, signal\nwith libperf.span("never closed"):\n    time.sleep(0.02)\n    {end}\n'
    runner.write("app.py", STEPS + killed)
    status, report = runner.json("app.py")
    assert status in (3, 128 + signal.SIGKILL)
    assert report["program"]["state"] == "killed"
    rows = rows_of(report)
    assert next(iter(rows)) == "long"
    assert set(rows) == {"long", "short", "never closed"}


def test_spans_that_are_never_closed(runner: Runner) -> None:
    """A span that is begun and forgotten owns what comes, and breaks nothing."""
    code = 'forgotten = libperf.span("forgotten").__enter__()\ntime.sleep(0.02)\n'
    runner.write("app.py", STEPS + code)
    status, report = runner.json("app.py")
    assert status == 0
    assert set(rows_of(report)) == {"forgotten", "long", "short"}


def test_a_deadlock_with_a_time_limit(runner: Runner) -> None:
    """The locks are named before everything else, and nothing is called reliable."""
    code = """\
import asyncio, libperf
async def take(one, other):
    async with one:
        await asyncio.sleep(0.01)
        async with other: pass
async def main():
    accounts, orders = libperf.Lock("accounts"), libperf.Lock("orders")
    async with asyncio.timeout(0.1):
        await asyncio.gather(take(accounts, orders), take(orders, accounts))
asyncio.run(main())
"""
    runner.write("app.py", code)
    status, _, err = runner.run("--json", "out.json", "app.py")
    report = json.loads((runner.folder / "out.json").read_text())
    assert (status, "TimeoutError" in err) == (1, True)
    assert "deadlock: the holders of 'accounts' and 'orders' wait for each other" in err
    assert "not reliable" in err
    assert [each["locks"] for each in report["deadlocks"]] == [["accounts", "orders"]]
    assert not report["reliable"]


def test_names_that_are_anything(runner: Runner) -> None:
    """What would steer the terminal is a blank, markup is text."""
    name = "[red]a[/red]\\x1b[2J\\nb"
    runner.write("app.py", f'import time, libperf\nwith libperf.span("{name}"): time.sleep(0.05)\n')
    _, _, err = runner.run("--json", "out.json", "app.py")
    assert "\x1b" not in err
    assert err.count("[red]a[/red] [2J b") >= 3  # in the operations, the slowest calls, the bottlenecks
    report = json.loads((runner.folder / "out.json").read_text())
    assert list(rows_of(report)) == ["[red]a[/red] [2J b"]


def test_files_that_were_asked_for(runner: Runner) -> None:
    """A program that records nothing of interest still gives the JSON and the trace that its caller wants."""
    runner.write("app.py", "raise SystemExit(4)")
    status, _, err = runner.run("--json", "out.json", "--trace", "kept.perf", "app.py")
    assert (status, err.count("\n")) == (4, 1)
    assert err.startswith("libperf: nothing was recorded")
    report = json.loads((runner.folder / "out.json").read_text())
    assert (report["program"]["exit_status"], report["operations"], report["bottlenecks"]) == (4, [], [])
    assert (runner.folder / "kept.perf").exists()


def test_without_profiling(runner: Runner) -> None:
    """LIBPERF_PROFILE=0 switches the events off: a report without bottlenecks."""
    runner.environment["LIBPERF_PROFILE"] = "0"
    runner.write("app.py", STEPS)
    status, _, err = runner.run("--json", "out.json", "app.py")
    report = json.loads((runner.folder / "out.json").read_text())
    assert (status, "bottlenecks" in report, "bottlenecks" in err) == (0, False, False)
    assert [row["name"] for row in report["operations"]] == ["long", "short"]
