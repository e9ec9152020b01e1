"""`libperf run` names the bottleneck of real agents in real time, and promises what a fix was measured to gain.

A few of tests/scenarios/agents: those that mostly wait, so that a busy machine changes little. The rest, and the bars, are
for `make score`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

AGENTS = Path(__file__).parents[1] / "scenarios/agents"
POINTS = 0.05  # a promise may be off by this share of the wall, on a machine that does other things too


@pytest.mark.parametrize(
    "name", ["a02_semaphore", "a04_queue_workers", "a09_lg_barrier", "a11_retry", "b11_slots_limiter", "b16_real_io"]
)
def test_an_agents_bottleneck(name: str, tmp_path: Path) -> None:
    """What comes first is right; every promise is kept; the unchanged replay is as long as the run."""
    scores = tmp_path / "scores.json"
    command = [sys.executable, str(AGENTS / "measure.py"), "score", name, "--json", str(scores)]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    agent = json.loads(scores.read_text())["agents"][name]
    assert agent["right"], done.stdout
    assert agent["promised"] == pytest.approx(agent["measured"], abs=POINTS)
