"""An open folder of entries: disk.h in Python. The disk tier and libperf.bg are made of it."""

import os
from collections.abc import Iterator
from pathlib import Path
from time import time_ns

from .._core import ffi, lib
from .._disk import Reader
from .._handle import Handle
from ..errors import FullError, InvalidError, check, text_to_bytes
from .keys import Key

__all__ = ["Folder", "default_folder"]

_SMALL = 16 << 10  # most entries
_CLOSED: int = lib.PERF_ERR_CLOSED


def default_folder(name: str) -> Path:
    """A folder of libperf's own among the user's caches: $LIBPERF_CACHE_DIR, $XDG_CACHE_HOME/libperf, ~/.cache/libperf."""
    own = os.environ.get("LIBPERF_CACHE_DIR")
    caches = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(own) if own else (Path(caches) if caches.startswith("/") else Path.home() / ".cache") / "libperf"
    return base / name


def milliseconds(seconds: float | None) -> int:
    """None: for ever."""
    return 2**62 if seconds is None else max(0, int(seconds * 1000))


class Folder(Handle):
    """Entries by their keys, shared by every process that opens the folder. Threads: any.

    keep:   nothing is ever evicted, and what was written is on the medium
    After close() everything is a miss, and what is put is refused.
    """

    __slots__ = ("_disk", "_stopped", "path", "read")

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int, keep: bool = False, queue: int = 4096) -> None:
        self.path = Path(path).expanduser().absolute()
        self._stopped = False
        config, out = ffi.new("perf_disk_config *"), ffi.new("perf_disk **")
        why, name = ffi.new("char[]", int(lib.PERF_DISK_WHY_BYTES)), ffi.new("char[]", text_to_bytes(self.path))
        lib.perf_disk_config_init(config, ffi.sizeof("perf_disk_config"))
        config.path, config.keep = name, keep
        try:
            config.max_bytes, config.queue_entries = max_bytes, queue
        except OverflowError:
            raise InvalidError(f"{max_bytes} bytes, {queue} entries: no such sizes") from None
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        code = lib.perf_disk_open_blocking(config, why, out)
        said = ffi.string(why).decode(errors="replace")
        check(code, f"cannot open the cache folder {self.path}" + (f": {said}" if said else ""))
        super().__init__(out[0], lib.perf_disk_close_blocking)
        self._disk = out[0]  # without a question whether it is closed: C knows
        # the entry that has exactly this key and is valid now, or None
        self.read = Reader(int(ffi.cast("uintptr_t", out[0])), self._pointer, self._read_closed)

    def _is_open(self) -> bool:
        """Whether it can be used; in the child of a fork it is opened again."""
        return not self._stopped and lib.perf_disk_reopen_blocking(self._disk) == lib.PERF_OK

    # ---- entries ----

    def _read_closed(self, key: Key) -> bytes | None:
        """A read that found the disk closed."""
        return self.read(key) if self._is_open() else None

    def write(self, key: Key, entry: bytes) -> int:
        """Queue an entry. The C core's error code: it is counted there."""
        code: int = lib.perf_disk_put(self._disk, key.digest, entry, len(entry))
        if code == _CLOSED and self._is_open():
            code = lib.perf_disk_put(self._disk, key.digest, entry, len(entry))
        return code

    def write_through(self, key: Key, entry: bytes, timeout: float | None = None) -> None:
        """The same, and wait until it is written. Raises what kept it from that."""
        code = lib.PERF_ERR_CLOSED
        if self._is_open():
            code = lib.perf_disk_put_blocking(self._disk, key.digest, entry, len(entry), milliseconds(timeout))
        if code in (lib.PERF_ERR_FULL, lib.PERF_ERR_RANGE):
            raise FullError(
                f"no room for {len(entry):,} bytes in {self.path}: delete something, or give it more max_bytes"
            )
        check(code, f"writing to {self.path}")

    def remove(self, key: Key) -> int:
        code: int = lib.perf_disk_delete(self._disk, key.digest)
        if code == _CLOSED and self._is_open():
            code = lib.perf_disk_delete(self._disk, key.digest)
        return code

    def entries(self) -> Iterator[bytes]:
        """All that are valid now; those written meanwhile may be among them."""
        digest, size = ffi.new("uint8_t[16]"), _SMALL
        while self._is_open():
            buffer = ffi.new("char[]", size)
            found = lib.perf_disk_next_blocking(self._disk, digest, buffer, size, time_ns() // 1_000_000)
            if found < 0:
                return
            if found <= size:
                yield ffi.unpack(buffer, found)
            size = max(size, found)

    # ---- all of it ----

    def flush(self, timeout: float | None = None) -> None:
        """Wait until what was put is written, at most so long: TimedOutError."""
        code = lib.perf_disk_flush_blocking(self._disk, milliseconds(timeout))
        if code != _CLOSED:  # nothing waits there
            check(code, f"writing what is queued for {self.path}")

    def stats(self) -> dict[str, float]:
        out = ffi.new("perf_disk_stats *")
        lib.perf_disk_stats_now(self._disk, out)  # zeros when it is closed
        found: dict[str, float] = {name: getattr(out, name) for name in dir(out)}
        # one word for a thing, in every tier
        for name, common in (("evicted", "evictions"), ("used_bytes", "bytes"), ("corrupt", "errors")):
            found[common] = found.pop(name)
        found["commit_us"] = found.pop("commit_ns") / 1000 / max(1, found["commits"])
        return found

    @property
    def closed(self) -> bool:
        return self._stopped

    def close(self) -> None:
        """Write what is queued, and close. Closing twice is allowed. Calls in other threads come to an end."""
        self._stopped = True
        lib.perf_disk_stop_blocking(self._disk)  # freed when nobody has it any more
