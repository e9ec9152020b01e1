"""Counts instructions per operation, and holds them against the bounds in instructions.json.

Time on a shared machine is noise; how many instructions a call takes is not. Each operation runs under valgrind with two
counts of iterations; the difference is its own. More than 5 % above the bound fails. The bounds hold for one processor
type and compiler: elsewhere the numbers are shown and nothing is judged.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
BOUNDS = HERE / "instructions.json"
FEW, MANY = 20_000, 120_000
OPERATIONS = (
    "batch_queue/item",
    "cache/get",
    "cache/set",
    "histogram/record",
    "metric/record",
    "otlp/protobuf",
    "otlp/protobuf/4_attributes",
    "otlp/protobuf/8_attributes",
    "otlp/read/4_attributes",  # is in the former
    "span/begin_end",
)

EPILOG = """\
exit status: 0 within the bounds; 1 above one; 2 valgrind or the program is missing

examples:
  cmake --preset release && cmake --build --preset release
  python bench/instructions.py
  python bench/instructions.py --update     # after a change that is worth it; commit the file
"""


class Unable(Exception):
    """Nothing could be counted; the text says what to do."""


def count(program: Path, operation: str, iterations: int) -> int:
    """Instructions of one whole run."""
    command = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        str(program),
        operation,
        str(iterations),
    ]
    # private memory: no file is left behind by a run that ends early
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LIBPERF_DIR": "off"})
    collected = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not collected:
        raise Unable(f"{operation}: valgrind ended with {run.returncode}:\n{run.stderr.strip()}")
    return int(collected[1])


def per_operation(program: Path) -> dict[str, float]:
    if not shutil.which("valgrind"):
        raise Unable("valgrind is not installed: apt install valgrind, or your system's equivalent")
    if not program.exists():
        raise Unable(f"no {program.name} in {program.parent}: cmake --preset release && cmake --build --preset release")
    found = {}
    for operation in OPERATIONS:
        few, many = (count(program, operation, iterations) for iterations in (FEW, MANY))
        found[operation] = round((many - few) / (MANY - FEW), 1)
    return found


def built_by(build: Path) -> str:
    """Processor type and compiler, with its major version: "x86_64 GNU 12"."""
    for path in build.glob("CMakeFiles/*/CMakeCCompiler.cmake"):
        text = path.read_text()
        compiler = re.search(r'CMAKE_C_COMPILER_ID "(\w+)"', text)
        version = re.search(r'CMAKE_C_COMPILER_VERSION "(\d+)', text)
        if compiler and version:
            return f"{platform.machine()} {compiler[1]} {version[1]}"
    return f"{platform.machine()} ?"


def judge(found: dict[str, float], bounds: dict[str, Any], where: str) -> bool:
    known = bounds["bounds"] if bounds.get("built_by") == where else {}
    if not known:
        print(f"bounds are for {bounds.get('built_by')}, this is {where}: nothing is judged")
    good = True
    for operation, instructions in found.items():
        bound = known.get(operation)
        limit = bound * (1 + bounds["tolerance"]) if bound else None
        above = limit is not None and instructions > limit
        good = good and not above
        verdict = "ABOVE" if above else "within" if bound else "no bound"
        print(f"{operation:<26} {instructions:8.1f} instructions, bound {bound or '-'} + 5 %: {verdict}")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", type=Path, default=Path("build/release"), help="CMake's folder (build/release)")
    parser.add_argument("--update", action="store_true", help="make what is counted now the bounds")
    parser.add_argument("--json", metavar="FILE", help="also write what was counted")
    arguments = parser.parse_args()
    try:
        found = per_operation(arguments.build / "bench" / "perf-bench-loop")
    except Unable as error:
        print(f"instructions.py: {error}", file=sys.stderr)
        return 2
    where = built_by(arguments.build)
    if arguments.update:
        BOUNDS.write_text(json.dumps({"built_by": where, "tolerance": 0.05, "bounds": found}, indent=2) + "\n")
    bounds = json.loads(BOUNDS.read_text())
    good = judge(found, bounds, where)
    if arguments.json:
        text = json.dumps({"built_by": where, "instructions": found, **{k: bounds[k] for k in ("bounds", "tolerance")}})
        Path(arguments.json).write_text(text + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
