"""libperf: shows why a Python agent is slow, and makes it faster.

>>> import libperf
>>> libperf.instrument()                  # LangGraph, LangChain: graphs, nodes, models, tools
>>> @libperf.trace                        # any function: def, async def, generators
... def load(): ...
>>> with libperf.span("step", tokens=12): ...
>>> print(libperf.report())

Or change nothing, and run `libperf run app.py`.
"""

import os
from typing import TYPE_CHECKING, Any

from . import errors
from ._core import ffi as _ffi
from ._core import lib as _lib
from .context import wrap
from .errors import PerfError
from .instrument import instrument, uninstrument
from .metrics import Counter, Gauge, Histogram, Timing
from .names import Kind
from .segment import configure, flush, segment_path
from .slow import SlowCall, on_slow_call, slow_calls
from .spans import Span, current_span, span
from .tracing import trace

if TYPE_CHECKING:
    from .analysis import Analysis
    from .answers.semantic import SemanticCache
    from .batcher import (
        BatcherClosed,
        BatchError,
        BatchProcessor,
        DeadlineExceeded,
        ItemShed,
        Priority,
        QueueFull,
        batched,
    )
    from .bottlenecks import Bottleneck
    from .cache import TieredCache, cached
    from .changes import what_if
    from .detector import BottleneckDetector
    from .executor import ContextExecutor
    from .monitor import PerformanceMonitor
    from .profiler import Profiler
    from .reader import Reader
    from .reporting import Report, report, snapshot
    from .resources import BoundedSemaphore, Lock, Queue, Semaphore

__version__: str = _ffi.string(_lib.perf_version()).decode()

__all__ = [
    "Analysis",
    "BatchError",
    "BatchProcessor",
    "BatcherClosed",
    "Bottleneck",
    "BottleneckDetector",
    "BoundedSemaphore",
    "ContextExecutor",
    "Counter",
    "DeadlineExceeded",
    "Gauge",
    "Histogram",
    "ItemShed",
    "Kind",
    "Lock",
    "PerfError",
    "PerformanceMonitor",
    "Priority",
    "Profiler",
    "Queue",
    "QueueFull",
    "Reader",
    "Report",
    "SemanticCache",
    "Semaphore",
    "SlowCall",
    "Span",
    "TieredCache",
    "Timing",
    "batched",
    "cached",
    "configure",
    "current_span",
    "errors",
    "flush",
    "instrument",
    "on_slow_call",
    "report",
    "segment_path",
    "slow_calls",
    "snapshot",
    "span",
    "trace",
    "uninstrument",
    "what_if",
    "wrap",
]

# What a traced program does not need is imported when it is asked for.
_LATER = {
    "Analysis": "analysis",
    "BatchError": "batcher.errors",
    "BatchProcessor": "batcher.processor",
    "BatcherClosed": "batcher.errors",
    "Bottleneck": "bottlenecks",
    "BottleneckDetector": "detector",
    "BoundedSemaphore": "resources",
    "ContextExecutor": "executor",
    "DeadlineExceeded": "batcher.errors",
    "ItemShed": "batcher.errors",
    "Lock": "resources",
    "PerformanceMonitor": "monitor",
    "Priority": "batcher.priority",
    "Profiler": "profiler",
    "Queue": "resources",
    "QueueFull": "batcher.errors",
    "Reader": "reader",
    "Report": "reporting",
    "Semaphore": "resources",
    "SemanticCache": "answers.semantic",
    "TieredCache": "cache.tiered",
    "batched": "batcher.decorator",
    "cached": "cache.decorator",
    "report": "reporting",
    "snapshot": "reporting",
    "what_if": "changes",
}
_PARTS = frozenset(
    {"batcher", "bg", "cache", "langchain", "langgraph", "openai", "testing"}
)  # modules, imported when asked for


def __getattr__(name: str) -> Any:
    if name not in _LATER and name not in _PARTS:
        raise AttributeError(f"module 'libperf' has no attribute {name!r}")
    from importlib import import_module

    if name in _PARTS:
        return import_module(f"libperf.{name}")
    value = getattr(import_module(f"libperf.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if os.environ.get("LIBPERF_PROFILE", "0") not in ("", "0"):
    from .profiler import profile_program

    profile_program()
