"""Bottlenecks: what slows a program, how much each fix would save, and how sure that is."""

import time
from dataclasses import dataclass
from typing import Any

from .._core import lib
from . import Analysis, Label, Resource, classes
from .changes import Change
from .classes import Evidence, Thresholds
from .merges import Merges
from .repeats import Repeats

__all__ = ["Bottleneck", "find_bottlenecks"]

BOOTSTRAP = 12  # replays with durations drawn anew, for the interval
BOOTSTRAP_FINDINGS = 10  # the interval is for the first ones
BUDGET_S = 5.0  # of replays for intervals; a large recording gets fewer
CAN_BE_DONE = ("cache", "batch")
SHARE_STEP = 1e-5  # elasticity: how much faster, for the share
SHARE_STEP_LOTTERY = 0.1  # where replays differ by chance


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """One finding. `gain`, `share`: of the wall, 0..1."""

    name: str  # as the user wrote it
    kind: str  # "llm", "node", "span", …, "semaphore", "lock", "queue", "executor", "limiter", "import"
    category: str  # its class; docs/bottlenecks.md
    where: str  # "file.py:12", or empty
    share: float  # elasticity: one per cent less of it saves this share of a per cent
    on_path: float | None  # of the critical path, under this name; None where that is not known
    gain: float  # what `fix` saves
    gain_low: float  # 5 % and 95 % of replays with durations drawn anew from those recorded
    gain_high: float
    reliable: bool
    fix: dict[str, Any]
    why: str
    advice: str
    ties: tuple[str, ...] = ()  # others whose gain is the same
    alternatives: tuple[dict[str, Any], ...] = ()  # other ways to fix it, each with its gain

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `--json` writes it (docs/json.md)."""
        return {
            "name": self.name,
            "kind": self.kind,
            "class": self.category,
            "where": self.where,
            "share": round(self.share, 4),
            "on_path": None if self.on_path is None else round(self.on_path, 4),
            "fix": self.fix,
            "gain": round(self.gain, 4),
            "gain_low": round(self.gain_low, 4),
            "gain_high": round(self.gain_high, 4),
            "reliable": self.reliable,
            "why": self.why,
            "advice": self.advice,
            "ties": list(self.ties),
            "alternatives": list(self.alternatives),
        }


@dataclass(slots=True)
class _Way:
    """Another way to fix something."""

    changes: list[Change]
    fix: dict[str, Any]
    advice: str  # up to the share that it saves; empty: it goes without saying
    gain: float
    low: float = 0.0
    high: float = 0.0
    floor: float | None = None  # what it saves at least, where `gain` rests on an assumption
    assumed: str = ""

    def to_dict(self) -> dict[str, Any]:
        low, high = min(self.low, self.gain), max(self.high, self.gain)
        if self.floor is not None:
            low = min(low, self.floor)
        return self.fix | {"gain": round(self.gain, 4), "gain_low": round(low, 4), "gain_high": round(high, 4)}


@dataclass(slots=True)
class _Candidate:
    """Something that can be changed, while its row is being made."""

    name: str
    kind: str
    where: str
    changes: list[Change]
    fix: dict[str, Any]
    share: float
    gain: float
    evidence: Evidence
    labels: tuple[int, ...] = ()
    alternatives: tuple[_Way, ...] = ()
    is_resource: bool = False
    is_unnamed: bool = False  # a resource that is known by its line
    low: float = 0.0
    high: float = 0.0


def find_bottlenecks(analysis: Analysis, thresholds: Thresholds | None = None) -> list[Bottleneck]:
    """Everything whose change would save time, the largest gain first; of equal ones resources first."""
    thresholds = thresholds or Thresholds()
    found = [
        *_labels(analysis, thresholds),
        *_repeats(analysis, thresholds),
        *_merges(analysis, thresholds),
        *_imports(analysis, thresholds),
        *_limiters(analysis),
        *_resources(analysis, thresholds),
    ]
    groups = _named_first(_in_order(_best_of_name(found, thresholds.tie), thresholds.tie))
    _intervals(analysis, [one for group in groups for one in group][:BOOTSTRAP_FINDINGS])
    return [_row(analysis, one, group) for group in groups for one in group]


def shares(analysis: Analysis) -> dict[str, float]:
    """Elasticities by name: together they are 1 where the program scales as a whole; more means queueing, less that
    something is not explained by any name. "(no span)" is code outside spans."""
    found: dict[str, float] = {}
    for label in analysis.labels:
        if label.kind in ("limit", "hold") or not label.total:
            continue
        name = label.name or "(no span)"
        found[name] = found.get(name, 0.0) + _share(analysis, label)
    for label in analysis.labels:  # a lock that is held in order to sleep
        if label.kind == "hold" and label.total:
            found["(rate limits)"] = found.get("(rate limits)", 0.0) + _share(analysis, label)
    found["(unexplained)"] = 1.0 - sum(found.values())
    return found


def _share(analysis: Analysis, label: Label) -> float:
    step = SHARE_STEP_LOTTERY if analysis.lottery else SHARE_STEP
    return analysis.gain([(lib.PERF_CHANGE_TIME, label.number, 1 - step)]) / step


def _labels(analysis: Analysis, t: Thresholds) -> list[_Candidate]:
    found = []
    for label in analysis.labels:
        if not label.name or label.kind == "import" or label.total < t.listed * analysis.replayed:
            continue
        changes = [(lib.PERF_CHANGE_TIME, label.number, 0.5)]
        found.append(
            _Candidate(
                name=label.name,
                kind=label.kind,
                where="",
                changes=changes,
                fix={"action": "faster", "from": 1.0, "to": 0.5},
                share=_share(analysis, label),
                gain=analysis.gain(changes),
                evidence=classes.of_label(label, analysis, t),
                labels=(label.number,),
                alternatives=_alternatives(analysis, label, t),
            )
        )
    return found


def _alternatives(analysis: Analysis, label: Label, t: Thresholds) -> tuple[_Way, ...]:
    """Calls that came one after the other, made side by side, whether they need each other is for the user to say; and
    equal calls, made once."""
    ways = []
    if label.siblings:
        changes = [(lib.PERF_CHANGE_SIDE_BY_SIDE, label.number, 1.0)]
        fix = {"action": "side by side", "calls": label.siblings + 1}
        ways.append(_Way(changes, fix, "side by side, if they need not wait for each other: −", analysis.gain(changes)))
        if ways[0].gain < t.side_by_side_gain:
            ways.clear()
    for one in analysis.repeats:
        if one.label == label.number and one.gain >= t.cached_gain:
            fix = {"action": "cache", "calls": one.digested, "repeats": one.repeats}
            ways.append(_Way(one.changes, fix, f"or {classes.cached(one)}, saves ", one.gain))
    for found in analysis.merges:
        if found.label == label.number and found.gain >= t.batched_gain:
            ways.append(_batched(found))
    return tuple(ways)


def _batched(found: Merges) -> _Way:
    saves = "saves " if found.is_known else "saves at most "
    way = _Way(found.changes, found.fix, f"or {classes.batched(found)}, {saves}", found.gain)
    if not found.is_known:
        way.floor = found.gain_low
        way.assumed = ", if a batch takes no longer than its longest call takes alone (assumed)"
    return way


def _merges(analysis: Analysis, t: Thresholds) -> list[_Candidate]:
    """What is worth a batcher, where it is known what a batch takes; else it is only said with the name's row."""
    worth = (one for one in analysis.merges if one.is_known and one.gain >= t.batched_gain)
    return [_of_calls(analysis, one, classes.of_merges(one)) for one in worth]


def _repeats(analysis: Analysis, t: Thresholds) -> list[_Candidate]:
    """What is worth a cache, together with everything that it calls."""
    worth = (one for one in analysis.repeats if one.gain >= t.cached_gain)
    return [_of_calls(analysis, one, classes.of_repeats(one)) for one in worth]


def _of_calls(analysis: Analysis, one: Merges | Repeats, evidence: Evidence) -> _Candidate:
    """Of calls that another way of calling would change."""
    return _Candidate(
        name=one.name,
        kind=one.kind,
        where=one.where,
        changes=one.changes,
        fix=one.fix,
        share=_share(analysis, analysis.labels[one.label]),
        gain=one.gain,
        evidence=evidence,
        labels=(one.label,),
    )


def _imports(analysis: Analysis, t: Thresholds) -> list[_Candidate]:
    """What was imported inside each span; the fix is to import it when the program starts."""
    by_place: dict[int, list[Label]] = {}
    for label in analysis.labels:
        if label.kind == "import" and label.total:
            by_place.setdefault(label.inside, []).append(label)
    found = []
    for inside, imported in by_place.items():
        total = sum(label.total for label in imported)
        if total < t.listed * analysis.replayed:
            continue
        changes = [(lib.PERF_CHANGE_TIME, label.number, 0.0) for label in imported]
        gain = analysis.gain(changes)
        imported.sort(key=lambda label: -label.total)
        found.append(
            _Candidate(
                name=analysis.labels[inside].name or imported[0].name,
                kind="import",
                where="",
                changes=changes,
                fix={"action": "move to start", "from": [label.name for label in imported], "to": "start"},
                share=max(0.0, gain),
                gain=gain,
                evidence=classes.of_imports(imported),
                labels=tuple(label.number for label in imported),
            )
        )
    return found


def _limiters(analysis: Analysis) -> list[_Candidate]:
    found = []
    for label in analysis.labels:
        if not label.gap:
            continue
        changes = [(lib.PERF_CHANGE_GAP, label.number, 0.5)]
        gain = analysis.gain(changes)
        found.append(
            _Candidate(
                name=label.limiter,
                kind="limiter",
                where="",
                changes=changes,
                fix={"action": "rate", "from": round(1 / label.gap, 3), "to": round(2 / label.gap, 3)},
                share=max(0.0, gain),
                gain=gain,
                evidence=classes.of_limiter(label),
                is_resource=True,
            )
        )
    return found


def _resources(analysis: Analysis, t: Thresholds) -> list[_Candidate]:
    found = []
    for resource in analysis.resources:
        if not resource.uses or not (resource.workers if resource.kind == "queue" else resource.capacity):
            continue  # nothing to have more of
        changes = [(lib.PERF_CHANGE_CAPACITY, number, 2.0) for number in resource.numbers]
        gain = analysis.gain(changes) if resource.waited or resource.kind == "queue" else 0.0
        found.append(
            _Candidate(
                name=resource.name,
                kind=resource.kind,
                where=resource.where,
                changes=changes,
                fix=_fix(resource),
                share=max(0.0, gain),
                gain=gain,
                evidence=classes.of_resource(resource, gain, analysis, t),
                is_resource=True,
                is_unnamed=bool(resource.where) and resource.where.endswith(resource.name),
            )
        )
    return found


def _fix(resource: Resource) -> dict[str, Any]:
    if resource.kind == "lock":
        return {"action": "hold", "from": 1.0, "to": 0.5}
    if resource.kind == "queue":
        return {"action": "workers", "from": resource.workers, "to": 2 * resource.workers}
    return {"action": "capacity", "from": resource.capacity, "to": 2 * resource.capacity}


def _best_of_name(found: list[_Candidate], tie: float) -> list[_Candidate]:
    """A semaphore may have the name of what it guards: the row with the larger gain stands for it. A cache or a batcher
    is something that one can do, twice as fast is only a measure: of equal gains theirs stands."""
    best: dict[str, _Candidate] = {}
    for one in found:
        known = best.get(one.name)
        lead = tie if one.fix["action"] in CAN_BE_DONE else 0.0
        if known is None or one.gain + lead > known.gain:
            best[one.name] = one
            if known and lead:
                faster = _Way(known.changes, {"action": known.fix["action"]}, "", known.gain)
                others = [way for way in known.alternatives if way.fix["action"] != one.fix["action"]]
                one.alternatives = (faster, *others)
    return list(best.values())


def _in_order(found: list[_Candidate], tie: float) -> list[list[_Candidate]]:
    """By gain, in groups of equal gains; in a group resources first, since they are the cheaper fix."""
    groups: list[list[_Candidate]] = []
    for one in sorted(found, key=lambda one: -one.gain):
        if groups and one.gain > tie and groups[-1][0].gain - one.gain <= tie:
            groups[-1].append(one)
        else:
            groups.append([one])
    return [sorted(group, key=_rank) for group in groups]


def _rank(one: _Candidate) -> int:
    """Resources are the cheaper fix; of those that nobody named, one has to look up the line first."""
    return 2 if one.is_unnamed else 0 if one.is_resource else 1


def _named_first(groups: list[list[_Candidate]]) -> list[list[_Candidate]]:
    """The first row is something the reader knows by name, when that brings at least half as much."""
    for place, group in enumerate(groups):
        if not all(one.is_unnamed for one in group):
            if place > 0 and group[0].gain >= groups[0][0].gain / 2:
                groups.insert(0, groups.pop(place))
            break
    return groups


def _intervals(analysis: Analysis, found: list[_Candidate]) -> None:
    """5 % and 95 % of gains in replays whose durations are drawn anew from those that were recorded."""
    wanted: list[_Candidate | _Way] = [*found, *(way for one in found for way in one.alternatives)]
    gains: list[list[float]] = [[one.gain] for one in wanted]
    start = time.monotonic()
    for sample in range(1, BOOTSTRAP + 1):
        if time.monotonic() - start > BUDGET_S:
            break
        before = analysis.replay(sample=sample)
        for one, known in zip(wanted, gains, strict=True):
            known.append((before - analysis.replay(one.changes, sample)) / before if before else 0.0)
    for one, known in zip(wanted, gains, strict=True):
        known.sort()
        one.low, one.high = known[round(0.05 * (len(known) - 1))], known[round(0.95 * (len(known) - 1))]


def _advice(one: _Candidate) -> str:
    first = f", saves {_share_saved(one)}" if one.fix["action"] in CAN_BE_DONE else ""
    others = [f"; {way.advice}{_share_saved(way)}{way.assumed}" for way in one.alternatives if way.advice]
    return one.evidence.advice + first + "".join(others)


def _share_saved(way: _Candidate | _Way) -> str:
    spread = round((max(way.high, way.gain) - min(way.low, way.gain)) / 2 * 100)
    return f"{way.gain * 100:.0f} %" + (f" ± {spread}" if spread else "")


def _row(analysis: Analysis, one: _Candidate, group: list[_Candidate]) -> Bottleneck:
    path = sum(analysis.on_path.values())
    on_path = sum(analysis.on_path[label] for label in one.labels) / path if one.labels and path else None
    return Bottleneck(
        name=one.name,
        kind=one.kind,
        category=one.evidence.category,
        where=one.where,
        share=one.share,
        on_path=on_path,
        gain=one.gain,
        gain_low=min(one.low, one.gain),
        gain_high=max(one.high, one.gain),
        reliable=analysis.reliable,
        fix=one.fix,
        why=one.evidence.why,
        advice=_advice(one),
        alternatives=tuple(way.to_dict() for way in one.alternatives),
        ties=tuple(other.name for other in group if other is not one),
    )
