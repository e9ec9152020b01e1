"""`libperf doctor`: what libperf found on this machine, and what to do about what it did not."""

import argparse
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .. import __version__
from .._core import ffi, lib
from ..instrument import FRAMEWORKS
from ..segment import segment_path

PACKAGES = ["cffi", "rich", "langchain-core", "langgraph", "openai", "langchain-openai"]
EPILOG = """\
examples:
  libperf doctor
  libperf doctor --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Show clock, allocator, versions, and what is missing and how to get it."
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="write JSON in place of text")


def _text(raw: Any) -> str:
    return str(ffi.string(raw).decode())


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _folder() -> tuple[str, list[str]]:
    """Where segments lie, and what is wrong with that."""
    lib.perf_segment_start(ffi.NULL)
    path = segment_path()
    if path is None:
        return "private memory", ["segments cannot be shared: set LIBPERF_DIR to a folder you own"]
    folder = path.parent
    room = os.statvfs(folder)
    free = room.f_bavail * room.f_frsize
    text = f"{folder} ({free // 2**20:,} MiB free)"
    path.unlink(missing_ok=True)  # nobody will want to read doctor's own
    if free < 2**26:
        return text, [f"less than 64 MiB free in {folder}: long runs lose records; set LIBPERF_DIR elsewhere"]
    return text, []


def examine() -> dict[str, Any]:
    """Everything as plain data."""
    clock, allocator = _text(lib.perf_clock_source()), _text(lib.perf_allocator_name())
    folder, advice = _folder()
    if clock != "tsc" and platform.machine() == "x86_64":
        advice.append("the kernel does not keep time by the TSC here: a span costs about twice as much")
    if allocator == "libc":
        advice.append("built without jemalloc: run tools/jemalloc.sh (needs a C compiler), then build again")
    packages = {package: _installed(package) for package in PACKAGES}
    if not packages["langchain-core"]:
        advice.append("LangChain and LangGraph are not installed here, so there is nothing to instrument")
    return {
        "libperf": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()} {sys.executable}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "library": _library(),
        "clock": f"{clock}, {lib.perf_clock_ticks_per_s() / 1e6:,.1f} ticks/µs",
        "allocator": allocator,
        "segments": folder,
        "packages": packages,
        "instruments": sorted(FRAMEWORKS),
        "advice": advice,
    }


def _library() -> str:
    import libperf._core

    return str(Path(libperf._core.__file__).parent)


def main(options: argparse.Namespace) -> int:
    found = examine()
    if options.json:
        json.dump(found, sys.stdout, indent=2)
        print()
        return 0
    advice, packages = found.pop("advice"), found.pop("packages")
    found["instruments"] = ", ".join(found["instruments"])
    for name, value in found.items():
        print(f"{name:<12} {value}")
    versions = ", ".join(f"{name} {number or 'missing'}" for name, number in packages.items())
    print(f"{'packages':<12} {versions}")
    for line in advice:
        print(f"! {line}")
    if not advice:
        print("everything is there")
    return 0
