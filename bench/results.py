"""Runs every benchmark and rewrites RESULTS.md from what they wrote: no number in it is typed by hand.

    python bench/results.py                 # everything, on a machine that is otherwise idle
    python bench/results.py --only c        # one part: c, instructions, trace, import, rss, hit-ratio
    python bench/results.py --render        # only write RESULTS.md again from the JSON of the last runs

Hit ratios are those of the traces in the folder that LIBPERF_TRACES names (NAME.u32.zst: little-endian numbers).

The JSON lies in build/results. A part that cannot be run (no valgrind, no peers) keeps its rows, as "not measured".
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hit_ratio import table as hit_ratio

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "RESULTS.md"
DATA = ROOT / "build" / "results"
RELEASE = "build/release"
PEERS_PYTHON = Path(".venv-peers/bin/python")
TRACES = os.environ.get("LIBPERF_TRACES", "")
NOT_MEASURED = "not measured"

Line = dict[str, Any]
Lines = dict[str, Line]

HEAD = """\
# Results

Written by `python bench/results.py`; do not edit. Ratios hold on other machines, nanoseconds do not.

A bar is what was promised; it is `met` or `missed` by the median. "+-" is the median absolute deviation over the rounds.
Rounds take turns over all cases, so that a machine that slows down slows all of them alike.

"""


@dataclass(frozen=True)
class Part:
    """One program to run, given CMake's folder; `file` is the JSON it writes."""

    file: str
    command: Callable[[str], list[str]]


@dataclass(frozen=True)
class Bar:
    """A promise: the number that a line of JSON holds, and what it must be."""

    what: str
    bar: str
    name: str
    number: Callable[[Line], float]
    holds: Callable[[float], bool]
    show: str
    note: Callable[[Lines], str] = lambda lines: ""
    obstacle: str = ""  # what stands in the way, told while the bar is missed


def peers_python() -> str:
    return str(PEERS_PYTHON) if (ROOT / PEERS_PYTHON).exists() else sys.executable


def data(file: str) -> str:
    return str((DATA / file).relative_to(ROOT))


def script(path: str, file: str) -> Part:
    return Part(file, lambda build: [peers_python(), path, "--json", data(file)])


PARTS = {
    "c": Part("c.jsonl", lambda build: [f"{build}/bench/perf-bench", "--repetitions", "31", "--json", data("c.jsonl")]),
    "instructions": Part(
        "instructions.json",
        lambda build: [sys.executable, "bench/instructions.py", "--build", build, "--json", data("instructions.json")],
    ),
    "trace": script("bench/peers/trace_cost.py", "trace.jsonl"),
    "import": script("bench/peers/import_time.py", "import.jsonl"),
    "cache-memory": Part(
        "cache_memory.jsonl",
        lambda build: [sys.executable, "bench/cache_memory.py", "--build", build, "--json", data("cache_memory.jsonl")],
    ),
    "rss": script("bench/rss.py", "rss.jsonl"),
    "profiling": Part(
        "profiling.json",
        lambda build: [sys.executable, "bench/peers/profiling_cost.py", "--json", data("profiling.json")],
    ),
    "hit-ratio": Part(
        "hit_ratio.json", lambda build: [f"{build}/bench/perf-hit-ratio", TRACES, "--json", data("hit_ratio.json")]
    ),
    "agents": Part("agents.json", lambda build: score("agents.json", "a", "b", "c", "d", "e")),
    "new-agents": Part("new_agents.json", lambda build: score("new_agents.json", "n")),
    "generated": Part(
        "generated.json",
        lambda build: [
            "env",
            "PYTHONPATH=tests",
            sys.executable,
            "-m",
            "scenarios.virtual",
            "300",
            data("generated.json"),
        ],
    ),
}


def score(file: str, *patterns: str) -> list[str]:
    return [sys.executable, "tests/scenarios/agents/measure.py", "score", *patterns, "--json", data(file)]


def median(line: Line) -> float:
    return float(line["median"])


def ratio(line: Line) -> float:
    return float(line["ratio"])


def scaling(line: Line) -> float:
    return float(line["scaling"])


def span_beside_gettime(lines: Lines) -> str:
    span, gettime = lines.get("span/root", {}), lines.get("clock/two_gettime", {})
    if "median_ns" not in span or "median_ns" not in gettime:
        return ""
    return f"; {span['median_ns'] / gettime['median_ns']:.2f}x two clock_gettime"


def cheaper_form(lines: Lines, peer: str) -> Line:
    """A peer is judged by the cheaper of its two forms."""
    forms = [line for name, line in lines.items() if name.startswith(f"{peer}/") and "over_trace" in line]
    return min(forms, key=lambda line: float(line["over_trace"]), default={})


BARS = [
    Bar(
        "C: record into a histogram, against two clock reads",
        "<= 0.125x (2.5 ns where they cost 20 ns)",
        "histogram/record",
        ratio,
        lambda x: x <= 0.125,
        "{:.3f}x",
        lambda lines: f"; {lines['histogram/record']['median_ns']:.2f} ns",
    ),
    Bar(
        "C: span begin and end, against two clock reads",
        "<= 1.5x",
        "span/root",
        ratio,
        lambda x: x <= 1.5,
        "{:.2f}x",
        span_beside_gettime,
        "beside the clock a span fills the slot in which others see it open, writes a record of 64 bytes, adds to four "
        "counters, and hands 56 bytes over by value, twice",
    ),
    Bar("C: two threads, same span name", ">= 1.8x", "span/root/t2", scaling, lambda x: x >= 1.8, "{:.2f}x"),
    Bar("C: two threads, same timing", ">= 1.8x", "metric/record/t2", scaling, lambda x: x >= 1.8, "{:.2f}x"),
    Bar(
        "C: get from the cache in memory, a million entries",
        "<= 60 ns",
        "cache/adaptive/get",
        lambda line: float(line["median_ns"]),
        lambda x: x <= 60,
        "{:.0f} ns",
        lambda lines: f"; {ratio(lines['cache/adaptive/get']):.2f}x one mutex and a list",
        "a key that is not among the few thousand most wanted costs a miss of the CPU's cache for its bucket, its slot, "
        "its bytes, and what the policy knows of it",
    ),
    Bar("C: two threads get", ">= 1.6x", "cache/adaptive/get/t2", scaling, lambda x: x >= 1.6, "{:.2f}x"),
    Bar(
        "C: two threads, nine gets to a set",
        ">= 1.6x",
        "cache/adaptive/9_gets_1_set/t2",
        scaling,
        lambda x: x >= 1.6,
        "{:.2f}x",
    ),
    Bar(
        "an entry of the cache in memory takes beside key and value",
        "<= 64 bytes",
        "cache/entry/adaptive",
        median,
        lambda x: x <= 64,
        "{:.1f} bytes",
        obstacle="of this the policy's slots are 28 and more, sizes that jemalloc has between 12 and 16",
    ),
    Bar(
        "resident memory after entries of changing sizes, against what the cache holds",
        "<= 1.15x",
        "cache/rss/arena/worst",
        lambda line: median(line) / 100,
        lambda x: x <= 1.15,
        "{:.3f}x",
        lambda lines: f"; {median(lines['cache/rss/libc/worst']) / 100:.3f}x with libc's malloc",
    ),
    Bar(
        "@libperf.trace on an empty function adds",
        "<= 350 ns",
        "trace/sync",
        median,
        lambda x: x <= 350,
        "{:.0f} ns",
        obstacle="two ContextVar.set() of new values are some 200 ns of it, cffi's call with a struct 90, its call that "
        "ends the span 45, the wrapper's own frame 50: what is left to win needs a wrapper written in C",
    ),
    Bar(
        "opentelemetry-sdk span, BatchSpanProcessor, against @libperf.trace",
        ">= 30x",
        "otel",
        lambda line: float(line["over_trace"]),
        lambda x: x >= 30,
        "{:.1f}x",
    ),
    Bar(
        "prometheus_client Histogram.time(), against @libperf.trace",
        "> 1x",
        "prometheus",
        lambda line: float(line["over_trace"]),
        lambda x: x > 1,
        "{:.2f}x",
    ),
    Bar(
        "@libperf.trace, p99 added beside a busy thread",
        "< 5 us",
        "trace/p99_busy",
        lambda line: median(line) / 1e3,
        lambda x: x < 5,
        "{:.2f} us",
    ),
    Bar("import libperf adds", "<= 40 ms", "start/added", median, lambda x: x <= 40, "{:.1f} ms"),
    Bar(
        "memory grows over one million spans by",
        "flat: <= 256 KiB",
        "rss/growth",
        median,
        lambda x: x <= 256,
        "{:.0f} KiB",
    ),
]


# ---- running ----


def run(name: str, build: str) -> bool:
    """Runs one part; what it wrote last time is gone first, so that old numbers never pass for new ones."""
    part = PARTS[name]
    (DATA / part.file).unlink(missing_ok=True)
    command = part.command(build)
    print("+", " ".join(command).replace(f"{ROOT}/", ""), flush=True)
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status:
        print(f"results.py: {name} ended with {status}", file=sys.stderr)
    return status == 0


def build_release() -> None:
    for command in (["cmake", "--preset", "release"], ["cmake", "--build", "--preset", "release"]):
        log = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if log.returncode:
            sys.exit(f"{log.stdout}\nresults.py: {' '.join(command)} failed")


def read() -> Lines:
    """Every line of JSON by its name."""
    lines: Lines = {}
    for part in PARTS.values():
        path = DATA / part.file
        if path.suffix == ".jsonl" and path.exists():
            lines |= {line["name"]: line for line in map(json.loads, path.read_text().splitlines())}
    return lines


# ---- writing ----


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in lines) + "\n"


def where(line: Line, places: list[str]) -> str:
    """The letter of the machine, compiler and commit a line came from."""
    place = (
        f"{line.get('machine')}, {line.get('cpus')} cpus, {line.get('compiler')}, commit {line.get('commit') or '?'}"
    )
    if place not in places:
        places.append(place)
    return chr(ord("A") + places.index(place))


def bar_row(bar: Bar, lines: Lines, places: list[str]) -> list[str]:
    line = cheaper_form(lines, bar.name) if bar.name in ("otel", "prometheus") else lines.get(bar.name, {})
    if not line or "error" in line:
        return [bar.what, bar.bar, line.get("error", "-"), f"**{NOT_MEASURED}**", "-", "-"]
    number = bar.number(line)
    verdict = "met" if bar.holds(number) else "**missed**"
    command = f"`{line['command']}`"
    return [bar.what, bar.bar, bar.show.format(number) + bar.note(lines), verdict, where(line, places), command]


def obstacles(lines: Lines) -> str:
    """What stands in the way of each bar that is missed."""
    missed = [bar for bar in BARS if bar.obstacle and bar.name in lines and not bar.holds(bar.number(lines[bar.name]))]
    return "".join(f"- Missed: {bar.what}. {bar.obstacle[0].upper()}{bar.obstacle[1:]}.\n" for bar in missed)


def c_rows(lines: Lines) -> list[list[str]]:
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


def python_rows(lines: Lines) -> list[list[str]]:
    return [
        [line["what"], f"{line['median']:.1f} +- {line['mad']:.1f} {line['unit']}", str(line.get("over_trace", ""))]
        for line in lines.values()
        if "what" in line
    ]


def instruction_rows() -> list[list[str]]:
    path = DATA / PARTS["instructions"].file
    if not path.exists():
        return []
    counted = json.loads(path.read_text())
    return [
        [name, f"{value:.1f}", str(counted["bounds"].get(name, "-"))] for name, value in counted["instructions"].items()
    ]


FIRST_CONTACT = """\
The 28 agents of the second row had 20 right when they were run for the first time. Six of the eight others showed what was
missing (I/O whose callbacks set others going, a process pool, unnamed locks) and are right since.

"""


def loaded(file: str) -> Any:
    path = DATA / file
    return json.loads(path.read_text()) if path.exists() else None


def bottleneck_rows() -> list[list[str]]:
    """How often the bottleneck is named, and how far promises are from what fixes really saved."""
    rows = []
    for file, what, least, most in (
        ("agents.json", "agents the model was developed on", 50, (0.3, 2.5)),
        ("new_agents.json", "agents written before any result on them", None, None),
    ):
        found = loaded(file)
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
    for load, ways in (loaded("generated.json") or {}).items():
        got = ", ".join(f"{way} {100 * share:.0f} %" for way, share in ways.items())
        verdict = "met" if ways["what-if"] == 1 else "**missed**"
        rows.append([f"100 generated agents, {load}", "what-if 100 % right", got, verdict])
    return rows


def profiling_rows() -> list[list[str]]:
    path = DATA / "profiling.json"
    lines = map(json.loads, path.read_text().splitlines()) if path.exists() else []
    return [[line["what"], f"{line['median']:.1f} +- {line['mad']:.1f} {line['unit']}"] for line in lines]


def render() -> str:
    lines, places = read(), list[str]()
    ratios = hit_ratio.lines_of(DATA / PARTS["hit-ratio"].file)
    bars = table(
        ["what", "bar", "measured", "verdict", "where", "command"], [bar_row(bar, lines, places) for bar in BARS]
    )
    text = HEAD + "## Bars\n\n" + bars
    text += "".join(f"- {chr(ord('A') + number)}: {place}\n" for number, place in enumerate(places))
    text += obstacles(lines) + "\n"
    for title, head, rows in (
        ("Bottlenecks", ["what", "bar", "measured", "verdict"], bottleneck_rows()),
        ("Profiling mode", ["what", "median"], profiling_rows()),
        ("Cache policies on real traces", hit_ratio.SUMMARY_HEAD, hit_ratio.summary_rows(ratios)),
        ("Cache policies: misses where sizes count, %", hit_ratio.SIZES_HEAD, hit_ratio.size_rows(ratios)),
        ("Cache policies: hits of each trace and size, %", hit_ratio.CELLS_HEAD, hit_ratio.cell_rows(ratios)),
        ("C cases", ["case", "least ns", "median ns", "compared", "scales"], c_rows(lines)),
        ("Python, added per call", ["what", "median", "times @libperf.trace"], python_rows(lines)),
        ("Instructions per operation", ["operation", "counted", "bound (+ 5 %)"], instruction_rows()),
    ):
        text += f"## {title}\n\n" + (table(head, rows) if rows else f"{NOT_MEASURED.capitalize()}.\n\n")
        text += FIRST_CONTACT if title == "Bottlenecks" and rows else ""
    return text.rstrip("\n") + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", metavar="PART", help="may be given more than once")
    parser.add_argument("--render", action="store_true", help="run nothing")
    parser.add_argument("--build", metavar="DIR", help=f"CMake's folder as it is (default: make {RELEASE} first)")
    arguments = parser.parse_args()
    DATA.mkdir(parents=True, exist_ok=True)
    good = True
    if not arguments.render:
        if os.getloadavg()[0] > 0.5:
            print(
                f"results.py: the machine is busy (load {os.getloadavg()[0]:.1f}): times will be off", file=sys.stderr
            )
        parts = arguments.only or [name for name in PARTS if name != "hit-ratio" or TRACES]
        if not arguments.build and {"c", "cache-memory", "instructions", "hit-ratio"} & {*parts}:
            build_release()
        good = all([run(name, arguments.build or RELEASE) for name in parts])
    RESULTS.write_text(render())
    print(f"{RESULTS.relative_to(ROOT)} is written")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
