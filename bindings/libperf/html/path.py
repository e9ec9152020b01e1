"""The critical path: what the end of the program was waiting for, and that in turn, back to its begin."""

from typing import NamedTuple

from .._core import ffi, lib
from ..analysis import Analysis
from ..errors import check

__all__ = ["Step", "critical_path"]


class Step(NamedTuple):
    """A part of the path: one actor, one span, one way to spend time. Nanoseconds."""

    start: int
    end: int
    actor: int
    span: int
    kind: int  # perf_step_kind
    resource: str  # somebody on the path waited for it; empty: none


def critical_path(analysis: Analysis) -> list[Step]:
    """The path of the whole program, in time order; empty when its end was not recorded."""
    steps, count = ffi.new("const perf_path_step **"), ffi.new("size_t *")
    code = lib.perf_analysis_path_blocking(analysis._get(), 0, steps, count)
    if code == lib.PERF_ERR_NOT_FOUND:
        return []
    check(code, "the critical path")
    names = {number: f"{one.kind} {one.name}" for one in analysis.resources for number in one.numbers}
    found = (steps[0][i] for i in range(count[0]))
    return [
        Step(step.from_ns, step.to_ns, step.actor, step.span, step.kind, names.get(step.resource, "")) for step in found
    ]
