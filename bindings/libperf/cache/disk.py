"""The disk tier: entries in a folder of this machine, shared by its processes, there after a restart."""

import os
from collections.abc import Sequence
from time import time_ns
from typing import Any

from .._core import ffi, lib
from .folder import Folder, default_folder, milliseconds
from .keys import Key
from .sizes import parse_bytes

__all__ = ["DiskLease", "DiskTier"]

_LEASE_WAIT_MS = 1000  # a lease that is not decided by then is given: it saves work, it protects nothing
_CHANGES: int = lib.PERF_DISK_CHANGES


class DiskLease:
    """The right to compute a key. It ends by itself, by release(), or with its process."""

    __slots__ = ("_digest", "_folder", "_token")

    def __init__(self, folder: Folder | None, digest: bytes, token: int) -> None:
        self._folder, self._digest, self._token = folder, digest, token

    def release(self) -> None:
        """Twice is allowed."""
        folder, self._folder = self._folder, None
        if folder is not None:
            lib.perf_disk_release(folder._disk, self._digest, self._token)


class DiskTier(Folder):
    """A tier of TieredCache (tier.py). Once it is open nothing raises: what fails is a miss, and counted.

    path:       True: a folder among the user's caches. It has to be the user's own, on a local file system; it is made
                when it is not there, with mode 0700
    max_bytes:  the oldest entries go when 80 % of it is used; "64MB", "1GiB", or a number
    queue:      entries that wait to be written; what is put beyond that is refused and counted
    Raises DeniedError, UnsupportedError, FullError, ... that say what is wrong with the folder.
    """

    name = "disk"
    skew_ms = 0  # one machine, one clock

    __slots__ = ("_cursor", "_digests", "_seen", "change_word", "get")

    def __init__(
        self, path: str | os.PathLike[str] | bool = True, *, max_bytes: int | str = "1GiB", queue: int = 4096
    ) -> None:
        where = default_folder("cache") if isinstance(path, bool) else path
        super().__init__(where, max_bytes=parse_bytes(max_bytes, "max_bytes"), queue=queue)
        self.get = self.read
        self._cursor, self._digests = ffi.new("perf_disk_cursor *"), ffi.new("uint8_t[]", 16 * _CHANGES)
        self._watch()
        lib.perf_disk_changes(self._disk, self._cursor, self._digests, _CHANGES)

    def _watch(self) -> None:
        """change_word[0] is another number when something may have changed: for who cannot afford changed()."""
        word = lib.perf_disk_change_word(self._disk)
        self.change_word: Any = word if word else ffi.new("uint64_t *")
        self._seen: int = self.change_word[0]

    # ---- reading ----

    def get_many(self, keys: Sequence[Key]) -> list[bytes | None]:
        return [self.read(key) for key in keys]

    async def aget(self, key: Key) -> bytes | None:
        return self.read(key)  # a read of memory, as it were

    async def aget_many(self, keys: Sequence[Key]) -> list[bytes | None]:
        return [self.read(key) for key in keys]

    # ---- writing: behind ----

    def put(self, key: Key, entry: bytes) -> None:
        self.write(key, entry)

    def delete(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self.remove(key)

    async def adelete(self, keys: Sequence[Key]) -> None:
        self.delete(keys)

    # ---- labels ----

    def invalidate(self, labels: Sequence[int], now_ms: int) -> None:
        """On the medium when it returns."""
        if self._is_open():
            lib.perf_disk_invalidate_blocking(self._disk, labels, len(labels), now_ms)

    async def ainvalidate(self, labels: Sequence[int], now_ms: int) -> None:
        from asyncio import to_thread

        await to_thread(self.invalidate, labels, now_ms)

    def label_ms(self, label: int) -> int:
        """When it was invalidated last, by any process; 0: never."""
        return int(lib.perf_disk_label_ms(self._disk, label))

    # ---- one process at a time ----

    def lease(self, key: Key, seconds: float) -> DiskLease | None:
        """None: another process computes it."""
        token = ffi.new("uint64_t *")
        code = lib.PERF_ERR_CLOSED
        if self._is_open():
            now_ms = time_ns() // 1_000_000
            code = lib.perf_disk_lease_blocking(
                self._disk, key.digest, now_ms, milliseconds(seconds), _LEASE_WAIT_MS, token
            )
        if code:
            return DiskLease(None, key.digest, 0)
        return DiskLease(self, key.digest, token[0]) if token[0] else None

    async def alease(self, key: Key, seconds: float) -> DiskLease | None:
        from asyncio import to_thread

        return await to_thread(self.lease, key, seconds)

    # ---- dictionaries ----

    def dictionary(self, id: int) -> bytes | None:
        size = lib.perf_disk_dictionary(self._disk, id, ffi.NULL, 0)
        if size <= 0:
            return None
        buffer = ffi.new("char[]", size)
        found = lib.perf_disk_dictionary(self._disk, id, buffer, size)
        return bytes(ffi.unpack(buffer, size)) if found == size else None

    def put_dictionary(self, id: int, bytes_: bytes) -> None:
        if self._is_open():
            lib.perf_disk_put_dictionary_blocking(self._disk, id, bytes_, len(bytes_), milliseconds(10))

    # ---- what others change ----

    def changed(self) -> Sequence[bytes] | None:
        """Digests that other processes wrote or removed since the last call; None: anything may have changed."""
        if self.change_word[0] == self._seen:
            return ()
        self._seen = self.change_word[0]  # before reading: what comes meanwhile is seen next time
        count = lib.perf_disk_changes(self._disk, self._cursor, self._digests, _CHANGES)
        if count >= 0:
            raw = bytes(ffi.buffer(self._digests, 16 * count))
            return [raw[at : at + 16] for at in range(0, len(raw), 16)]
        self._watch()
        return None
