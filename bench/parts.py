"""The programs whose numbers RESULTS.md is made of, and the JSON that they leave in build/results."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "build" / "results"
RELEASE = "build/release"
PEERS_PYTHON = Path(".venv-peers/bin/python")
NEWER_PYTHON = Path(".venv-peers-new/bin/python")  # 3.13 or newer, for profilers (tools/peers.sh)

Line = dict[str, Any]
Lines = dict[str, Line]


@dataclass(frozen=True)
class Part:
    """One program to run, given CMake's folder; `file` is the JSON it writes."""

    file: str
    command: Callable[[str], list[str]]
    needs: str = ""  # an environment variable that names what it works on
    builds: bool = False  # it is, or starts, a program in C


def data(file: str) -> str:
    return str((DATA / file).relative_to(ROOT))


def peers_python(*wanted: Path) -> str:
    """The first that is there."""
    return next((str(python) for python in (*wanted, PEERS_PYTHON) if (ROOT / python).exists()), sys.executable)


def script(path: str, file: str, *options: str) -> Part:
    return Part(file, lambda build: [sys.executable, path, *options, "--json", data(file)])


def peers(path: str, file: str, *options: str) -> Part:
    """A script that wants other libraries beside libperf."""
    return Part(file, lambda build: [peers_python(), f"bench/{path}", *options, "--json", data(file)])


def profilers(path: str, file: str) -> Part:
    """The same on a Python that has what is promised of libperf's."""
    return Part(file, lambda build: [peers_python(NEWER_PYTHON), f"bench/{path}", "--json", data(file)])


def built(path: str, file: str) -> Part:
    """A script that is told where the programs in C lie."""
    return Part(file, lambda build: [sys.executable, path, "--build", build, "--json", data(file)], builds=True)


def score(file: str, *patterns: str) -> Part:
    return script("tests/scenarios/agents/measure.py", file, "score", *patterns)


def named(variable: str) -> str:
    return os.environ.get(variable, "")


TRACES = "LIBPERF_TRACES"
LLM_CALLS = "LIBPERF_LLM_CALLS"

PARTS = {
    "c": Part(
        "c.jsonl",
        lambda build: [f"{build}/bench/perf-bench", "--repetitions", "31", "--json", data("c.jsonl")],
        builds=True,
    ),
    "instructions": built("bench/instructions.py", "instructions.json"),
    "trace": peers("peers/trace_cost.py", "trace.jsonl"),
    "otlp": peers("peers/otlp_cost.py", "otlp.jsonl"),
    "speed": script("bench/peers/speed_cost.py", "speed.jsonl", "--rounds", "15"),
    "speed-instructions": script("bench/peers/speed_cost.py", "speed_instructions.jsonl", "--instructions"),
    "import": peers("peers/import_time.py", "import.jsonl"),
    "rss": peers("rss.py", "rss.jsonl"),
    "profiling": script("bench/peers/profiling_cost.py", "profiling.json"),
    "memory": peers("peers/memory_cost.py", "memory.jsonl"),
    "memory-instructions": peers("peers/memory_cost.py", "memory_instructions.jsonl", "--instructions"),
    "profile": profilers("peers/profile_cost.py", "profile.jsonl"),
    "sampler": profilers("peers/sampler_cost.py", "sampler.jsonl"),
    "cached-call": peers("peers/cache_cost.py", "cached_call.jsonl"),
    "disk": peers("peers/disk_cost.py", "disk.jsonl"),
    "redis": peers("peers/redis_cost.py", "redis.jsonl"),
    "scrape": peers("peers/scrape_cost.py", "scrape.jsonl"),
    "batch-simulated": Part(
        "batch_simulated.json",
        lambda build: [
            *("sh", "-c", '"$0" -m libperf.batcher.simulate --json >"$1" && "$0" tools/plot.py docs/batching.svg "$1"'),
            *(sys.executable, data("batch_simulated.json")),
        ],
    ),
    "batch-call": peers("peers/batch_cost.py", "batch_call.jsonl"),
    "batch-instructions": peers("peers/batch_cost.py", "batch_instructions.jsonl", "--instructions"),
    "batch-faults": peers("peers/batch_faults.py", "batch_faults.jsonl"),
    # a round takes three minutes; medians of any 3 of 5 are within 5 % of those of all in what is judged
    "batch-embeddings": peers("batch_embeddings.py", "batch_embeddings.jsonl", "--rounds", "3"),
    "top": script("bench/top_cost.py", "top.jsonl"),
    "keys": script("bench/keys.py", "keys.jsonl"),
    "compression": Part(
        "compression.jsonl",
        lambda build: [sys.executable, "bench/compression.py", named(LLM_CALLS), "--json", data("compression.jsonl")],
        needs=LLM_CALLS,
    ),
    "cache-memory": built("bench/cache_memory.py", "cache_memory.jsonl"),
    "hit-ratio": Part(
        "hit_ratio.json",
        lambda build: [f"{build}/bench/perf-hit-ratio", named(TRACES), "--json", data("hit_ratio.json")],
        needs=TRACES,
        builds=True,
    ),
    "hit-ratio-python": Part(
        "hit_ratio_python.jsonl",
        lambda build: [
            *(sys.executable, "bench/hit_ratio/through_python.py", named(TRACES)),
            *("--build", build, "--json", data("hit_ratio_python.jsonl")),
        ],
        needs=TRACES,
        builds=True,
    ),
    "diff": script("bench/regression.py", "regression.jsonl"),
    "agents": score("agents.json", "a", "b", "c", "d", "e"),
    "new-agents": score("new_agents.json", "n"),
    "generated": Part(
        "generated.json",
        lambda build: [
            *("env", "PYTHONPATH=tests", sys.executable, "-m", "scenarios.virtual", "300", data("generated.json"))
        ],
    ),
}


def path_of(part: str) -> Path:
    return DATA / PARTS[part].file


def lines_of(part: str) -> list[Line]:
    """What a program wrote the last time: an object a line."""
    path = path_of(part)
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def loaded(part: str) -> Any:
    """The same for one that wrote a single object."""
    path = path_of(part)
    return json.loads(path.read_text()) if path.exists() else None


def named_lines() -> Lines:
    """Every line of JSON by its name."""
    lines = {line["name"]: line for part in PARTS if path_of(part).suffix == ".jsonl" for line in lines_of(part)}
    for line in lines_of("hit-ratio"):
        if "policy" in line:
            lines[f"hit-ratio/{line['policy']}"] = line | {"command": "perf-hit-ratio $LIBPERF_TRACES"}
    return lines
