"""Calls of one name that several tasks or threads make at one time, and what it would save to make them together.

What a call of many would take is known where a batcher of that name has learned it. Else it is somewhere between two
assumptions: as long as its longest call takes alone, which is the most that a batch can bring, and as long as all of them
one after the other.
"""

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .._core import lib

if TYPE_CHECKING:
    from . import Analysis, Label
    from .changes import Change

__all__ = ["Merges", "find_merges"]

MOST = 32  # calls in a batch
KINDS = ("span", "tool", "retriever", "embedding")  # of calls that may come in lists; a node or a chat does not
OURS = re.compile(r"(cache|batcher) .+: \w+")  # spans of caches and batchers


@dataclass(frozen=True, slots=True)
class Merges:
    """The calls of one name. They have no other spans inside, and are not the same again."""

    name: str
    kind: str  # "tool", "span", …
    where: str  # "file.py:12" of the function, or empty
    calls: int
    mergeable: int  # beside another one, of another task or thread
    each: float  # what each call more takes in a batch, in times of its own
    is_known: bool  # a batcher of that name has learned it; else it is an assumption: nothing
    gain: float  # share of the wall that is saved
    gain_low: float  # likewise, if each call more takes all of its own time; the same where it is known
    label: int  # its number

    @property
    def changes(self) -> "list[Change]":
        """What was replayed."""
        return batches(self.label, MOST, self.each)

    @property
    def fix(self) -> dict[str, Any]:
        """As a bottleneck says it."""
        return {
            "action": "batch",
            "calls": self.mergeable,
            "to": MOST,
            "each": round(self.each, 4),
            "assumed": not self.is_known,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `--json` writes it (docs/json.md)."""
        fields = ("name", "kind", "where", "calls", "mergeable")
        return {field: getattr(self, field) for field in fields} | {
            "each": round(self.each, 4),
            "assumed": not self.is_known,
            "gain": round(self.gain, 4),
            "gain_low": round(self.gain_low, 4),
        }


def batches(label: int, most: float, each: float) -> "list[Change]":
    """The changes that make batches of a label's calls."""
    return [(lib.PERF_CHANGE_BATCH, label, float(most)), (lib.PERF_CHANGE_BATCH_EACH, label, float(each))]


def find_merges(analysis: "Analysis", least: int) -> list[Merges]:
    """Of every name that has at least so many calls to merge, the largest gain first."""
    found = [
        _of(label, analysis)
        for label in analysis.labels
        if label.kind in KINDS and label.mergeable >= least and not OURS.fullmatch(label.name)
    ]
    return sorted(found, key=lambda each: -each.gain)


def _of(label: "Label", analysis: "Analysis") -> Merges:
    known = _learned(label.name, analysis)
    gain = analysis.gain(batches(label.number, MOST, known or 0.0))
    return Merges(
        name=label.name,
        kind=label.kind,
        where=label.place,
        calls=label.calls,
        mergeable=label.mergeable,
        each=known or 0.0,
        is_known=known is not None,
        gain=gain,
        gain_low=gain if known is not None else min(gain, analysis.gain(batches(label.number, MOST, 1.0))),
        label=label.number,
    )


def _learned(name: str, analysis: "Analysis") -> float | None:
    """Of a batch of n that takes base + each · n: each call more, in times of a call alone. None: nobody knows."""
    base, each = (analysis.gauge(f"batcher.{name}.{what}") for what in ("base", "each"))
    if base is None or each is None or not (base >= 0 and each >= 0 and 0 < base + each < math.inf):
        return None
    return each / (base + each)
