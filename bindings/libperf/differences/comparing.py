"""Comparisons of one thing on two sides: the core's tests (libperf/regression.h), in seconds and in words."""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .._core import ffi, lib
from ..errors import check
from ..metrics import Histogram

__all__ = ["Comparison", "adjusted", "rate", "runs", "shift", "tail"]

BUCKET = 2**-7 / math.sqrt(12)  # standard deviation of a value that is known to its bucket, as a share of it


@dataclass(frozen=True, slots=True)
class Comparison:
    """One thing that was compared. Chances are corrected for the number of comparisons."""

    what: str  # "shift", "tail", "errors", "misses", or the name of a quantity
    old: float  # seconds, a share of the calls, or a quantity a call
    new: float
    ratio: float  # new / old, as estimated
    low: float  # its confidence interval
    high: float
    effect: float | None  # chance that a new call takes longer than an old one, ties half
    p_worse: float  # chance of this much more, or a larger change, when nothing has changed
    p_better: float
    verdict: str = "same"  # "worse", "better", "same"

    def judged(self, p_worse: float, p_better: float, alpha: float, threshold: float) -> "Comparison":
        """With corrected chances: a change is one that is sure, and large enough."""
        verdict = "same"
        if p_worse <= alpha and self.ratio >= 1 + threshold:
            verdict = "worse"
        elif p_better <= alpha and self.ratio <= 1 / (1 + threshold):
            verdict = "better"
        return replace(self, p_worse=p_worse, p_better=p_better, verdict=verdict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `--json` writes it (docs/diff.md)."""
        return {
            "what": self.what,
            "verdict": self.verdict,
            "old": self.old,
            "new": self.new,
            "ratio": _finite(self.ratio),
            "ratio_low": self.low,
            "ratio_high": _finite(self.high),
            "effect": self.effect,
            "p_worse": self.p_worse,
            "p_better": self.p_better,
        }


def _finite(value: float) -> float | None:
    """JSON knows no infinity: null is one."""
    return value if math.isfinite(value) else None


def _options(alpha: float, old_inflation: float = 1.0, new_inflation: float = 1.0) -> Any:
    return ffi.new("perf_regression_options *", (1 - 2 * alpha, old_inflation, new_inflation))


def _comparison(what: str, raw: Any, unit: float = 1.0) -> Comparison:
    effect = None if math.isnan(raw.effect) else raw.effect
    values = raw.old_value * unit, raw.new_value * unit
    return Comparison(what, *values, raw.ratio, raw.ratio_low, raw.ratio_high, effect, raw.p_more, raw.p_less)


def shift(old: Histogram, new: Histogram, alpha: float, inflation: tuple[float, float]) -> Comparison:
    """Whole distributions. `inflation`: of each side, so many calls tell as much as one that is independent."""
    raw = ffi.new("perf_comparison *")
    check(lib.perf_regression_shift(old._get(), new._get(), _options(alpha, *inflation), raw), "comparing durations")
    return _comparison("shift", raw, 1e-9)


def tail(old: Histogram, new: Histogram, q: float, alpha: float, inflation: tuple[float, float]) -> Comparison:
    """A high quantile."""
    raw = ffi.new("perf_comparison *")
    code = lib.perf_regression_tail(old._get(), new._get(), q, _options(alpha, *inflation), raw)
    check(code, f"comparing the quantile {q}")
    return _comparison("tail", raw, 1e-9)


def rate(
    what: str, old: tuple[int, int], new: tuple[int, int], alpha: float, inflation: tuple[float, float]
) -> Comparison:
    """How many went wrong, of how many."""
    raw = ffi.new("perf_comparison *")
    check(lib.perf_regression_rate(*old, *new, _options(alpha, *inflation), raw), f"comparing {what} {old} and {new}")
    return _comparison(what, raw)


def runs(
    what: str, old: Sequence[float], new: Sequence[float], alpha: float, *, noise: float, shares: bool = False
) -> Comparison:
    """One number of each run; `shares`: they are shares, and differ by how much, not by how many times."""
    raw = ffi.new("perf_comparison *")
    scale = lib.PERF_REGRESSION_DIFFERENCE if shares else lib.PERF_REGRESSION_RATIO
    code = lib.perf_regression_runs(old, len(old), new, len(new), scale, noise, _options(alpha), raw)
    check(code, f"comparing {what} of {len(old)} and {len(new)} runs")
    return _comparison(what, raw)


def adjusted(chances: Sequence[float]) -> list[float]:
    """Corrected for their number (Holm): of all that are below x, with nothing changed, there is one with a chance of at
    most x."""
    values = array("d", chances)
    if values:
        check(lib.perf_regression_adjust(ffi.from_buffer("double[]", values), len(values), ffi.NULL), "chances")
    return list(values)
