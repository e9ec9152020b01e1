"""A capture of memray (`memray run -o FILE app.py`): what was allocated, in which stack, between which two snapshots.

memray itself reads it, so it must be installed. Its snapshots lie 10 ms apart and carry the wall clock in milliseconds. It
counts threads by itself: only the main one is known. Files that libperf maps for its own records are left out.
"""

from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

from ..errors import UnsupportedError
from .looks import NO_STACK, Looks, Malformed, Thread

__all__ = ["is_memray", "read_memray"]

MAGIC = b"memray\0"
COMPRESSED = b"\x04\x22\x4d\x18"  # LZ4, in which memray wraps what it has finished; the name stands in it as it is
MS = 1_000_000


def is_memray(head: bytes) -> bool:
    return head.startswith(MAGIC) or (head.startswith(COMPRESSED) and MAGIC in head[:64])


def read_memray(path: Path, pid: int) -> Looks:
    """Bytes that were allocated, whatever became of them."""
    try:
        import memray
    except ImportError:
        raise UnsupportedError(
            f"{path} was written by memray, which must be installed here to read it: pip install memray"
        ) from None
    looks = Looks("memray", "capture", unit="bytes", bare=True)
    try:
        with memray.FileReader(path) as reader:
            if reader.metadata.pid != pid:
                raise Malformed(f"it is of process {reader.metadata.pid}, and the recording of process {pid}")
            _read(looks, reader, memray.AllocatorType.MMAP)
    except NotImplementedError:
        raise Malformed("memray has added it up (--aggregate), so it has no times: record without") from None
    except (OSError, RuntimeError, EOFError) as error:
        raise Malformed(f"memray cannot read it: {error}") from None
    return looks


def _read(looks: Looks, source: Any, mmap: int) -> None:
    metadata = source.metadata
    looks.zero_wall = round(metadata.start_time.timestamp() * 1000) * MS
    times = [snapshot.time * MS - looks.zero_wall for snapshot in source.get_memory_snapshots()]
    times.append(max([*times[-1:], round(metadata.end_time.timestamp() * 1000) * MS - looks.zero_wall]))
    looks.precision = max((after - before for before, after in pairwise(times)), default=0)
    threads: dict[int, int] = {}
    for record in source.get_temporal_allocation_records(merge_threads=False):
        if record.tid not in threads:
            main = record.tid == metadata.main_thread_id
            threads[record.tid] = looks.add_thread(Thread(0, main, record.thread_name))
        stack = record.stack_trace()
        if record.allocator == mmap and stack and PurePath(stack[0][1]).parent.name == "libperf":
            looks.own += sum(interval.n_bytes for interval in record.intervals)
            continue
        node = NO_STACK
        for function, file, line in reversed(stack):
            node = looks.inside(node, function, file, line)
        for interval in record.intervals:
            place = min(interval.allocated_before_snapshot, len(times) - 1)
            start = times[place - 1] if place else 0
            looks.add(threads[record.tid], start, times[place], interval.n_bytes, node)
