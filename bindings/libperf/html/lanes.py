"""Lanes: one for each actor that did something worth a lane, and one for many where there are too many."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import groupby

from ..events import ActorKind
from .actors import History
from .explain import Explainer, Piece, State

__all__ = ["Lane", "make_lanes"]

LANES = 40
SPARE = 2  # lanes more than that, rather than one lane for so few
BINS = 300  # of a lane that stands for many actors
SHORTEST = 5e-4  # of the time shown, together: less is not worth a lane
WORDS = {
    State.RUN: "running",
    State.BLOCKED: "off the CPU by",
    State.INTERPRETER: "waiting for the interpreter",
    State.LAG: "ready while their event loop is busy",
}


@dataclass(slots=True)
class Lane:
    name: str
    kind: int
    actors: set[int]
    pieces: list[Piece] = field(default_factory=list)
    folded: int = 0  # actors that it sums up


@dataclass(slots=True)
class Group:
    """Actors of one name, in as few lanes as they fit into."""

    name: str
    kind: int
    lanes: list[Lane] = field(default_factory=list)
    ends: list[tuple[int, int]] = field(default_factory=list)  # a heap: when each lane is free

    def add(self, actor: int, pieces: list[Piece]) -> None:
        if self.ends and self.ends[0][0] <= pieces[0].start:
            number = heappop(self.ends)[1]
        else:
            number = len(self.lanes)
            self.lanes.append(Lane(self.name, self.kind, set()))
        heappush(self.ends, (pieces[-1].end, number))
        self.lanes[number].actors.add(actor)
        self.lanes[number].pieces += pieces

    def fold(self, limit: int) -> None:
        """At most `limit` lanes: the last one sums up what does not fit."""
        if len(self.lanes) > limit + SPARE:
            rest = self.lanes[limit - 1 :]
            self.lanes[limit - 1 :] = [summed_up(rest, self.name)]


def make_lanes(history: History, explainer: Explainer, on_path: dict[int, int]) -> tuple[list[Lane], list[str]]:
    groups: dict[tuple[int, str], Group] = {}
    pools = {ring.stack[0].id for ring in history.rings if ring.is_pool}  # their threads' time is their work's
    shown = (ActorKind.MAIN, ActorKind.THREAD, ActorKind.TASK, ActorKind.WORK)
    found = [
        (actor, pieces)
        for actor in history.actors.values()
        if actor.kind in shown and actor.id not in pools and (pieces := list(explainer.pieces(actor)))
    ]
    least, left_out = SHORTEST * (history.end - history.start), 0
    found.sort(key=lambda one: (on_path.get(one[0].id, 0) < least, one[1][0].start))
    for actor, pieces in found:
        if pieces[-1].end - pieces[0].start < least:
            left_out += 1
            continue
        name = explainer.actor_name(actor)
        groups.setdefault((actor.kind, name), Group(name, actor.kind)).add(actor.id, pieces)
    notes = [f"Left out, because over at once: {left_out:,}."] if left_out else []
    lanes = fold(list(groups.values()))
    for lane in lanes:
        if lane.folded:
            lane.name = f"{lane.folded:,} × {lane.name}"
    if any(lane.folded for lane in lanes):
        notes.append(f"{sum(lane.folded for lane in lanes):,} tasks are summed up in lanes named “n × …”.")
    return sorted(lanes, key=_order), notes


def _order(lane: Lane) -> tuple[bool, int]:
    """The main thread first, then by the begin."""
    return lane.kind != ActorKind.MAIN, lane.pieces[0].start


def fold(groups: list[Group]) -> list[Lane]:
    """Each group gets the same number of lanes at most; when there are too many groups, the smallest are one."""
    groups.sort(key=lambda group: -sum(piece.end - piece.start for lane in group.lanes for piece in lane.pieces))
    if len(groups) > LANES:
        rest = [lane for group in groups[LANES - 1 :] for lane in group.lanes]
        groups[LANES - 1 :] = [Group("others", ActorKind.TASK, [summed_up(rest, "others")])]
    limit = max(len(group.lanes) for group in groups) if groups else 1
    while limit > 1 and sum(min(limit, len(group.lanes)) for group in groups) > LANES:
        limit -= 1
    for group in groups:
        group.fold(limit)
    return [lane for group in groups for lane in group.lanes]


def summed_up(lanes: list[Lane], name: str) -> Lane:
    """One lane for many: what most of them did at each time."""
    pieces = [piece for lane in lanes for piece in lane.pieces]
    start, end = min(piece.start for piece in pieces), max(piece.end for piece in pieces)
    width = max(1, -(-(end - start) // BINS))
    totals = {state: _in_bins([piece for piece in pieces if piece.state == state], start, width) for state in State}
    whats = {state: _longest(piece for piece in pieces if piece.state == state) for state in State}
    actors = {actor for lane in lanes for actor in lane.actors}
    most = [max(State, key=lambda state: totals[state][i]) for i in range(BINS)]
    summed = []
    for state, run in groupby(range(BINS), lambda i: most[i] if totals[most[i]][i] > 0 else None):
        if state is not None:
            bins = list(run)
            begin, until = start + bins[0] * width, min(end, start + (bins[-1] + 1) * width)
            mean = sum(totals[state][i] for i in bins) / (len(bins) * width)
            what = f"about {round(mean) or 1:,} of {len(actors):,} {WORDS.get(state, 'waiting for')} {whats[state]}"
            summed.append(Piece(begin, until, state, 0, what.strip()))
    return Lane(name, lanes[0].kind, actors, summed, folded=len(actors))


def _in_bins(pieces: list[Piece], start: int, width: int) -> list[float]:
    """How much time falls into each bin: the ends by themselves, what lies between by differences."""
    part, steps = [0.0] * (BINS + 1), [0.0] * (BINS + 2)
    for piece in pieces:
        first, last = (piece.start - start) // width, min(BINS, (piece.end - start) // width)
        weight = abs(piece.part or 100) / 100
        if first == last:
            part[first] += weight * (piece.end - piece.start)
        else:
            part[first] += weight * (start + (first + 1) * width - piece.start)
            part[last] += weight * (piece.end - start - last * width)
            steps[first + 1] += weight * width
            steps[last] -= weight * width
    full, total = 0.0, []
    for i in range(BINS):
        full += steps[i]
        total.append(full + part[i])
    return total


def _longest(pieces: Iterable[Piece]) -> str:
    times: dict[str, int] = defaultdict(int)
    for piece in pieces:
        times[piece.what] += piece.end - piece.start
    return max(times, key=lambda what: times[what], default="")
