"""Follows the first pieces of advice of a report, one at a time and for real, and shows what each brought.

    libperf mock --latency 'gpt-4o-mini=0.2;*=0.4' -- sh -c '
        libperf run --json report.json examples/research_agent.py --slots 2 "How do bees find flowers?"
        python examples/prove_advice.py report.json'

Runs the agent as it was and with each change in turn, three times each, and compares medians.
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


def wall(options: list[str]) -> float:
    """Seconds of one run under `libperf run`."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "libperf", "run", "--json", str(report), str(AGENT), *options]
        subprocess.run(command, check=True, capture_output=True)
        return float(json.loads(report.read_text())["analysed_wall_s"])


def main(report: str) -> None:
    bottlenecks = json.loads(Path(report).read_text())["bottlenecks"][:ADVICE]
    usual = ["--slots", "2"]
    variants = [usual, *(usual + follow(each) for each in bottlenecks)]
    print(
        f"\nfollowing the first {len(bottlenecks)} pieces of advice, one at a time, {ROUNDS} runs each ...", flush=True
    )
    taken: list[list[float]] = [[] for _ in variants]
    for _ in range(ROUNDS):
        for times, options in zip(taken, variants, strict=True):
            times.append(wall(options))
    before, *after = map(statistics.median, taken)
    print(f"{'advice followed':<44}{'promised':>10}{'measured':>10}")
    for each, now in zip(bottlenecks, after, strict=True):
        print(f"{describe(each):<44}{-each['gain'] * 100:>8.1f} %{(now - before) / before * 100:>8.1f} %")


def describe(bottleneck: dict[str, Any]) -> str:
    fix = bottleneck["fix"]
    how = {"capacity": f"{fix['from']} to {fix['to']}", "move to start": "at start"}.get(fix["action"], "2× faster")
    return f"{bottleneck['kind']} {bottleneck['name']}, {how}"


if __name__ == "__main__":
    main(*sys.argv[1:])
