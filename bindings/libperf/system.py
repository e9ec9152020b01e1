"""What the system says of processes: memory, CPU time, and who holds which file. Linux; elsewhere nothing is known."""

import os
from pathlib import Path
from typing import NamedTuple

__all__ = ["Usage", "lock_holders", "usage_of"]

PAGE = os.sysconf("SC_PAGE_SIZE")
TICKS = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """Of one process, since it began."""

    cpu: float  # seconds
    rss: int  # bytes


def usage_of(pid: int) -> Usage | None:
    """None: there is no such process, or nothing is said."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
        fields = text.rpartition(b")")[2].split()  # a command's name may hold anything
        return Usage((int(fields[11]) + int(fields[12])) / TICKS, int(fields[21]) * PAGE)
    except (OSError, ValueError, IndexError):
        return None


def lock_holders() -> dict[int, int]:
    """Which process holds an exclusive flock on the file with an inode: {inode: process id here}.

    A segment's writer holds one. Its own number may be of another container; the kernel knows what it is here.
    """
    found = {}
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return {}
    for line in lines:
        words = line.split()  # 1: FLOCK ADVISORY WRITE 4711 00:1a:42 0 EOF
        if words[1:2] == ["FLOCK"] and len(words) >= 6 and words[3] == "WRITE":
            inode = words[5].rpartition(":")[2]
            if inode.isdecimal() and words[4].isdecimal():
                found[int(inode)] = int(words[4])
    return found
