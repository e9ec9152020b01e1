"""Values that stay: stored by name, on disk when store() returns, there in other processes and in the next run.

>>> libperf.bg.store("last_run", {"day": date.today(), "rows": 4812})
>>> libperf.bg.get("last_run", default=None)

Beside the cache, not in it: nothing is ever evicted or expires. A full store says so (FullError). Values are plain ones
and registered types, as in the shared tiers of the cache (libperf.cache.register_type); nothing is pickled.
"""

import os
import threading
from time import time_ns
from typing import Any, TypeVar

from ._codec import entry_unpack
from ._core import ffi, lib
from .cache.folder import Folder, default_folder
from .cache.keys import Key
from .cache.sizes import parse_bytes
from .cache.values import Values
from .errors import InvalidError

__all__ = ["Store", "adelete", "aget", "astore", "configure", "delete", "get", "names", "size", "store"]

T = TypeVar("T")
_MARK = b"bg\0"  # before a name: no key of the cache begins so
_MAX_BYTES = "1GiB"


def _key(name: str) -> Key:
    if not isinstance(name, str) or not name:
        raise InvalidError(f"{name!r} is no name: give a text that is not empty")
    full, digest = _MARK + name.encode("utf-8", "surrogatepass"), ffi.new("uint8_t[16]")
    lib.perf_digest(full, len(full), digest)
    return Key(full, bytes(digest))


class Store:
    """Values by their names in a folder of its own; the functions of this module use one among the user's caches.

    max_bytes:  as many are stored at most; the file is no larger than what is in it
    Threads: any. Processes: any; who stores last wins.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, max_bytes: int | str = _MAX_BYTES) -> None:
        where = default_folder("store") if path is None else path
        self._folder = Folder(where, max_bytes=parse_bytes(max_bytes, "max_bytes"), keep=True)
        # not compressed: a value must not depend on a dictionary that is stored some time later
        self._values = Values(None)

    def store(self, name: str, value: object) -> None:
        """Keep a value. It is on the disk when this returns.

        Raises FullError; Unencodable, a TypeError, for what is neither plain nor registered: it names the place.
        """
        key = _key(name)
        entry = self._values.pack(value, key, labels=(), created_ms=time_ns() // 1_000_000)
        self._folder.write_through(key, entry)

    def get(self, name: str, default: T | None = None) -> Any | T | None:
        """What was stored last; `default` when there is nothing, or it was damaged."""
        entry = self._folder.read(_key(name))
        found = None if entry is None else self._values.unpack(entry)
        return default if found is None else found.value

    def names(self) -> list[str]:
        """All of them, sorted."""
        found = (entry_unpack(entry) for entry in self._folder.entries())
        keys = (parts[-1] for parts in found if parts is not None)
        return sorted(key[len(_MARK) :].decode("utf-8", "surrogatepass") for key in keys if key.startswith(_MARK))

    def delete(self, name: str) -> bool:
        """Remove it, on the disk, too. Was there something?"""
        key = _key(name)
        was_there = self._folder.read(key) is not None
        self._folder.remove(key)
        self._folder.flush()
        return was_there

    def size(self) -> int:
        """Bytes on the disk that hold something, of max_bytes."""
        return int(self._folder.stats()["bytes"])

    async def astore(self, name: str, value: object) -> None:
        from asyncio import to_thread

        await to_thread(self.store, name, value)

    async def aget(self, name: str, default: T | None = None) -> Any | T | None:
        return self.get(name, default)  # a read of memory

    async def adelete(self, name: str) -> bool:
        from asyncio import to_thread

        return await to_thread(self.delete, name)

    def close(self) -> None:
        self._folder.close()


# ---- the one that needs no name ----

_lock = threading.Lock()
_default: Store | None = None
os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.Lock()))


def configure(path: str | os.PathLike[str] | None = None, *, max_bytes: int | str = _MAX_BYTES) -> None:
    """Have the functions of this module use another folder, or another size."""
    global _default
    with _lock:
        if _default is not None:
            _default.close()
        _default = Store(path, max_bytes=max_bytes)


def _store() -> Store:
    global _default
    if _default is None:
        with _lock:
            if _default is None:
                _default = Store()
    return _default


def store(name: str, value: object) -> None:
    """Keep a value: Store.store()."""
    _store().store(name, value)


def get(name: str, default: T | None = None) -> Any | T | None:
    """What was stored last under this name, or `default`."""
    return _store().get(name, default)


def names() -> list[str]:
    """All names, sorted."""
    return _store().names()


def delete(name: str) -> bool:
    """Remove it. Was there something?"""
    return _store().delete(name)


def size() -> int:
    """Bytes on the disk that hold something."""
    return _store().size()


async def astore(name: str, value: object) -> None:
    await _store().astore(name, value)


async def aget(name: str, default: T | None = None) -> Any | T | None:
    return await _store().aget(name, default)


async def adelete(name: str) -> bool:
    return await _store().adelete(name)
