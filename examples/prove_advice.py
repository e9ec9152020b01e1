"""Follows the first pieces of advice of a report, one at a time and for real, and shows what each brought.

    libperf mock --latency 'gpt-4o-mini=0.2;*=0.4' -- sh -c '
        libperf run --json report.json examples/research_agent.py --slots 2 "How do bees find flowers?"
        python examples/prove_advice.py report.json'

Runs the agent as it was and with each change in turn, three times each, and compares medians: of what the unchanged runs
promised, and of what the changed ones took.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

AGENT = Path(__file__).with_name("research_agent.py")
ADVICE = 3  # pieces that are followed
ROUNDS = 3


def follow(bottleneck: dict[str, Any]) -> list[str]:
    """How the agent is told to do as advised."""
    if bottleneck["kind"] == "semaphore":
        return ["--slots", str(bottleneck["fix"]["to"])]
    if bottleneck["class"] == "first-use":
        return ["--early"]
    return ["--small", bottleneck["name"]]


def run(options: list[str]) -> dict[str, Any]:
    """The report of one run under `libperf run`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "libperf", "run", "--json", str(report), str(AGENT), *options]
        subprocess.run(command, check=True, capture_output=True)
        found: dict[str, Any] = json.loads(report.read_text())
        return found


def main(report: str) -> None:
    bottlenecks = json.loads(Path(report).read_text())["bottlenecks"][:ADVICE]
    usual = ["--slots", "2"]
    variants = [usual, *(usual + follow(each) for each in bottlenecks)]
    print(
        f"\nfollowing the first {len(bottlenecks)} pieces of advice, one at a time, {ROUNDS} runs each ...", flush=True
    )
    rounds = [[run(options) for options in variants] for _ in range(ROUNDS)]
    walls = [statistics.median(each["analysed_wall_s"] for each in runs) for runs in zip(*rounds, strict=True)]
    print(f"{'advice followed':<44}{'promised':>10}{'measured':>10}")
    for each, now in zip(bottlenecks, walls[1:], strict=True):
        promised = statistics.median(promise(runs[0], each) for runs in rounds)
        print(f"{describe(each):<44}{-promised * 100:>8.1f} %{(now - walls[0]) / walls[0] * 100:>8.1f} %")


def promise(unchanged: dict[str, Any], bottleneck: dict[str, Any]) -> float:
    """What an unchanged run says that this fix would save."""
    gains = [each["gain"] for each in unchanged["bottlenecks"] if each["name"] == bottleneck["name"]]
    return float(gains[0] if gains else 0.0)


def describe(bottleneck: dict[str, Any]) -> str:
    fix = bottleneck["fix"]
    how = {"capacity": f"{fix['from']} to {fix['to']}", "move to start": "at start"}.get(fix["action"], "2× faster")
    return f"{bottleneck['kind']} {bottleneck['name']}, {how}"


if __name__ == "__main__":
    main(*sys.argv[1:])
