"""The timeline and the critical path, as much of them as a page can hold, as columns of numbers."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

from ..reader import Name
from .actors import History
from .columns import Columns, Texts
from .explain import Explainer, Piece
from .lanes import Lane, make_lanes
from .path import Step

__all__ = ["timeline"]

PIECES = 12_000
STEPS = 3_000  # of the critical path
FINEST = 1e-5  # of the time shown: where leaving out begins

Part = TypeVar("Part", Piece, Step)


def timeline(history: History, names: Sequence[Name], steps: list[Step]) -> dict[str, Any]:
    """Times: microseconds since the program's own work began; imports before it are negative."""
    origin = history.work or history.start
    span = max(1, history.end - history.start)
    explainer = Explainer(history, names)
    on_path: dict[int, int] = defaultdict(int)
    for step in steps:
        on_path[step.actor] += step.end - step.start
    lanes, notes = make_lanes(history, explainer, on_path)
    notes += coarsen(lanes, span)
    steps, joined = fewer(steps, STEPS, span)
    if joined:
        notes.append(f"Steps of the critical path shorter than {joined / 1e3:,.0f} µs are drawn as one.")
    texts = Texts()
    return {
        "lanes": [lane.name for lane in lanes],
        "begin": us(history.start - origin),
        "end": us(history.end - origin),
        "pieces": piece_columns(lanes, explainer, texts, origin),
        "path": path_columns(lanes, steps, explainer, texts, origin),
        "texts": list(texts),
        "notes": notes,
    }


def us(ns: int) -> int:
    return round(ns / 1000)


def piece_columns(lanes: list[Lane], explainer: Explainer, texts: Texts, origin: int) -> Columns:
    columns = Columns("start", "length", "lane", "state", "span", "what", "part")
    for number, lane in enumerate(lanes):
        for piece in lane.pieces:
            span, what = texts[explainer.span_name(piece.span)], texts[piece.what]
            times = us(piece.start - origin), max(1, us(piece.end - piece.start))
            columns.add(*times, number, int(piece.state), span, what, piece.part)
    return columns


def path_columns(lanes: list[Lane], steps: list[Step], explainer: Explainer, texts: Texts, origin: int) -> Columns:
    """Lane -1: a step of somebody who has none."""
    lane_of = {actor: number for number, lane in enumerate(lanes) for actor in lane.actors}
    columns = Columns("start", "length", "lane", "kind", "span", "what")
    for step in steps:
        span, what = texts[explainer.span_name(step.span)], texts[step.resource]
        times = us(step.start - origin), us(step.end - step.start)
        columns.add(*times, lane_of.get(step.actor, -1), step.kind, span, what)
    return columns


# ---- as much as a page can hold ----


def coarsen(lanes: list[Lane], span: int) -> list[str]:
    """Make one of short neighbours in all lanes alike, until there are few enough; says how short."""
    resolution = 0
    while sum(len(lane.pieces) for lane in lanes) > PIECES:
        resolution = 2 * resolution or max(1, int(FINEST * span))
        for lane in lanes:
            lane.pieces = joined(lane.pieces, resolution)
    return [f"Neighbours shorter than {resolution / 1e3:,.0f} µs are drawn as one."] if resolution else []


def fewer(parts: list[Part], most: int, span: int) -> tuple[list[Part], int]:
    """At most so many parts, and up to which length they were joined; 0: none was."""
    resolution = 0
    while len(parts) > most:
        resolution = 2 * resolution or max(1, int(FINEST * span))
        parts = joined(parts, resolution)
    return parts, resolution


def joined(parts: list[Part], resolution: int) -> list[Part]:
    """Neighbours that are short, also together, become one: what most of it is."""
    result: list[Part] = []
    short: list[Part] = []
    for part in parts:
        if short and part.end - short[0].start >= resolution:
            result.append(_one_of(short))
            short = []
        if part.end - part.start < resolution:
            short.append(part)
        else:
            if short:
                result.append(_one_of(short))
                short = []
            result.append(part)
    if short:
        result.append(_one_of(short))
    return result


def _one_of(short: list[Part]) -> Part:
    longest = max(short, key=lambda part: part.end - part.start)
    return longest._replace(start=short[0].start, end=max(part.end for part in short))
