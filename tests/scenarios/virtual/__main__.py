"""Prints how often each way to find the bottleneck of random agents is right: `python -m scenarios.virtual [N] [JSON]`."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from .baselines import critical_path, first_of, is_right, total_time
from .generated import LOADS, OPERATIONS, generate

WAYS = ("total span time", "critical path", "what-if")


def main(number: int, file: str = "") -> None:
    agents: Counter[str] = Counter()
    right: Counter[tuple[str, str]] = Counter()
    for agent in map(generate, range(number)):
        gains = {name: gain for name, gain in agent.gains().items() if name in OPERATIONS}
        spans = agent.spans()
        what_if = {bottleneck.name: bottleneck.gain for bottleneck in agent.analyze().bottlenecks}
        agents[agent.load] += 1
        for way, ranking in zip(WAYS, (total_time(spans), critical_path(spans), what_if), strict=True):
            right[agent.load, way] += is_right(first_of(ranking, gains), gains)
    print(f"{'top-1 right, %':16}{'agents':>8}" + "".join(f"{way:>18}" for way in WAYS))
    for load in LOADS:
        print(f"{load:16}{agents[load]:8}" + "".join(f"{100 * right[load, way] / agents[load]:18.1f}" for way in WAYS))

    if file:
        found = {load: {way: right[load, way] / agents[load] for way in WAYS} for load in LOADS}
        Path(file).write_text(json.dumps(found, indent=1) + "\n")


main(int(sys.argv[1]) if sys.argv[1:] else 300, *sys.argv[2:])
