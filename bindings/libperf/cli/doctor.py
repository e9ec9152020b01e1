"""`libperf doctor`: what libperf found on this machine, and what to do about what it did not."""

import argparse
import json
import os
import platform
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .. import __version__, handles
from .._core import ffi, lib
from ..errors import PerfError
from ..instrument import FRAMEWORKS
from ..segment import segment_path

PACKAGES = ["cffi", "rich", "langchain-core", "langgraph", "openai", "langchain-openai", "redis"]
MIB = 2**20
TRIAL_BYTES = 4 * MIB
EPILOG = """\
examples:
  libperf doctor
  libperf doctor --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Show clock, allocator, optional libraries, cache folder, versions, and what is missing and how to get it."
    )
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
    free = _free(folder)
    text = f"{folder} ({free // MIB:,} MiB free)"
    path.unlink(missing_ok=True)  # nobody will want to read doctor's own
    if free < 64 * MIB:
        return text, [f"less than 64 MiB free in {folder}: long runs lose records; set LIBPERF_DIR elsewhere"]
    return text, []


def _free(folder: Path) -> int:
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


# ---- the cache ----


def _libraries() -> dict[str, bool]:
    """Which optional libraries the core was built with."""
    redis = lib.perf_redis_features()
    compressor = ffi.new("perf_compressor **")
    zstd = lib.perf_compressor_create(0, ffi.NULL, compressor) != lib.PERF_ERR_UNSUPPORTED
    lib.perf_compressor_destroy(compressor[0])
    return {
        "lmdb": lib.perf_disk_reopen_blocking(ffi.NULL) != lib.PERF_ERR_UNSUPPORTED,
        "hiredis": bool(redis & 1),
        "hiredis_ssl": bool(redis & 2),
        "zstd": zstd,
        "libcurl": bool(lib.perf_exporter_features() & 1),
    }


def _missing(libraries: dict[str, bool]) -> list[str]:
    advice = [
        f"built without {name}, so {lost}: apt-get install {package}, then build again"
        for library, name, lost, package in (
            ("lmdb", "LMDB", "there is neither disk= nor libperf.bg", "liblmdb-dev"),
            ("hiredis", "hiredis", "there is no redis=", "libhiredis-dev"),
            ("libcurl", "libcurl", "libperf.otlp sends nothing", "libcurl4-openssl-dev"),
            ("zstd", "zstd", "caches keep values on disk and in Redis as large as they are", "libzstd-dev"),
        )
        if not libraries[library]
    ]
    if libraries["hiredis"] and not libraries["hiredis_ssl"]:
        advice.append(
            "built with a hiredis without TLS, so there is no rediss://: install hiredis 1.0 or newer with hiredis_ssl and "
            "libssl-dev, then build again; or let a TLS proxy such as stunnel listen on a unix socket"
        )
    return advice


def _used(folder: Path) -> int:
    """On the medium: the files are sparse."""
    used = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            used += path.lstat().st_blocks * 512
    return used


def _cache_folder(lmdb: bool) -> tuple[str, list[str]]:
    """Where disk=True keeps values, and what is wrong with that. A trial runs beside it: nothing in it is touched."""
    from ..cache.folder import Folder, default_folder  # `libperf run` need not load it

    elsewhere = "set LIBPERF_CACHE_DIR to a folder you own, on a local disk"
    try:
        folder = default_folder("").absolute()
        there = next(place for place in (folder, *folder.parents) if place.exists())
        used = _used(folder) if there == folder else None
        free = _free(there)
    except (OSError, RuntimeError) as error:  # no home, no right to look
        return "none", [f"no place for a cache folder ({error}): {elsewhere}"]
    text = f"{folder} ({'not made yet' if used is None else f'{used / MIB:,.1f} MiB used'}, {free // MIB:,} MiB free)"
    advice = []
    if there == folder and not folder.is_dir():
        advice.append(f"{folder} is no folder: {elsewhere}")
    elif there == folder and folder.stat().st_uid != os.geteuid():
        advice.append(f"{folder} belongs to another user: {elsewhere}")
    elif lmdb:
        try:
            with tempfile.TemporaryDirectory(prefix=".libperf-doctor-", dir=there) as trial:
                Folder(Path(trial, "cache"), max_bytes=TRIAL_BYTES).close()
        except (OSError, PerfError) as error:
            advice.append(f"no cache can be kept in {there} ({error}): {elsewhere}")
    if free < 256 * MIB:
        advice.append(f"less than 256 MiB free in {there}: what is put there will be refused; {elsewhere}")
    return text, advice


# ---- all of it ----


def examine() -> dict[str, Any]:
    """Everything as plain data."""
    clock, allocator = _text(lib.perf_clock_source()), _text(lib.perf_allocator_name())
    folder, advice = _folder()
    libraries = _libraries()
    cache, cache_advice = _cache_folder(libraries["lmdb"])
    if clock != "tsc" and platform.machine() == "x86_64":
        advice.append("the kernel does not keep time by the TSC here: a span costs about twice as much")
    if allocator == "libc":
        advice.append("built without jemalloc: run tools/jemalloc.sh (needs a C compiler), then build again")
    if handles.speed is None and handles.without != "LIBPERF_SPEED=0":
        advice.append(f"tracing runs without its accelerator ({handles.without}): calls cost two to four times as much")
    advice += _missing(libraries) + cache_advice
    packages = {package: _installed(package) for package in PACKAGES}
    if not packages["langchain-core"]:
        advice.append("LangChain and LangGraph are not installed here, so there is nothing to instrument")
    return {
        "libperf": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()} {sys.executable}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "library": _library(),
        "accelerator": f"off: {handles.without}" if handles.speed is None else "on",
        "clock": f"{clock}, {lib.perf_clock_ticks_per_s() / 1e6:,.1f} ticks/µs",
        "allocator": allocator,
        "libraries": libraries,
        "segments": folder,
        "cache": cache,
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
    found["libraries"] = ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in found["libraries"].items())
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
