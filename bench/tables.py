"""The tables of RESULTS.md below the promises: what each part's lines of JSON look like to people."""

from __future__ import annotations

from typing import NamedTuple

import simulated
from hit_ratio import table as hit_ratio
from parts import Line, Lines, lines_of, loaded

Rows = list[list[str]]
NOT_MEASURED = "not measured"


class Section(NamedTuple):
    title: str
    head: list[str]
    rows: Rows
    part: str  # that it is made of
    after: str = ""  # what is said below the table


def c_rows(lines: Lines) -> Rows:
    rows = []
    for name, line in lines.items():
        if "min_ns" in line:
            compared = f"{line['ratio']:.3f}x {line['reference']}" if "ratio" in line else ""
            scales = f"{line['scaling']:.2f}x" if line["threads"] > 1 and "scaling" in line else ""
            ns = f"{line['median_ns']:.2f} +- {line['mad_ns']:.2f}"
            rows.append([name, f"{line['min_ns']:.2f}", ns, compared, scales])
        elif "error" in line:
            rows.append([name, "failed", line["error"], "", ""])
    return rows


def middle(line: Line) -> str:
    return f"{line['median']:.1f} +- {line['mad']:.1f} {line['unit']}"


def plain_rows(part: str) -> Rows:
    return [[line["what"], middle(line)] for line in lines_of(part) if "median" in line]


def share_rows(part: str) -> Rows:
    """Small shares and ratios: two places more."""
    return [
        [line["what"], f"{line['median']:.3f} +- {line['mad']:.3f} {line['unit']}"]
        for line in lines_of(part)
        if "median" in line
    ]


def speed_rows() -> Rows:
    """A form a row: time with the accelerator and without, and instructions where they were counted."""
    timed = {line["name"]: line for line in lines_of("speed")}
    counted = {line["name"].replace("/instructions", ""): line for line in lines_of("speed-instructions")}
    rows = []
    for name in dict.fromkeys([*timed, *counted]):
        if name.endswith(IN_PYTHON):
            continue
        what = (timed.get(name) or counted[name])["what"].partition(":")[0]
        rows.append([what, *on_and_off(timed, name), *on_and_off(counted, name)])
    return rows


def on_and_off(lines: Lines, name: str) -> list[str]:
    """With the accelerator, without, and how many times as much that is."""
    on, off = lines.get(name), lines.get(name + IN_PYTHON)
    if not (on and off):
        return ["-", "-", "-"]
    times = str(off["over_libperf"])
    if not on["unit"]:
        return [f"{on['median']:.0f}", f"{off['median']:.0f}", times]
    return [f"{line['median']:.0f} +- {line['mad']:.0f}" for line in (on, off)] + [times]


def traced_rows() -> Rows:
    lines = [line for part in ("trace", "import", "rss") for line in lines_of(part) if "median" in line]
    return [[line["what"], middle(line), str(line.get("over_trace", ""))] for line in lines]


def peer_rows(part: str) -> Rows:
    """Beside libperf's figure in the same run."""
    return [[line["what"], middle(line), str(line.get("over_libperf", ""))] for line in lines_of(part)]


def scrape_rows() -> Rows:
    """Beside libperf's figure with an example for each bucket, and without any, which is what the others do."""
    return [
        [line["what"], middle(line), *(str(line[key]) for key in ("over_libperf", "over_plain"))]
        for line in lines_of("scrape")
    ]


def profile_rows() -> Rows:
    """Beside cProfile in the same rounds; no ratio where cProfile itself adds next to nothing."""
    lines = lines_of("profile")
    slowed = {
        program_of(line) for line in lines if line["name"].endswith("/cProfile") and line["median"] > LEAST_SLOWED
    }
    return [
        [line["what"], middle(line), str(line.get("over_cprofile", "")) if program_of(line) in slowed else ""]
        for line in lines
    ]


def program_of(line: Line) -> str:
    return str(line["name"].split("/")[1])


def profile_after() -> str:
    where = {str(line["compiler"]) for line in lines_of("profile")}
    return PROFILE_AFTER + f"{', '.join(sorted(where))}.\n\n" if where else ""


def memory_rows() -> Rows:
    """Beside the same program while nobody counts."""
    lines = [*lines_of("memory"), *lines_of("memory-instructions")]
    return [[line["what"], middle(line).rstrip(), str(line["over_plain"])] for line in lines]


def batch_rows() -> Rows:
    """Beside libperf's figure in the same run; batches and CPU where they say something."""
    rows = []
    for line in [*lines_of("batch-call"), *lines_of("batch-instructions")]:
        cells = (line.get(key, "") for key in ("over_libperf", "over_reference", "cpu_ns", "batch"))
        rows.append([line["what"], middle(line).rstrip(), *map(str, cells)])
    return rows


def fault_rows() -> Rows:
    """What became of each probe; those that went wrong in bold."""
    rows = []
    for line in lines_of("batch-faults"):
        if "verdicts" in line:
            found = [line["verdicts"].get(name) for name in FAULTS_HEAD[1:]]
            rows.append([line["what"], *("-" if not one else one[1] if one[0] else f"**{one[1]}**" for one in found)])
    return rows


def embedding_rows() -> Rows:
    return [
        [line["what"], middle(line), str(line.get("share_of_best", line.get("ratio", "")))]
        for line in lines_of("batch-embeddings")
        if not line["name"].startswith("embed/load")
    ]


def load_rows() -> Rows:
    return [
        [str(line["load"]), line["form"], middle(line), *(str(line[key]) for key in ("p95", "batch", "lag_p99"))]
        for line in lines_of("batch-embeddings")
        if line["name"].startswith("embed/load")
    ]


def compression_rows() -> Rows:
    return [
        [
            line["what"],
            f"{line['median']:.2f}, worst {line['min']:.2f}, by order {line['by_order']:.2f}",
            f"{line['mean']:.2f}",
            *(f"{line[name]:.1f}" for name in ("pack_us", "unpack_us", "train_s")),
        ]
        for line in lines_of("compression")
        if "by_order" in line
    ]


def diff_rows() -> Rows:
    return [[line["what"], f"{line['median']:.1f} % of {line['seeds']}"] for line in lines_of("diff")]


def instruction_rows() -> Rows:
    counted = loaded("instructions")
    if not counted:
        return []
    found = counted["instructions"]
    rows = []
    for name, value in found.items():
        if not name.endswith(NOT_ACCELERATED):
            without = found.get(name + NOT_ACCELERATED)
            slower = f"{without:.1f}, {without / value:.2f}x" if without else ""
            rows.append([name, f"{value:.1f}", str(counted["bounds"].get(name, "-")), slower])
    return rows


IN_PYTHON = ", in Python"  # what speed_cost.py calls a form without the accelerator
SPEED_HEAD = ["what", "ns", "in Python, ns", "times", "instructions", "in Python", "times"]
SPEED_AFTER = """\
What tracing adds to the bare form; "in Python" is the same program with `LIBPERF_SPEED=0`.

"""
NOT_ACCELERATED = ", not accelerated"  # as instructions.py calls it
INSTRUCTIONS_HEAD = ["operation", "counted", "bound (+ 5 %)", "without the accelerator"]
LOOP_AFTER = """\
With the loop around them (`bench/cases/loop.c`, `bench/loop.py`).

"""
LEAST_SLOWED = 10  # %: below that a ratio between two profilers is noise
PROFILE_AFTER = """\
What a profiler adds, as a share of the program's own time. cProfile, yappi and `@libperf.profile` count each call; pyinstrument
and libperf's sampler look at the stack 1,000 times a second (before Python 3.13 libperf's does so 100 times). Measured on
"""
BATCH_HEAD = ["what", "median", "times libperf", "CPU, times 30 lines", "CPU, ns", "batch"]
SCRAPE_HEAD = ["what", "median", "times libperf", "times libperf without examples"]
FAULTS_HEAD = ["what goes wrong", "libperf", "batched", "async-batcher", "aiodataloader"]
FAULTS_AFTER = """\
Bold: not what its caller can live with. `batched` has no way to close its asyncio processor, the other two have no threads.

"""
LOAD_HEAD = ["load", "batcher", "mean latency", "P95, ms", "batch", "P99 of the generator's lag, ms"]
COMPRESSION_HEAD = ["what", "times smaller, median", "mean over values", "pack us", "unpack us", "train s"]

FIRST_CONTACT = """\
The 28 agents of the second row had 20 right when they were run for the first time. Six of the eight others showed what was
missing (I/O whose callbacks set others going, a process pool, unnamed locks) and are right since.

"""


def bottleneck_rows() -> Rows:
    """How often the bottleneck is named, and how far promises are from what fixes really saved."""
    rows = []
    for part, what, least, most in (
        ("agents", "agents the model was developed on", 50, (0.3, 2.5)),
        ("new-agents", "agents written before any result on them", None, None),
    ):
        found = loaded(part)
        if not found:
            rows.append([what, "-", "-", NOT_MEASURED])
            continue
        s = found["summary"]
        bar = f">= {least} right; median <= {most[0]}, P90 <= {most[1]}" if most else "-"
        got = (
            f"{s['right']} of {s['agents']} right; median {s['error_median_points']:.1f}, P90 {s['error_p90_points']:.1f},"
            f" worst {s['error_worst_points']:.1f} points of {s['gains']} gains"
        )
        met = most and s["right"] >= least and s["error_median_points"] <= most[0] and s["error_p90_points"] <= most[1]
        rows.append([what, bar, got, "-" if not most else "met" if met else "**missed**"])
    for load, ways in (loaded("generated") or {}).items():
        got = ", ".join(f"{way} {100 * share:.0f} %" for way, share in ways.items())
        verdict = "met" if ways["what-if"] == 1 else "**missed**"
        rows.append([f"100 generated agents, {load}", "what-if 100 % right", got, verdict])
    return rows


def sections(lines: Lines) -> list[Section]:
    ratios = lines_of("hit-ratio")
    beside = ["what", "median", "times libperf"]
    return [
        Section("Bottlenecks", ["what", "bar", "measured", "verdict"], bottleneck_rows(), "agents", FIRST_CONTACT),
        Section("Profiling mode", ["what", "median"], plain_rows("profiling"), "profiling"),
        Section("libperf top", ["what", "median"], share_rows("top"), "top"),
        Section("Profilers", ["what", "median", "times cProfile"], profile_rows(), "profile", profile_after()),
        Section("Counting allocations", ["what", "median", "times plain"], memory_rows(), "memory"),
        Section("Cached calls from Python, with the loop around them", beside, peer_rows("cached-call"), "cached-call"),
        Section("Cache on disk, from Python", beside, peer_rows("disk"), "disk"),
        Section("Cache in Redis: CPU time a get, 64 at once", beside, peer_rows("redis"), "redis"),
        Section("Metrics of many processes: one scrape", SCRAPE_HEAD, scrape_rows(), "scrape"),
        Section(
            "OTLP, protobuf: a span of a thousand in a request, 4 attributes each", beside, peer_rows("otlp"), "otlp"
        ),
        Section(
            "Batches in virtual time: mean / P95 of latency, 20 + n ms a batch of at most 32",
            simulated.latency_head(),
            simulated.latency_rows(),
            "batch-simulated",
        ),
        Section(
            "Batches in virtual time: more than can be done, within 0.15 s",
            simulated.OVERLOAD_HEAD,
            simulated.overload_rows(),
            "batch-simulated",
        ),
        Section(
            "Batches in virtual time: 70 % urgent (0.1 s), 30 % with time (1 s)",
            simulated.CLASSES_HEAD,
            simulated.class_rows(),
            "batch-simulated",
        ),
        Section("Batching from Python, with the tasks around it", BATCH_HEAD, batch_rows(), "batch-call"),
        Section("Batches: who hangs", FAULTS_HEAD, fault_rows(), "batch-faults", FAULTS_AFTER),
        Section("Batches: a real model", ["what", "median", "ratio"], embedding_rows(), "batch-embeddings"),
        Section("Batches: a real model under load", LOAD_HEAD, load_rows(), "batch-embeddings"),
        Section("libperf diff: how often it says regression", ["samples", "of the seeds"], diff_rows(), "diff"),
        Section("Keys and values", ["what", "median"], plain_rows("keys"), "keys"),
        Section("Compression of LLM responses", COMPRESSION_HEAD, compression_rows(), "compression"),
        Section("Cache policies on real traces", hit_ratio.SUMMARY_HEAD, hit_ratio.summary_rows(ratios), "hit-ratio"),
        Section(
            "Cache policies through TieredCache: points apart from the policy alone",
            hit_ratio.THROUGH_HEAD,
            hit_ratio.through_rows(lines_of("hit-ratio-python")),
            "hit-ratio-python",
        ),
        Section(
            "Cache policies: misses where sizes count, %",
            hit_ratio.SIZES_HEAD,
            hit_ratio.size_rows(ratios),
            "hit-ratio",
        ),
        Section(
            "Cache policies: hits of each trace and size, %",
            hit_ratio.CELLS_HEAD,
            hit_ratio.cell_rows(ratios),
            "hit-ratio",
        ),
        Section("C cases", ["case", "least ns", "median ns", "compared", "scales"], c_rows(lines), "c"),
        Section("Memory of the cache", ["what", "median"], plain_rows("cache-memory"), "cache-memory"),
        Section("What the accelerator takes out", SPEED_HEAD, speed_rows(), "speed", SPEED_AFTER),
        Section("Python, added per call", ["what", "median", "times @libperf.trace"], traced_rows(), "trace"),
        Section("Instructions per operation", INSTRUCTIONS_HEAD, instruction_rows(), "instructions", LOOP_AFTER),
    ]
