"""Every segment of this user on this machine, wherever its process was told to put it.

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

    @classmethod
    def at(cls, path: Path) -> "Found | None":
        pid, dash, _ = path.name.partition("-")
        if not (dash and pid.isdecimal() and pid.isascii() and path.suffix == SUFFIX):
            return None
        return cls(path, int(pid))


def folders(environment: Mapping[str, str] | None = None) -> list[Path]:
    """The folders of this user that may hold segments: LIBPERF_DIR's alone when it is set, as for a process that
    records. Only real ones that nobody else can write to."""
    environment = os.environ if environment is None else environment
    name = f"libperf-{os.geteuid()}"
    if chosen := environment.get("LIBPERF_DIR"):
        bases = [chosen]
    else:
        runtime = environment.get("XDG_RUNTIME_DIR", "")
        bases = [*([runtime] if runtime.startswith("/") else []), "/dev/shm", "/tmp"]
    return [folder for base in bases if _is_own(folder := Path(base, name))]


def _is_own(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def segments(environment: Mapping[str, str] | None = None) -> Iterator[Found]:
    """What the folders hold that is named like a segment; neither opened nor looked at yet."""
    seen: set[tuple[int, int]] = set()
    for folder in folders(environment):
        try:
            entries = os.scandir(folder)
        except OSError:  # gone meanwhile
            continue
        with entries:
            here = folder.stat()
            if (here.st_dev, here.st_ino) in seen:
                continue
            seen.add((here.st_dev, here.st_ino))
            for entry in entries:
                if found := Found.at(Path(entry.path)):
                    yield found


def open_segment(path: Path) -> int:
    """A descriptor of a plain file of this user, through no link. OSError says why there is none."""
    # O_NONBLOCK: it may be a pipe that nobody writes to
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("is no plain file")
        if found.st_uid != os.geteuid():
            raise OSError(f"belongs to user {found.st_uid}")
        if not SMALLEST <= found.st_size <= LARGEST:
            raise OSError(f"has {found.st_size} bytes, no size of a segment")
    except BaseException:
        os.close(fd)
        raise
    return fd
