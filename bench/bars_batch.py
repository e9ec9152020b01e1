"""The batcher's promises; see bars.py."""

from __future__ import annotations

from collections.abc import Callable

from bars import Bar, median, ratio
from parts import Line, Lines


def over_reference(line: Line) -> float:
    """How many times the cheaper one of the two references of 30 lines, round by round."""
    return float(line["over_reference"])


def us(name: str) -> str:
    return f"batch/closed/{name}"


def peers_us(lines: Lines) -> str:
    """What an item costs with each, in microseconds."""
    forms = ("libperf", "30 lines, greedy", "aiodataloader", "batched", "async-batcher")
    return "; " + ", ".join(f"{name} {median(lines[us(name)]) / 1e3:.2f} us" for name in forms if us(name) in lines)


def late(key: str) -> Callable[[Lines], str]:
    name = f"embed/worst/late_window/{key}"
    words = "against those that wait for the model as well"
    return lambda lines: f"; {ratio(lines[name]):.3f}x {words}" if name in lines else ""


def at(name: str) -> Callable[[Lines], str]:
    return lambda lines: f"; {lines[name]['where']}" if name in lines else ""


SIMULATED = [
    Bar(
        "virtual time: mean latency against the optimum for one slot, worst load from .05 to .95",
        "<= 1.02x",
        "simulated/optimum",
        median,
        lambda x: x <= 1.02,
        "{:.3f}x",
        at("simulated/optimum"),
    ),
    Bar(
        "virtual time: mean latency against the best of 9 fixed settings for four slots, worst load",
        "<= 1.05x",
        "simulated/slots",
        median,
        lambda x: x <= 1.05,
        "{:.3f}x",
        at("simulated/slots"),
    ),
    Bar(
        "virtual time: results in time under steady overload, of what is possible, worst of 1.1 to 2.5",
        ">= 0.95",
        "simulated/overload",
        median,
        lambda x: x >= 0.95,
        "{:.3f}",
        at("simulated/overload"),
    ),
    Bar(
        "virtual time: results in time in bursts above capacity, against dropping what is expired, worst",
        ">= 1.8x",
        "simulated/overload/bursts",
        median,
        lambda x: x >= 1.8,
        "{:.2f}x",
        at("simulated/overload/bursts"),
        "in the worst cell less than that is possible, by whatever rule",
    ),
]

COST = [
    Bar(
        "asyncio, 64 tasks, batches of 32: CPU time of an item, against 30 lines of Python",
        "<= 1.05x",
        us("libperf"),
        over_reference,
        lambda x: x <= 1.05,
        "{:.2f}x",
        peers_us,
    ),
    Bar(
        "the same in instructions",
        "<= 1.05x",
        "batch/instructions/libperf",
        over_reference,
        lambda x: x <= 1.05,
        "{:.2f}x",
        lambda lines: f"; {median(lines['batch/instructions/libperf']):.0f}",
    ),
    Bar(
        "a request that is alone waits beside its function, median",
        "<= 0.1 ms",
        "batch/lone/libperf",
        lambda line: median(line) / 1e6,
        lambda x: x <= 0.1,
        "{:.3f} ms",
    ),
    Bar(
        "C: 64 items submitted at once, batches of 32, an item until its caller has it",
        "<= 0.2 us",
        "batcher/item/64_at_once",
        lambda line: float(line["median_ns"]) / 1e3,
        lambda x: x <= 0.2,
        "{:.3f} us",
        lambda lines: f"; the queue alone {lines['batch_queue/item']['median_ns'] / 1e3:.3f} us",
    ),
    Bar(
        "CPU of an idle batcher",
        "0 %",
        "batch/idle/libperf",
        median,
        lambda x: x <= 0.05,
        "{:.2f} %",
        lambda lines: f"; batched {median(lines['batch/idle/batched']):.1f} %" if "batch/idle/batched" in lines else "",
    ),
    Bar(
        "faults of the list below that libperf gets wrong",
        "0",
        "batch/faults",
        lambda line: float(line["wrong"]["libperf"]),
        lambda x: x == 0,
        "{:.0f}",
        lambda lines: "; " + ", ".join(f"{k} {n}" for k, n in lines["batch/faults"]["wrong"].items() if k != "libperf"),
    ),
]


EMBEDDINGS = [
    Bar(
        "2,000 embeddings at once, all-MiniLM-L6-v2: throughput of the best fixed batch size",
        ">= 0.95x",
        "embed/closed/libperf",
        lambda line: float(line["share_of_best"]),
        lambda x: x >= 0.95,
        "{:.3f}x",
        lambda lines: f"; {median(lines['embed/closed/libperf']):.0f}/s, best {lines['embed/closed/libperf']['best']}",
    ),
    Bar(
        "one embedding alone, median, against the model called for it",
        "<= 1.1x",
        "embed/alone",
        ratio,
        lambda x: x <= 1.1,
        "{:.3f}x",
    ),
    *(
        Bar(
            f"Poisson load .3 to .9, {what}, against the best of three windows at the worst load",
            "< 1x",
            f"embed/worst/window/{key}",
            ratio,
            lambda x: x < 1,
            "{:.3f}x",
            late(key),
        )
        for key, what in (("mean", "mean latency"), ("p95", "P95"))
    ),
]

BATCH_BARS = [*SIMULATED, *COST, *EMBEDDINGS]
