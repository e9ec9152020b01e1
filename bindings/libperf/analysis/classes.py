"""What kind of bottleneck a finding is, why, and what helps: one table of thresholds, one function a side.

docs/bottlenecks.md explains each class in three sentences.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .._core import lib
from ..units import seconds, size

if TYPE_CHECKING:
    from . import Analysis, Label, Resource
    from .merges import Merges
    from .repeats import Repeats

__all__ = ["Evidence", "Thresholds"]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a finding belongs to a class. Shares are of the wall unless something else is said."""

    listed: float = 0.002  # own time that is worth a row
    tie: float = 0.01  # gains closer than this are equal
    saturated_use: float = 0.8  # of the capacity, in use
    saturated_wait: float = 1.0  # waiting, in times of holding
    convoy_use: float = 0.6  # a lock less in use than this, with more waiting than holding
    undersized_gain: float = 0.05
    side_by_side_gain: float = 0.02  # of calls one after the other; less is not worth saying
    cached_gain: float = 0.02  # of a cache for calls that repeat, likewise
    batched_gain: float = 0.02  # of batches, likewise
    batched_calls: int = 8  # at one time with others; fewer are not worth it
    loop_lag: float = 0.1  # ready tasks that the loop had no time for
    loop_own: float = 0.5  # of a name's own time, on the loop
    lock_wait: float = 0.1  # threads that waited for the interpreter lock
    cpu_own: float = 0.5  # of a name's own time, on the CPU
    retried: float = 0.05  # of the calls
    tail_own: float = 0.5  # of a name's own time, beyond five medians
    tail_calls: int = 20
    first_own: float = 0.25  # of a name's own time, in its first call
    first_medians: float = 3.0
    first_wall: float = 0.05
    barrier_wall: float = 0.1  # that siblings of a graph's step waited for one
    growth_bytes: int = 32 << 20  # of the resident memory, while a name was at work
    growth_own: float = 0.5  # of all growth


TIER = re.compile(r"cache (.+): (\w+)")  # what cache.waits calls a wait of a cache
TIERS = {
    "disk": "a larger memory tier for {cache} (local_max_size=, max_bytes=), or a disk that is nearer",
    "redis": "a nearer Redis for {cache}, a disk tier in front of it, or a larger memory tier (local_max_size=, max_bytes=)",
    "lease": "a nearer Redis for {cache}: each miss asks it who computes",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """A class, what speaks for it, and what helps."""

    category: str
    why: str
    advice: str


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def of_label(label: "Label", analysis: "Analysis", t: Thresholds) -> Evidence:
    """The class of time that is attributed to a name."""
    wall, total = analysis.wall or 1.0, label.total or 1.0
    if label.kind == "graph":
        return Evidence(
            "framework-gap",
            f"{seconds(total)} in {label.name} itself, outside its nodes",
            "fewer, larger nodes; a smaller state; a checkpointer that writes less often",
        )
    if label.retried > max(0, t.retried * label.calls):
        return Evidence(
            "retry",
            f"{label.retried} of {label.calls} calls were tried again after an error",
            f"make {label.name} succeed the first time, or wait less between the tries",
        )
    if label.loop > t.loop_own * total and analysis.lag > t.loop_lag * wall:
        on_cpu = label.cpu > label.block
        how = "CPU work" if on_cpu else "a blocking call"
        return Evidence(
            "loop-bound",
            f"{how} in a coroutine; other tasks were ready for {seconds(analysis.lag)} in all",
            f"a cheaper {label.name}, or a process for it: loop.run_in_executor(ProcessPoolExecutor(), …)"
            if on_cpu
            else f"await asyncio.to_thread({label.name}, …), or an awaitable version of what it calls",
        )
    if label.cpu > t.cpu_own * total and analysis.threads > 1 and analysis.lock_wait > t.lock_wait * wall:
        return Evidence(
            "gil-bound",
            f"threads waited {seconds(analysis.lock_wait)} for the interpreter lock",
            f"run {label.name} in processes (ProcessPoolExecutor), or in a library that frees the lock",
        )
    beyond = label.first - label.median
    if (
        label.calls > 1
        and label.first > t.first_medians * label.median
        and beyond > t.first_own * total
        and beyond > t.first_wall * wall
    ):
        return Evidence(
            "first-use",
            f"the first call took {seconds(label.first)}, later ones {seconds(label.median)}",
            f"call {label.name} once when the program starts, or build what it needs there",
        )
    growth = analysis.memory[2] - analysis.memory[0]
    if growth > t.growth_bytes and label.grown > t.growth_own * growth:
        return Evidence(
            "memory-growth",
            f"the process grew by {size(growth)}, {size(label.grown)} of it here",
            f"let go of what {label.name} keeps, or bound it: a cache with max_bytes, a smaller state",
        )
    if label.calls >= t.tail_calls and label.tail > t.tail_own * total:
        return Evidence(
            "slow-tail",
            f"half of the calls take {seconds(label.median)}; a few take most of the time",
            f"a time limit and a second try for {label.name}: asyncio.timeout(…), or hedged requests",
        )
    if label.barrier > t.barrier_wall * wall:
        return Evidence(
            "barrier",
            f"other branches of the step waited {seconds(label.barrier)} for it",
            f"make {label.name} faster, or let what does not need it run on: a sub-graph for each branch",
        )
    found = next((one for one in analysis.merges if one.label == label.number), None)
    if found and found.gain > t.tie + analysis.gain([(lib.PERF_CHANGE_TIME, label.number, 0.5)]):
        return Evidence("many-small-calls", _beside(found), _faster(label))  # twice as fast brings less
    return Evidence("critical", _critical(label), _faster(label))


def of_imports(imported: list["Label"]) -> Evidence:
    """The class of modules that a call imported."""
    names = [f"{label.name} ({seconds(label.total)})" for label in imported[:3]]
    more = f" and {len(imported) - 3} more" if len(imported) > 3 else ""
    return Evidence(
        "first-use",
        f"imports {', '.join(names)}{more} while the program works",
        f"import {imported[0].name} when the program starts: at the top of the file, or by a first call there",
    )


def _critical(label: "Label") -> str:
    calls = f"{label.calls} calls, " if label.calls > 1 else ""
    return f"{calls}own time {seconds(label.total)}"


def _faster(label: "Label") -> str:
    if tier := TIER.fullmatch(label.name):
        return TIERS.get(tier[2], f"make {label.name} faster").format(cache=tier[1])
    if label.kind == "llm":
        return f"a smaller model or shorter answers for {label.name}; start it earlier"
    if label.calls >= 8:
        return f"batch the {label.calls} calls of {label.name}, or run them side by side"
    return f"make {label.name} faster, or start it earlier"


def of_repeats(found: "Repeats") -> Evidence:
    """The class of calls whose arguments were there before."""
    unknown = found.calls - found.digested
    more = f"; of {unknown} more it is not known" if unknown else ""
    return Evidence(
        "repeated",
        f"{found.repeats} of {found.digested} calls came again with the same arguments{more}",
        cached(found),
    )


def cached(found: "Repeats") -> str:
    """How to make equal calls once."""
    if found.where:
        how = f"add @libperf.cached(ttl=…) above {found.name} ({found.where})"
    elif found.kind == "llm":
        how = f"langchain_core.globals.set_llm_cache(libperf.langchain.LLMCache()), for {found.name}"
    elif found.kind == "tool":
        how = f"@libperf.cached(ttl=…) for what tool {found.name} calls, if that only reads"
    else:
        how = f"@libperf.cached(ttl=…) for what {found.name} calls"
    return f"cache it, if an older answer will do: {how}: {found.repeats} of {found.digested} calls repeat"


def of_merges(found: "Merges") -> Evidence:
    """The class of calls of several tasks that could be made together, where it is known what that takes."""
    return Evidence("many-small-calls", _beside(found), batched(found))


def _beside(found: "Merges") -> str:
    return f"{found.mergeable} of {found.calls} calls were made beside others, by other tasks or threads"


def batched(found: "Merges") -> str:
    """How to make calls together."""
    where = f" ({found.where})" if found.where else ""
    return f"batch them: @libperf.batched above a function that does for a list what {found.name}{where} does for one"


def of_resource(resource: "Resource", gain: float, analysis: "Analysis", t: Thresholds) -> Evidence:
    """The class of something with a capacity."""
    places = (resource.workers if resource.kind == "queue" else resource.capacity * len(resource.numbers)) or 1
    active = resource.active or analysis.wall or 1.0
    use = resource.held / (places * active)
    waits = resource.waited / resource.held if resource.held else 0.0
    why = f"in use {_percent(min(1.0, use))} of the time"
    if resource.kind != "queue":
        why += f", waiting/holding {waits:.1f}"
    advice = _more(resource)
    if resource.sleeps:
        return Evidence("rate-limited", "held in order to sleep: one caller at a time, at even gaps", advice)
    if use >= t.saturated_use and (resource.kind == "queue" or waits >= t.saturated_wait):
        return Evidence("saturated", why, advice)
    if resource.kind == "lock" and use < t.convoy_use and waits > 1:
        return Evidence("convoy", f"{why}: all come at the same moment", advice)
    if gain >= t.undersized_gain:
        return Evidence("undersized", why, advice)
    return Evidence("idle", why, "nothing to gain here")


def _more(resource: "Resource") -> str:
    name = f"{resource.kind} {resource.name!r}"
    if resource.kind == "lock":
        if resource.sleeps:
            return f"raise the rate that {name} stands for, or ask for a higher quota"
        return f"hold {name} for a shorter time: move what needs no lock out of it"
    if resource.kind == "queue":
        return f"more workers for {name}: {resource.workers} → {2 * resource.workers}"
    return f"raise {name} from {resource.capacity} to {2 * resource.capacity}, if what is behind it can take that"


def of_limiter(label: "Label") -> Evidence:
    """The class of a limiter that is known by its rhythm only."""
    return Evidence(
        "rate-limited",
        f"one grant every {seconds(label.gap)}, whenever callers come",
        "raise the rate or the quota; or batch, so that fewer calls need a grant",
    )
