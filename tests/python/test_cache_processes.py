"""Several processes, one cold key: one computes, by disk and by Redis; and one that dies over it holds up nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support_redis import RedisServer

PROGRAM = """\
import asyncio, os, sys, threading, libperf
how, log, settings = sys.argv[1], sys.argv[2], {sys.argv[3]: sys.argv[4]}
cache = libperf.TieredCache(**settings, ttl=600, patience=float(sys.argv[5]))
def factory():
    with open(log, "a") as file:
        file.write("computed\\n")
    if how == "dies":
        os._exit(9)
    threading.Event().wait(0.2)
    return {"by": os.getpid()}
print("ready", flush=True)
sys.stdin.readline()
if how == "async":
    async def afactory():
        return await asyncio.to_thread(factory)
    print(asyncio.run(cache.aget_or_set("k", afactory)))
else:
    print(cache.get_or_set("k", factory))
cache.close()
"""


def run_together(count: int, *args: Any) -> list[subprocess.Popen[str]]:
    """They are all ready before the first one begins."""
    command = [sys.executable, "-c", PROGRAM, *map(str, args)]
    started = [subprocess.Popen(command, text=True, stdin=-1, stdout=-1) for _ in range(count)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return started


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("tier", ["disk", "redis"])
def test_processes_compute_once(tier: str, how: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with RedisServer(tmp_path) as server:
        where = tmp_path / "cache" if tier == "disk" else server.url
        started = run_together(4, how, log, tier, where, 60)
        answers = {process.communicate(timeout=60)[0] for process in started}
    assert len(answers) == 1
    assert log.read_text() == "computed\n"


def test_a_process_that_dies_while_it_computes(tmp_path: Path) -> None:
    """Its lease is taken over: nobody waits for the end of it."""
    log = tmp_path / "log"
    (dead,) = run_together(1, "dies", log, "disk", tmp_path / "cache", 60)
    dead.communicate(timeout=60)
    (alive,) = run_together(1, "sync", log, "disk", tmp_path / "cache", 60)
    assert "by" in alive.communicate(timeout=20)[0]
    assert log.read_text() == "computed\n" * 2
