"""The bottlenecks, each with the walls that a slider goes through: one change alone, replayed step by step."""

import time
from collections.abc import Iterator
from typing import Any

from ..analysis import Analysis, Resource
from ..analysis.bottlenecks import Bottleneck

__all__ = ["fixes"]

ROWS = 20
LEAST_GAIN = 0.002
BUDGET_S = 5.0  # of replays for sliders
FACTORS = (1.0, 0.75, 0.5, 0.25, 0.0)  # of a name's own time
TIMES = (1.0, 1.5, 2.0, 3.0, 4.0)  # what there is of a resource

Step = tuple[str, Any]  # what the slider says there, and what to give to what_if()


def fixes(analysis: Analysis) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows of the table, the largest gain first; and what was left out."""
    found = [each for each in analysis.bottlenecks if each.gain >= LEAST_GAIN]
    rows, notes, start, skipped = [], [], time.monotonic(), 0
    for each in found[:ROWS]:
        row = each.to_dict()
        if each.kind != "import" and time.monotonic() - start < BUDGET_S:
            row["steps"] = list(_walls(analysis, each))
        else:
            skipped += each.kind != "import"
            fixed = {"label": _fixed(each), "wall": analysis.wall * (1 - each.gain)}
            row["steps"] = [{"label": "as it is", "wall": analysis.wall}, fixed]
        labels = [step["label"] for step in row["steps"]]
        row["fixed"] = labels.index(_fixed(each)) if _fixed(each) in labels else len(labels) - 1
        rows.append(row)
    if len(found) > ROWS:
        notes.append(f"{len(found) - ROWS} more with smaller gains are left out.")
    if skipped:
        notes.append(f"The last {skipped} sliders have one step only: replays of this recording take long.")
    return rows, notes


def _walls(analysis: Analysis, each: Bottleneck) -> Iterator[dict[str, Any]]:
    yield {"label": "as it is", "wall": analysis.wall}
    name = each.name if each.kind == "limiter" else f"{each.kind}:{each.name}"
    for label, change in _steps(analysis, each):
        gain = float(analysis.what_if({name: change}))
        yield {"label": label, "wall": analysis.wall * (1 - gain)}


def _steps(analysis: Analysis, each: Bottleneck) -> list[Step]:
    """Behind "as it is"."""
    if each.kind == "limiter":
        return [(f"{times:g} × the rate", 1 / times) for times in TIMES[1:]]
    resource = _resource(analysis, each)
    if each.fix["action"] == "cache":
        return [("cached", {"cached": True})]
    if resource is None:
        return [(f"{factor * 100:.0f} % of its time" if factor else "no time at all", factor) for factor in FACTORS[1:]]
    if resource.kind == "lock":
        return [("held half as long", {"hold": 0.5})]
    if resource.kind == "queue":
        return [(f"{2 * resource.workers} workers", {"workers": 2 * resource.workers})]
    wanted = dict.fromkeys(round(times * resource.capacity) for times in TIMES[1:])
    return [(f"capacity {value}", {"capacity": value}) for value in wanted if value > resource.capacity]


def _resource(analysis: Analysis, each: Bottleneck) -> Resource | None:
    return next((one for one in analysis.resources if (one.kind, one.name) == (each.kind, each.name)), None)


def _fixed(each: Bottleneck) -> str:
    words = {
        "capacity": f"capacity {each.fix['to']}",
        "workers": f"{each.fix['to']} workers",
        "hold": "held half as long",
        "rate": "2 × the rate",
        "move to start": "done at the start",
        "faster": "50 % of its time",
        "cache": "cached",
    }
    return words.get(str(each.fix["action"]), str(each.fix["action"]))
