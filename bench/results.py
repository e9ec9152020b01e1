"""Runs every benchmark and rewrites RESULTS.md from what they wrote: no number in it is typed by hand.

    python bench/results.py                     # everything, on a machine that is otherwise idle
    python bench/results.py --only c            # one part: c, instructions, trace, cached-call, disk, redis, ...
    python bench/results.py --render            # only write RESULTS.md again from the JSON of the last runs

Two variables name what is not part of the project: LIBPERF_TRACES a folder of traces (NAME.u32.zst: little-endian
numbers), LIBPERF_LLM_CALLS a file of recorded calls (bench/compression.py).

The JSON lies in build/results. A part that cannot be run (no valgrind, no peers, no traces) keeps its rows, as "not
measured". parts.py has the programs, bars.py and bars_*.py what was promised.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from bars import BARS, Bar, cheaper_form
from bars_batch import BATCH_BARS
from bars_cache import CACHE_BARS
from bars_diff import DIFF_BARS
from bars_exports import EXPORT_BARS
from bars_memory import MEMORY_BARS
from bars_metrics import METRICS_BARS
from bars_profile import PROFILE_BARS
from bars_top import TOP_BARS
from parts import DATA, PARTS, RELEASE, ROOT, Line, Lines, named, named_lines, path_of
from simulated import lines as simulated_lines
from tables import NOT_MEASURED, Section, sections

RESULTS = ROOT / "bench" / "RESULTS.md"
ALL_BARS = [
    *(*BARS, *CACHE_BARS, *BATCH_BARS),
    *(*PROFILE_BARS, *MEMORY_BARS, *EXPORT_BARS, *METRICS_BARS, *DIFF_BARS, *TOP_BARS),
]

HEAD = """\
# Results

Written by `python bench/results.py`; do not edit. Ratios hold on other machines, nanoseconds do not.

A bar is what was promised; it is `met` or `missed` by the median. "+-" is the median absolute deviation over the rounds.
Rounds take turns over all cases, so that a machine that slows down slows all of them alike.

"""


# ---- running ----


def run(name: str, build: str) -> bool:
    """Runs one part; what it wrote last time is gone first, so that old numbers never pass for new ones."""
    part = PARTS[name]
    path_of(name).unlink(missing_ok=True)
    if part.needs and not named(part.needs):
        print(f"results.py: {name} needs {part.needs}", file=sys.stderr)
        return False
    command = part.command(build)
    print("+", " ".join(command).replace(f"{ROOT}/", ""), flush=True)
    status = subprocess.run(command, cwd=ROOT, check=False).returncode
    if status:
        print(f"results.py: {name} ended with {status}", file=sys.stderr)
    return status == 0


def build_release() -> None:
    build = ["cmake", "--build", "--preset", "release", "--target", "perf-benches"]
    for command in (["cmake", "--preset", "release"], build):
        log = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if log.returncode:
            sys.exit(f"{log.stdout}\nresults.py: {' '.join(command)} failed")


# ---- writing ----


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |\n" for row in lines) + "\n"


def where(line: Line, places: list[str]) -> str:
    """The letter of the machine, compiler and commit a line came from; "-" for what is the same everywhere."""
    if "machine" not in line:
        return "-"
    place = f"{line['machine']}, {line.get('cpus')} cpus, {line.get('compiler')}, commit {line.get('commit') or '?'}"
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


def peers_of(lines: Lines) -> str:
    """The versions of what libperf was compared with."""
    versions = {peer: version for line in lines.values() for peer, version in line.get("versions", {}).items()}
    return "- Beside " + ", ".join(map(" ".join, sorted(versions.items()))) + "\n" if versions else ""


def obstacles(lines: Lines) -> str:
    """What stands in the way of each bar that is missed."""
    found = [bar for bar in ALL_BARS if bar.obstacle and bar.name in lines]
    missed = [bar for bar in found if not bar.holds(bar.number(lines[bar.name]))]
    return "".join(f"- Missed: {bar.what}. {bar.obstacle[0].upper()}{bar.obstacle[1:]}.\n" for bar in missed)


def below_title(section: Section) -> str:
    if section.rows:
        return table(section.head, section.rows) + section.after
    needs = PARTS[section.part].needs
    return f"{NOT_MEASURED.capitalize()}{f': needs {needs}' if needs else ''}.\n\n"


def render() -> str:
    lines, places = named_lines() | simulated_lines(), list[str]()
    rows = [bar_row(bar, lines, places) for bar in ALL_BARS]
    text = HEAD + "## Bars\n\n" + table(["what", "bar", "measured", "verdict", "where", "command"], rows)
    text += "".join(f"- {chr(ord('A') + number)}: {place}\n" for number, place in enumerate(places))
    text += peers_of(lines) + obstacles(lines) + "\n"
    text += "".join(f"## {section.title}\n\n{below_title(section)}" for section in sections(lines))
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
        parts = arguments.only or [name for name, part in PARTS.items() if not part.needs or named(part.needs)]
        if not arguments.build and any(PARTS[name].builds for name in parts):
            build_release()
        good = all([run(name, arguments.build or RELEASE) for name in parts])
    RESULTS.write_text(render())
    print(f"{RESULTS.relative_to(ROOT)} is written")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
