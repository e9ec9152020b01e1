"""How much memory this process has, and how much it may have: /proc, control groups, allocators."""

import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .._core import ffi, lib

__all__ = ["Limits", "Usage", "find_limits", "usage"]

ROOT = Path("/")  # tests bring their own
KIB = 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory of this process, in bytes; None: this system does not tell."""

    rss: int | None  # resident now
    peak: int | None  # most that was ever resident
    pss: int | None  # resident, what is shared with other processes divided among them; only usage(pss=True) asks
    swapped: int | None
    python_blocks: int  # that live in Python's own allocator (pymalloc)
    allocated_bytes: int  # since counting began (memory.counts()); 0: never
    allocated_blocks: int
    arenas_bytes: int | None  # what caches of form="bytes" hold; None: built without jemalloc
    arenas_resident: int | None  # and what that takes, with what is kept for later
    limit: int | None  # what the process may have: the least of its control groups' limits and the machine's memory
    limit_used: int | None  # of that, with whatever else lives under the same limit
    available: int | None  # of the machine, without swapping

    def to_dict(self) -> dict[str, int | None]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds this process's memory, and how near the bound is."""

    limit: int | None  # bytes; None: nothing tells
    used: int | None  # of it, without files that can be dropped at once
    where: str  # "control group", "machine"
    available: int | None  # of the machine
    stalled_some: float  # share of the last ten seconds in which some task waited for memory, 0..1
    stalled_full: float  # and in which all did


def usage(*, pss: bool = False) -> Usage:
    """How much memory this process has, now. Costs some 0.2 ms: a few files of /proc are read.

    pss: also the proportional set size, for which the kernel walks all pages: milliseconds for each GiB
    Threads: any.
    """
    status = _fields(ROOT / "proc/self/status")
    rss, peak = status.get("VmRSS"), status.get("VmHWM")
    if rss is None:  # macOS, or no /proc
        scale = 1 if sys.platform == "darwin" else KIB
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale
    limits = find_limits()
    counted = _counted()
    arenas = _arenas()
    return Usage(
        rss=rss,
        peak=peak,
        pss=_fields(ROOT / "proc/self/smaps_rollup").get("Pss") if pss else None,
        swapped=status.get("VmSwap"),
        python_blocks=sys.getallocatedblocks(),
        allocated_bytes=counted.get("bytes", 0),
        allocated_blocks=counted.get("blocks", 0),
        arenas_bytes=arenas and arenas[0],
        arenas_resident=arenas and arenas[1],
        limit=limits.limit,
        limit_used=limits.used,
        available=limits.available,
    )


def find_limits(root: Path | None = None) -> Limits:
    """The bound that is nearest: of the control groups that this process is in, and of the machine."""
    root = root or ROOT
    machine = _fields(root / "proc/meminfo")
    total, available = machine.get("MemTotal"), machine.get("MemAvailable")
    folder = _control_group(root)
    stalled = _stalls(folder / "memory.pressure" if folder else None) or _stalls(root / "proc/pressure/memory")
    used = None if total is None or available is None else total - available
    found = Limits(total, used, "machine", available, *(stalled or (0.0, 0.0)))
    bounds = [bound for each in _groups(folder, root) if (bound := _bound_of(each))]
    if bounds:
        limit, used = min(bounds, key=lambda bound: bound[0] - bound[1])
        left = None if found.limit is None or found.used is None else found.limit - found.used
        if total is None or (limit < total and (left is None or limit - used <= left)):
            return Limits(limit, used, "control group", available, found.stalled_some, found.stalled_full)
    return found


# ---- files ----


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _fields(path: Path) -> dict[str, int]:
    """Lines such as "VmRSS:  123 kB", in bytes."""
    found = {}
    for line in _text(path).splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if words[1:] == ["kB"] and words[0].isdecimal():
            found[name] = int(words[0]) * KIB
    return found


def _number(path: Path) -> int | None:
    """None for "max", and for what is no number."""
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _stalls(path: Path | None) -> tuple[float, float] | None:
    """Of a pressure file: "some avg10=1.23 avg60=…", and the same for "full"."""
    found = {}
    for line in _text(path).splitlines() if path else ():
        words = line.split()
        if len(words) > 1 and words[1].startswith("avg10="):
            try:
                found[words[0]] = float(words[1].removeprefix("avg10=")) / 100
            except ValueError:
                return None
    return (found["some"], found.get("full", 0.0)) if "some" in found else None


# ---- control groups, version 2 and 1 ----


def _control_group(root: Path) -> Path | None:
    """The folder of ours; of the hierarchy's root, where that of ours is not visible (in a container)."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            top = root / "sys/fs/cgroup"
            if not (top / "cgroup.controllers").exists():
                continue  # version 1 beside it has the memory
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
        else:
            continue
        own = top / path.lstrip("/")
        return own if ".." not in path.split("/") and own.is_dir() else top if top.is_dir() else None
    return None


def _groups(folder: Path | None, root: Path) -> list[Path]:
    """It, and those that it is in: each of them may have a limit."""
    top = root / "sys/fs/cgroup"
    found = []
    while folder and folder != top.parent and folder != folder.parent:
        found.append(folder)
        folder = folder.parent
    return found


def _bound_of(folder: Path) -> tuple[int, int] | None:
    """A control group's limit, and how much of it is used."""
    limits = (_number(folder / name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes"))
    known = [limit for limit in limits if limit is not None and limit < 2**62]  # version 1 says so for "none"
    used = _number(folder / "memory.current")
    if used is None:
        used = _number(folder / "memory.usage_in_bytes")
    if not known or used is None:
        return None
    droppable = 0
    for line in _text(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and value.isdecimal():
            droppable = int(value)
    return min(known), max(0, used - droppable)


# ---- allocators ----


def _counted() -> dict[str, int]:
    module = sys.modules.get("libperf._allocations")
    return module.counts() if module else {}


def _arenas() -> tuple[int, int] | None:
    """Handed out, and resident."""
    stats: Any = ffi.new("perf_allocator_stats *")
    if lib.perf_allocator_stats_blocking(stats):
        return None
    return int(stats.allocated_bytes), int(stats.resident_bytes)
