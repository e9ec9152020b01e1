"""What processes do now as plain data: an object for each refresh, as `libperf top --json` writes it (docs/top.md)."""

import math
from typing import Any

from ..reader import Record
from . import Picture
from .watched import SECOND, Operation, Watched

__all__ = ["SCHEMA", "picture_dict", "process_dict"]

SCHEMA = 1  # goes up when a field changes what it means; new fields do not count, none is ever removed


def picture_dict(picture: Picture, window: float | None) -> dict[str, Any]:
    """window: seconds that rates and percentiles look back; None: since each process began."""
    return {
        "schema": SCHEMA,
        "interval_s": picture.interval,
        "processes": [process_dict(process, window) for process in picture.processes],
        "more": picture.more,
        "skipped": [{"path": str(path), "why": why} for path, why in picture.skipped.items()],
    }


def process_dict(watched: Watched, window: float | None) -> dict[str, Any]:
    """One process."""
    window_ns = None if window is None else int(window * SECOND)
    info, summary = watched.info, watched.summary(window_ns)
    counters, gauges = watched.metrics(window_ns)
    return {
        "pid": info.pid,
        "service": info.service,
        "command": info.command,
        "state": watched.state,
        "started_at": (info.start_ns + info.wall_offset_ns) / SECOND,
        "age_s": (watched.until - watched.start) / SECOND,
        "cpu": watched.cpu,
        "rss_bytes": watched.usage.rss if watched.usage else None,
        "window_s": watched.seconds(window_ns),
        "calls_per_s": summary.per_second,
        "errors_per_s": summary.errors_per_second,
        "operations": [_operation_dict(operation) for operation in watched.operations(window_ns)],
        "open_count": watched.open_count,
        "open": [_open_dict(watched, record) for record in watched.open],
        "counters": counters,
        "gauges": {name: _finite(value) for name, value in gauges.items()},
        "caches": [cache.to_dict() for cache in watched.caches(window_ns)],
        "batchers": [batcher.to_dict() for batcher in watched.batchers(window_ns)],
        "lost": info.losses,
    }


def _operation_dict(operation: Operation) -> dict[str, Any]:
    row = operation.row
    return {
        "kind": row.kind.name.lower(),
        "name": row.name,
        "calls_total": operation.calls,
        "errors_total": operation.errors,
        "open": operation.open,
        "calls": row.calls,
        "errors": row.errors,
        "cancelled": row.cancelled,
        "calls_per_s": row.per_second,
        "total_s": row.total,
        "p50_s": row.p50,
        "p95_s": row.p95,
        "p99_s": row.p99,
        "max_s": row.max,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
    }


def _open_dict(watched: Watched, record: Record) -> dict[str, Any]:
    return {
        "kind": record.kind.name.lower(),
        "name": record.name,
        "age_s": watched.age(record),
        "parents": [each.name for each in watched.parents(record)],
        "thread": record.thread,
        "attributes": {name: _finite(value) for name, value in record.attributes.items()},
        "trace_id": f"{record.trace_id:032x}",
        "span_id": f"{record.id:016x}",
    }


def _finite(value: Any) -> Any:
    """JSON knows no infinity and no NaN: they become "inf", "-inf", "nan"."""
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)
