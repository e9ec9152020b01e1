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
    from .analysis.bottlenecks import Bottleneck
    from .analysis.changes import what_if
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
    from .cache import TieredCache, cached
    from .detector import BottleneckDetector
    from .differences import Difference, diff
    from .executor import ContextExecutor
    from .exports import export
    from .monitor import PerformanceMonitor
    from .profiler import Profiler
    from .profiler.profiled import profile
    from .profiler.watchdog import watch_loop
    from .reader import Reader
    from .reporting import Report, report, snapshot
    from .resources import BoundedSemaphore, Lock, Queue, Semaphore
    from .slo import SLO

__version__: str = _ffi.string(_lib.perf_version()).decode()

__all__ = [  # noqa: RUF022 - in the order of sorted()
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
    "Difference",
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
    "SLO",
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
    "diff",
    "errors",
    "export",
    "flush",
    "instrument",
    "on_slow_call",
    "profile",
    "report",
    "segment_path",
    "slow_calls",
    "snapshot",
    "span",
    "trace",
    "uninstrument",
    "watch_loop",
    "what_if",
    "wrap",
]

# What a traced program does not need is imported when it is asked for.
_LATER = {  # in the order of sorted()
    "Analysis": "analysis",
    "BatchError": "batcher.errors",
    "BatchProcessor": "batcher.processor",
    "BatcherClosed": "batcher.errors",
    "Bottleneck": "analysis.bottlenecks",
    "BottleneckDetector": "detector",
    "BoundedSemaphore": "resources",
    "ContextExecutor": "executor",
    "DeadlineExceeded": "batcher.errors",
    "Difference": "differences",
    "ItemShed": "batcher.errors",
    "Lock": "resources",
    "PerformanceMonitor": "monitor",
    "Priority": "batcher.priority",
    "Profiler": "profiler",
    "Queue": "resources",
    "QueueFull": "batcher.errors",
    "Reader": "reader",
    "Report": "reporting",
    "SLO": "slo",
    "SemanticCache": "answers.semantic",
    "Semaphore": "resources",
    "TieredCache": "cache.tiered",
    "batched": "batcher.decorator",
    "cached": "cache.decorator",
    "diff": "differences",
    "export": "exports",
    "profile": "profiler.profiled",
    "report": "reporting",
    "snapshot": "reporting",
    "watch_loop": "profiler.watchdog",
    "what_if": "analysis.changes",
}
_PARTS = frozenset(
    {
        "batcher",
        "bg",
        "cache",
        "imported",
        "langchain",
        "langgraph",
        "memory",
        "openai",
        "otlp",
        "prometheus",
        "testing",
    }
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

if os.environ.get("LIBPERF_MEMORY", "0") not in ("", "0"):
    from .memory import count_program

    count_program()

if os.environ.get("LIBPERF_OTLP", "0") not in ("", "0"):
    from .otlp import start_from_environment

    start_from_environment()
