"""Draws latency against load, for docs/batching.md: .venv/bin/python tools/plot.py docs/batching.svg

Simulated: the same seed draws the same picture. A second argument is a file of `python -m libperf.batcher.simulate --table
load --json` to draw instead.
"""

import json
import sys
from pathlib import Path
from typing import Any

from libperf.batcher.simulate.tables import to_json

WIDTH, HEIGHT = 880, 380
PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP = 360, 250, 60, 78
GAP = 70
SEED, ARRIVALS = 1, 60_000
PANELS = {"mean_ms": "mean latency, ms", "p95_ms": "P95 of latency, ms"}
COLOURS = (
    ("#b45309", "#fbbf24"),
    ("#be123c", "#fb7185"),
    ("#7e22ce", "#c084fc"),
    ("#15803d", "#4ade80"),
)  # light, dark

STYLE = """
text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2937 }
.title { font-weight: 600; font-size: 14px }
.ground { fill: #ffffff }
.grid { stroke: #d1d5db; stroke-width: 1 }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
.libperf { stroke: #1d4ed8; stroke-width: 3.2 }
.optimum { stroke: #1f2937; stroke-dasharray: 2 4; stroke-width: 2 }
"""
DARK = """
text { fill: #e5e7eb }
.ground { fill: #0d1117 }
.grid { stroke: #374151 }
.libperf { stroke: #60a5fa }
.optimum { stroke: #f3f4f6 }
"""

Rows = list[dict[str, Any]]


def style(policies: dict[str, str]) -> str:
    windows = [name for name in policies.values() if name.startswith("window")]
    light = "".join(f".{name} {{ stroke: {COLOURS[i % len(COLOURS)][0]} }}\n" for i, name in enumerate(windows))
    dark = "".join(f".{name} {{ stroke: {COLOURS[i % len(COLOURS)][1]} }}\n" for i, name in enumerate(windows))
    return f"<style>{STYLE}{light}@media (prefers-color-scheme: dark) {{{DARK}{dark}}}</style>"


def panel(rows: Rows, policies: dict[str, str], key: str, left: float) -> list[str]:
    drawn = [row for row in rows if row.get(key) is not None]
    highest = max(row[key] for row in drawn)
    step = next(step for step in (10, 20, 25, 50, 100, 200, 500, 1000) if highest / step <= 6)
    top = step * -(-highest // step)

    def x(load: float) -> float:
        return round(left + PANEL_WIDTH * load, 1)

    def y(value: float) -> float:
        return round(TOP + PANEL_HEIGHT * (1 - value / top), 1)

    parts = [f'<text class="title" x="{left}" y="{TOP - 12}">{PANELS[key]}</text>']
    for tick in range(int(top // step) + 1):
        at = y(tick * step)
        parts.append(f'<path class="grid" d="M{left} {at}h{PANEL_WIDTH}"/>')
        parts.append(f'<text x="{left - 8}" y="{at + 4}" text-anchor="end">{tick * step}</text>')
    for load in (0, 0.2, 0.4, 0.6, 0.8, 1):
        parts.append(f'<text x="{x(load)}" y="{TOP + PANEL_HEIGHT + 18}" text-anchor="middle">{load:g}</text>')
    middle = left + PANEL_WIDTH / 2
    parts.append(f'<text x="{middle}" y="{TOP + PANEL_HEIGHT + 38}" text-anchor="middle">load, of the capacity</text>')
    for policy, name in sorted(policies.items(), key=lambda item: not item[1].startswith("window")):
        points = [f"{x(row['load'])},{y(row[key])}" for row in drawn if row["policy"] == policy]
        if points:
            parts.append(f'<polyline class="line {name}" points="{" ".join(points)}"/>')
    return parts


def legend(policies: dict[str, str]) -> list[str]:
    parts, left = [], float(LEFT)
    for policy, name in policies.items():
        parts.append(f'<path class="line {name}" d="M{left} 38h26"/><text x="{left + 33}" y="42">{policy}</text>')
        left += 62 + 6.6 * len(policy)
    return parts


def picture(table: dict[str, Any]) -> str:
    rows: Rows = table["rows"]
    policies = {row["policy"]: row["policy"].replace(" ", "-") for row in rows}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{table["title"]}">',
        style(policies),
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
        f'<text x="{LEFT}" y="20">{table["note"].partition(";")[0]} a batch of n, at most 32; Poisson arrivals</text>',
        *legend(policies),
    ]
    for number, key in enumerate(PANELS):
        parts += panel(rows, policies, key, LEFT + number * (PANEL_WIDTH + GAP))
    return "\n".join([*parts, "</svg>", ""])


def main(target: str, source: str | None = None) -> None:
    text = Path(source).read_text() if source else to_json(["load"], SEED, ARRIVALS)
    table = next(table for table in json.loads(text)["tables"] if table["table"] == "load")
    Path(target).write_text(picture(table))


if __name__ == "__main__":
    main(*sys.argv[1:])
