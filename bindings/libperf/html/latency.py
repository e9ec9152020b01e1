"""How latencies are spread, operation by operation, from the histograms: they hold every call, whatever was lost."""

import math
from typing import Any

from ..reader import Reader
from ..reporting import Report, Row

__all__ = ["latency"]

OPERATIONS = 30
POINTS = 1000  # of the quantile function
PER_DECADE = 16  # bins


def latency(reader: Reader, report: Report) -> dict[str, Any]:
    """One row an operation, the largest total first: percentiles, and shares of the calls in logarithmic bins."""
    rows = sorted([*report.rows, *report.timings], key=lambda row: -row.total)
    number = {(name.kind, name.text): name for name in reader.names}
    found = []
    for row in rows[:OPERATIONS]:
        with reader.histogram(number[row.kind, row.name]) as histogram:
            points = min(row.calls, POINTS)
            bins = in_bins(histogram.quantiles([(i + 0.5) / points for i in range(points)]))
        found.append(_row(row, bins))
    left = len(rows) - len(found)
    note = f"{left} operations with smaller totals are left out." if left > 0 else ""
    return {"rows": found, "per_decade": PER_DECADE, "notes": [note] if note else []}


def in_bins(values: list[float]) -> dict[int, float]:
    """The share of the values in each bin; bin i begins at 10 ** (i / PER_DECADE) seconds."""
    bins: dict[int, float] = {}
    for value in values:
        bin_ = math.floor(math.log10(max(value, 1e-9)) * PER_DECADE)
        bins[bin_] = bins.get(bin_, 0.0) + 1 / len(values)
    return bins


def _row(row: Row, bins: dict[int, float]) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind.name.lower(),
        "calls": row.calls,
        "errors": row.errors,
        "total": row.total,
        "p50": row.p50,
        "p95": row.p95,
        "p99": row.p99,
        "min": row.min,
        "max": row.max,
        "share": row.share,
        "tokens_in": row.input_tokens,
        "tokens_out": row.output_tokens,
        "bins": sorted(bins),
        "shares": [round(bins[bin_], 5) for bin_ in sorted(bins)],
    }
