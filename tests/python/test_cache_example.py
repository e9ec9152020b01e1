"""The agent of the examples, run twice: a real LangGraph graph, the real OpenAI client, two processes, one folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from libperf.testing import MockLLM

AGENT = Path(__file__).parents[2] / "examples/cached_agent.py"


def run_agent(llm: MockLLM, folder: Path, *options: str) -> list[str]:
    environment = {**os.environ, **llm.environment()}
    command = [sys.executable, str(AGENT), "--folder", str(folder), *options, "How do bees find flowers?"]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_second_run_is_served_from_disk(llm: MockLLM, tmp_path: Path) -> None:
    """The same answer without one request; --clear begins anew."""
    first = run_agent(llm, tmp_path / "cache")
    assert first[-1].endswith(": 0 answers from memory, 0 from disk, 4 asked")
    asked = len(llm.requests)
    second = run_agent(llm, tmp_path / "cache")
    assert second[-1].endswith(": 0 answers from memory, 4 from disk, 0 asked")
    assert second[:-1] == first[:-1]
    assert len(llm.requests) == asked == 4
    assert run_agent(llm, tmp_path / "cache", "--clear")[-1].endswith("4 asked")
