"""Calls that are made again with the same arguments, and what it would save to make them once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._core import lib

if TYPE_CHECKING:
    from . import Analysis, Label
    from .changes import Change

__all__ = ["Repeats", "find_repeats"]


@dataclass(frozen=True, slots=True)
class Repeats:
    """The calls of one name. They are told apart by a digest of their arguments; a cache is taken to keep everything."""

    name: str
    kind: str  # "llm", "tool", "span", …
    where: str  # "file.py:12" of the function, or empty
    calls: int
    digested: int  # of which it is known what they were called with
    distinct: int
    repeats: int  # that an equal one, which came to a good end, could have answered
    gain: float  # share of the wall that is saved when these are answered, or wait for one that is on its way
    label: int  # its number

    @property
    def changes(self) -> "list[Change]":
        """What was replayed."""
        return [(lib.PERF_CHANGE_CACHE, self.label, 1.0)]

    @property
    def fix(self) -> dict[str, Any]:
        """As a bottleneck says it: how many calls are made, and would be."""
        return {"action": "cache", "from": self.digested, "to": self.digested - self.repeats}

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `--json` writes it (docs/json.md)."""
        fields = ("name", "kind", "where", "calls", "digested", "distinct", "repeats")
        return {field: getattr(self, field) for field in fields} | {"gain": round(self.gain, 4)}


def find_repeats(analysis: "Analysis") -> list[Repeats]:
    """Of every name whose calls repeat, the largest gain first."""
    found = [_of(label, analysis) for label in analysis.labels if label.name and label.repeats]
    return sorted(found, key=lambda each: -each.gain)


def _of(label: "Label", analysis: "Analysis") -> Repeats:
    return Repeats(
        name=label.name,
        kind=label.kind,
        where=label.place,
        calls=max(label.calls, label.digested),
        digested=label.digested,
        distinct=label.distinct,
        repeats=label.repeats,
        gain=analysis.gain([(lib.PERF_CHANGE_CACHE, label.number, 1.0)]),
        label=label.number,
    )
