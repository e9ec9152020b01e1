"""What-ifs: from names and values as people write them to changes of a replay."""

import os
from typing import TYPE_CHECKING, Any, Self

from .._core import lib
from ..errors import PerfError
from ..reader import Reader
from .merges import batches

if TYPE_CHECKING:
    from . import Analysis, Label, Resource

__all__ = ["Change", "Prediction", "find_changes", "what_if"]

MOST = 1000  # times as much: what a replay takes

Change = tuple[int, int, float]  # PERF_CHANGE_…, number of a label or resource, factor


class Prediction(float):
    """A share of the wall that a change would save, 0.25 for a quarter; and how it was found. Seconds."""

    before: float
    after: float
    reliable: bool

    def __new__(cls, gain: float, before: float, after: float, reliable: bool) -> Self:
        self = super().__new__(cls, gain)
        self.before, self.after, self.reliable = before, after, reliable
        return self


def what_if(trace: "Analysis | Reader | str | os.PathLike[str]", changes: dict[str, Any]) -> Prediction:
    """What would these changes save? `trace`: a trace file, a Reader, or an Analysis; see Analysis.what_if().

    >>> libperf.what_if("agent.perf", {"llm:summarise": 0.5, "semaphore:db": {"capacity": 2}})
    """
    from . import Analysis

    if isinstance(trace, Analysis):
        return trace.what_if(changes)
    if not isinstance(trace, (Reader, str, os.PathLike)):
        raise PerfError(f"what_if({trace!r}): expected a trace file, a Reader or an Analysis")
    with Analysis(trace) as analysis:
        return analysis.what_if(changes)


def find_changes(analysis: "Analysis", name: str, value: Any) -> list[Change]:
    """The changes that one entry of Analysis.what_if() stands for. Of a span and a resource of the same name a number
    changes the span, a dict the resource."""
    kind, _, bare = name.partition(":")
    kind = "span" if kind == "function" else kind  # as tables call it

    def is_meant(label: "Label") -> bool:
        if not label.name or label.kind == "import":
            return bool(label.name) and (kind, bare) == ("import", label.name)
        return label.name == name or (label.name == bare and kind in (label.kind, *analysis.kinds_of(bare)))

    limited = [label for label in analysis.labels if label.gap and label.limiter == name]
    if limited:
        return [(lib.PERF_CHANGE_GAP, label.number, _factor(name, value)) for label in limited]
    labels = [label for label in analysis.labels if is_meant(label)]
    if labels and value == {"side_by_side": True}:
        return [(lib.PERF_CHANGE_SIDE_BY_SIDE, label.number, 1.0) for label in labels]
    if labels and value == {"cached": True}:
        return [_cached(name, label) for label in labels]
    if labels and isinstance(value, dict) and "batched" in value:
        most, each = _batches(name, value)
        return [change for label in labels for change in batches(label.number, most, each)]
    resources = [one for one in analysis.resources if one.name == name or (one.kind, one.name) == (kind, bare)]
    if resources and (isinstance(value, dict) or not labels):
        return [
            (lib.PERF_CHANGE_CAPACITY, number, _resource_factor(resource, name, value))
            for resource in resources
            for number in resource.numbers
        ]
    if labels:
        return [(lib.PERF_CHANGE_TIME, label.number, _factor(name, value)) for label in labels]
    known = [f"{label.kind}:{label.name}" for label in analysis.labels if label.name]
    known += [f"{resource.kind}:{resource.name}" for resource in analysis.resources]
    raise KeyError(f"nothing was recorded under {name!r}; there are: {', '.join(dict.fromkeys(known)) or 'no names'}")


def _factor(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MOST:
        raise ValueError(
            f"{name!r}: {value!r} is no factor; 0.5 means half the time, 0 none at all, {MOST} is the most"
        )
    return float(value)


def _batches(name: str, value: dict[str, Any]) -> tuple[float, float]:
    most, each = value["batched"], value.get("each", 0)
    if (
        isinstance(most, bool)
        or not isinstance(most, int)
        or not 1 <= most <= MOST
        or value.keys() - {"batched", "each"}
    ):
        raise ValueError(f"{name!r}: {value!r} is no batch; use {{'batched': 32}}, or {{'batched': 32, 'each': 0.1}}")
    return most, _factor(name, each)


def _cached(name: str, label: "Label") -> Change:
    if not label.digested:
        raise ValueError(f"{name!r}: nothing is known of its arguments, so not which of its calls are equal")
    return lib.PERF_CHANGE_CACHE, label.number, 1.0


def _resource_factor(resource: "Resource", name: str, value: Any) -> float:
    word = {"queue": "workers", "lock": "hold"}.get(resource.kind, "capacity")
    wanted = value.get(word) if isinstance(value, dict) and len(value) == 1 else None
    if isinstance(wanted, bool) or not isinstance(wanted, (int, float)):
        raise ValueError(f"{name!r}: {value!r} is no change of a {resource.kind}; use {{{word!r}: …}}")
    if resource.kind == "lock":
        if wanted != 0.5:
            raise ValueError(f"{name!r}: only {{'hold': 0.5}} can be replayed, not {wanted!r}")
        return 2.0
    if resource.kind == "queue":
        if not resource.workers:
            raise ValueError(f"{name!r}: no task takes from this queue alone, so there are no workers to add")
        if wanted != 2 * resource.workers:
            raise ValueError(f"{name!r}: only twice the {resource.workers} workers can be replayed, not {wanted!r}")
        return 2.0
    if wanted < 1 or not float(wanted).is_integer():
        raise ValueError(f"{name!r}: a capacity is a whole number, 1 or more, not {wanted!r}")
    if not resource.capacity:
        raise ValueError(f"{name!r}: it was made with capacity 0, as a signal: there is nothing to multiply")
    return min(wanted / resource.capacity, float(MOST))
