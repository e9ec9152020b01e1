"""Every segment of a user on this machine, wherever its process was told to put it.

A process looks for its folder once, at its start, in an environment of its own: so segments of one user may lie in
several folders (one with XDG_RUNTIME_DIR, another without).
"""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

__all__ = ["Found", "folders", "open_segment", "segments"]

SUFFIX = ".perf"
SMALLEST, LARGEST = 64 * 1024, 4 * 2**30  # bytes; one chunk, and what a process may be told to use at most


class Found(NamedTuple):
    """A file that may be a segment."""

    path: Path
    pid: int  # by its name
    uid: int  # whose folder it lies in

    @classmethod
    def at(cls, path: Path, uid: int) -> "Found | None":
        pid, dash, _ = path.name.partition("-")
        if not (dash and pid.isdecimal() and pid.isascii() and path.suffix == SUFFIX):
            return None
        return cls(path, int(pid), uid)


def folders(environment: Mapping[str, str] | None = None, *, uid: int | None = None) -> list[Path]:
    """The folders of a user (None: this one) that may hold segments: LIBPERF_DIR's alone when it is set, as for a
    process that records. Only real ones that nobody else can write to."""
    environment = os.environ if environment is None else environment
    uid = os.geteuid() if uid is None else uid
    name = f"libperf-{uid}"
    if chosen := environment.get("LIBPERF_DIR"):
        bases = [chosen]
    else:
        runtime = environment.get("XDG_RUNTIME_DIR", "")
        bases = [*([runtime] if runtime.startswith("/") else []), "/dev/shm", "/tmp"]
    return [folder for base in bases if _is_of(folder := Path(base, name), uid)]


def _is_of(folder: Path, uid: int) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o022


def segments(environment: Mapping[str, str] | None = None, *, uid: int | None = None) -> Iterator[Found]:
    """What the folders hold that is named like a segment; neither opened nor looked at yet."""
    seen: set[tuple[int, int]] = set()
    uid = os.geteuid() if uid is None else uid
    for folder in folders(environment, uid=uid):
        try:
            here, entries = folder.stat(), os.scandir(folder)
        except OSError:  # gone meanwhile
            continue
        with entries:
            if (here.st_dev, here.st_ino) in seen:
                continue
            seen.add((here.st_dev, here.st_ino))
            for entry in entries:
                if found := Found.at(Path(entry.path), uid):
                    yield found


def open_segment(path: Path, uid: int | None = None) -> int:
    """A descriptor of a plain file of a user (None: this one), through no link. OSError says why there is none."""
    # O_NONBLOCK: it may be a pipe that nobody writes to
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("is no plain file")
        if found.st_uid != (os.geteuid() if uid is None else uid):
            raise OSError(f"belongs to user {found.st_uid}")
        if not SMALLEST <= found.st_size <= LARGEST:
            raise OSError(f"has {found.st_size} bytes, no size of a segment")
    except BaseException:
        os.close(fd)
        raise
    return fd
