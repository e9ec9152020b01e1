"""Counts instructions per operation, and holds them against the bounds in instructions.json.

Time on a shared machine is noise; how many instructions a call takes is not. Operations in C run under valgrind with two
counts of iterations; the difference is their own. Those from Python (loop.py) are counted by themselves, with the
interpreter that runs this. More than 5 % above the bound fails. The bounds hold for one processor type, compiler and
interpreter: elsewhere the numbers are shown and nothing is judged.

Where the accelerator has a part in it, the operation is counted without it, too: what does not save 5 % buys nothing, and
fails wherever that is counted.
"""

from __future__ import annotations

import argparse
import importlib.util
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
LOOP, LOOPED = HERE / "loop.py", 5120  # whole batches of 32
ACCELERATED = ("trace/call", "trace/leaf", "trace/resume", "span")
FROM_PYTHON = (*ACCELERATED, "cached/hit", "TieredCache.get", "submit")
PYTHON = "python/"  # so begin the names of those from Python
WITHOUT = ", not accelerated"

EPILOG = """\
exit status: 0 within the bounds; 1 above one, or an accelerator that buys nothing; 2 valgrind or the program is missing

examples:
  cmake --preset release && cmake --build --preset release
  .venv/bin/python bench/instructions.py
  .venv/bin/python bench/instructions.py --update     # after a change that is worth it; commit the file
"""


class Unable(Exception):
    """Nothing could be counted; the text says what to do."""


def collected(options: list[str], command: list[str], **variables: str) -> int:
    """Instructions of one run."""
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *options]
    # private memory: no file is left behind by a run that ends early
    environment = {**os.environ, "LIBPERF_DIR": "off", **variables}
    run = subprocess.run([*valgrind, *command], capture_output=True, text=True, env=environment)
    found = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode or not found:
        raise Unable(f"{' '.join(command)}: valgrind ended with {run.returncode}:\n{run.stderr.strip()}")
    return int(found[1])


def per_operation(program: Path, text: str) -> dict[str, float]:
    if not program.exists():
        raise Unable(f"no {program.name} in {program.parent}: cmake --preset release && cmake --build --preset release")
    found = {}
    for operation in (name for name in OPERATIONS if text in name):
        few, many = (collected([], [str(program), operation, str(iterations)]) for iterations in (FEW, MANY))
        found[operation] = round((many - few) / (MANY - FEW), 1)
    return found


def from_python(text: str) -> dict[str, float]:
    if not importlib.util.find_spec("libperf"):
        raise Unable(f"{sys.executable} has no libperf: make setup, then .venv/bin/python bench/instructions.py")
    found = {}
    for operation in (name for name in FROM_PYTHON if text in PYTHON + name):
        found[PYTHON + operation] = looped(operation, "1")
        if operation in ACCELERATED:
            found[PYTHON + operation + WITHOUT] = looped(operation, "0")
    return found


def looped(operation: str, speed: str) -> float:
    """What goes on inside of functools.reduce()."""
    options = ["--collect-atstart=no", "--toggle-collect=functools_reduce"]
    command = [sys.executable, str(LOOP), operation, str(LOOPED)]
    found = collected(options, command, LIBPERF_SPEED=speed, PYTHONHASHSEED="0")
    if not found:
        raise Unable(f"{operation}: {sys.executable} has no symbols to count by; one built by pyenv has")
    return round(found / LOOPED, 1)


def built_by(build: Path) -> str:
    """Processor type and compiler, with its major version: "x86_64 GNU 12"."""
    for path in build.glob("CMakeFiles/*/CMakeCCompiler.cmake"):
        text = path.read_text()
        compiler = re.search(r'CMAKE_C_COMPILER_ID "(\w+)"', text)
        version = re.search(r'CMAKE_C_COMPILER_VERSION "(\d+)', text)
        if compiler and version:
            return f"{platform.machine()} {compiler[1]} {version[1]}"
    return f"{platform.machine()} ?"


def interpreter() -> str:
    return f"{platform.python_implementation()} {platform.python_version()} {platform.python_compiler()}"


def known_bounds(bounds: dict[str, Any], where: str) -> dict[str, float]:
    """Those that hold here; says why others do not."""
    known = dict(bounds["bounds"])
    if bounds["built_by"] != where:
        print(f"bounds are for {bounds['built_by']}, this is {where}: none is judged")
        return {}
    if bounds["interpreter"] != interpreter():
        print(f"bounds of {PYTHON}* are for {bounds['interpreter']}, this is {interpreter()}: they are not judged")
        return {name: bound for name, bound in known.items() if not name.startswith(PYTHON)}
    return known


def judge(found: dict[str, float], bounds: dict[str, Any], where: str) -> bool:
    known, tolerance = known_bounds(bounds, where), bounds["tolerance"]
    good = True
    for operation, instructions in found.items():
        bound, without = known.get(operation), found.get(operation + WITHOUT)
        above = bound is not None and instructions > bound * (1 + tolerance)
        idle = without is not None and instructions > without * (1 - tolerance)
        good = good and not above and not idle
        verdict = "ABOVE" if above else "within" if bound is not None else "no bound"
        if without is not None:
            verdict += f"; {without / instructions:.2f}x without the accelerator{', which BUYS NOTHING' * idle}"
        print(f"{operation:<36} {instructions:8.1f} instructions, bound {bound or '-'} + 5 %: {verdict}")
    return good


def updated(bounds: dict[str, Any], found: dict[str, float], where: str) -> dict[str, Any]:
    """What is counted now, beside what was not; the form without the accelerator is held against nothing."""
    counted = {name: value for name, value in found.items() if not name.endswith(WITHOUT)}
    merged = dict(sorted({**bounds["bounds"], **counted}.items()))
    return {**bounds, "built_by": where, "interpreter": interpreter(), "bounds": merged}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", type=Path, default=Path("build/release"), help="CMake's folder (build/release)")
    parser.add_argument("--filter", metavar="TEXT", default="", help="only operations whose name holds TEXT")
    parser.add_argument("--update", action="store_true", help="make what is counted now the bounds")
    parser.add_argument("--json", metavar="FILE", help="also write what was counted")
    arguments = parser.parse_args()
    try:
        if not shutil.which("valgrind"):
            raise Unable("valgrind is not installed: apt install valgrind, or your system's equivalent")
        found = per_operation(arguments.build / "bench" / "perf-bench-loop", arguments.filter)
        found |= from_python(arguments.filter)
    except Unable as error:
        print(f"instructions.py: {error}", file=sys.stderr)
        return 2
    where = built_by(arguments.build)
    bounds = json.loads(BOUNDS.read_text())
    if arguments.update:
        bounds = updated(bounds, found, where)
        BOUNDS.write_text(json.dumps(bounds, indent=2) + "\n")
    good = judge(found, bounds, where)
    if arguments.json:
        text = json.dumps({"built_by": where, "instructions": found, **{k: bounds[k] for k in ("bounds", "tolerance")}})
        Path(arguments.json).write_text(text + "\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
