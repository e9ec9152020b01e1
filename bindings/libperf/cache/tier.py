"""What a shared tier is to the flow: disk and Redis are two.

Whatever goes wrong in a tier is a miss that it counts, never an exception. Entries are bytes (entry.h) and carry their
times, labels and checksum; a tier gives out only those that are whole, valid now, and have exactly the key asked for.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from .keys import Key

__all__ = ["Lease", "Tier"]


class Lease(Protocol):
    """The right to compute a key, among processes. It ends by itself; nobody relies on it."""

    def release(self) -> None: ...


class Tier(Protocol):
    name: str
    skew_ms: int  # that invalidate() adds to the time it is given
    change_word: Any  # change_word[0] stands still as long as changed() has nothing to tell

    def get(self, key: Key) -> bytes | None: ...
    def get_many(self, keys: Sequence[Key]) -> list[bytes | None]: ...
    async def aget(self, key: Key) -> bytes | None: ...
    async def aget_many(self, keys: Sequence[Key]) -> list[bytes | None]: ...

    def put(self, key: Key, entry: bytes) -> None:
        """Returns at once; written behind."""

    def delete(self, keys: Sequence[Key]) -> None: ...
    async def adelete(self, keys: Sequence[Key]) -> None: ...

    def invalidate(self, labels: Sequence[int], now_ms: int) -> None:
        """No entry with one of these labels that was begun by `now_ms` is valid any more, in any process."""

    async def ainvalidate(self, labels: Sequence[int], now_ms: int) -> None: ...

    def lease(self, key: Key, seconds: float) -> Lease | None:
        """None: another process is computing it."""

    async def alease(self, key: Key, seconds: float) -> Lease | None: ...

    def dictionary(self, id: int) -> bytes | None: ...
    def put_dictionary(self, id: int, bytes_: bytes) -> None: ...

    def changed(self) -> Sequence[bytes] | None:
        """Digests that other processes changed since the last call; None: more than it knows."""

    def stats(self) -> dict[str, float]: ...
    def flush(self, timeout: float | None = None) -> None: ...
    def close(self) -> None: ...
