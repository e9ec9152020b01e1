"""Samples and recordings whose difference is known."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio, random, sys
import libperf
from libperf.testing import run_virtual, virtual_time

r, factor, calls = random.Random(int(sys.argv[1])), float(sys.argv[2]), int(sys.argv[3])
hits, misses = (libperf.Counter(f"cache.users.memory.{what}") for what in ("hits", "misses"))

async def main():
    for _ in range(calls):
        with libperf.span("plan", kind="llm", tokens=round(100 * factor)):
            await asyncio.sleep(0.01 * factor * r.lognormvariate(0, 0.5))
        (misses if r.random() < 0.1 * factor**5 else hits).add(1)
        try:
            with libperf.span("search", kind="tool"):
                await asyncio.sleep(0.001 * r.lognormvariate(0, 0.5))
                if r.random() < 0.01 * factor**10:
                    raise ValueError
        except ValueError:
            pass
    with libperf.span("old way" if factor == 1 else "new way"):
        libperf.Timing("waited").record(0.25)

with virtual_time(), libperf.Profiler():
    run_virtual(main)
print(libperf.segment_path())
"""


def recorded(folder: Path, name: str, *, seed: int, factor: float = 1.0, calls: int = 1200, **more: str) -> Path:
    """A segment, of a program in virtual time: `plan` takes `factor` times as long and as many tokens, `search` fails
    `factor` to the tenth times as often, the cache misses to the fifth. `more`: variables of its environment."""
    environment = {**os.environ, "LIBPERF_DIR": str(folder), **more}
    words = [sys.executable, "-c", PROGRAM, str(seed), str(factor), str(calls)]
    out = subprocess.check_output(words, env=environment, text=True, timeout=60)
    target = folder / name
    shutil.copy(out.strip(), target)
    return target


def lognormal(seed: int, count: int, factor: float = 1.0) -> list[float]:
    r = random.Random(seed)
    return [0.01 * factor * r.lognormvariate(0, 0.5) for _ in range(count)]
