"""Values as entries: encoded, compressed, with their times; and back. No pickle: nothing is revived but plain values and
the types that a program has registered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .._codec import Undecodable, Unencodable, decode, encode, entry_pack, entry_unpack, weigh
from .compression import Compression
from .keys import Key
from .types import extend, register_later, register_type, revive

__all__ = [
    "NEVER",
    "Found",
    "Undecodable",
    "Unencodable",
    "Values",
    "register_later",
    "register_type",
    "weigh",
]

NEVER = 2**64 - 1  # for fresh_ms and expires_ms


class Found(NamedTuple):
    """An entry, taken apart. Times are milliseconds since 1970."""

    value: Any
    created_ms: int
    fresh_ms: int
    expires_ms: int
    compute_us: int
    labels: tuple[int, ...]
    flags: int


class Values:
    """Makes entries of values, and values of entries; one for each cache.

    compression_threshold:  values of so many bytes and more are compressed; with a dictionary, a quarter of that; None:
                            never
    find_dictionary:        asked for a dictionary that an entry was compressed with; None: it cannot be had
    keep_dictionary:        told of a dictionary that was trained here, to be found by other processes
    max_bytes:              a value's bytes, uncompressed; larger ones are not read
    Threads: any.
    """

    def __init__(
        self,
        compression_threshold: int | None = 1024,
        *,
        find_dictionary: Callable[[int], bytes | None] | None = None,
        keep_dictionary: Callable[[int, bytes], None] | None = None,
        max_bytes: int = 256 << 20,
    ) -> None:
        self.compression = Compression(compression_threshold, find=find_dictionary, keep=keep_dictionary)
        self._max_bytes = max_bytes
        self.damaged = 0  # entries that were no entries, or of another version
        self.unreadable = 0  # entries of unknown types, unknown dictionaries, or whose decoder raised

    def pack(
        self,
        value: object,
        key: Key,
        *,
        labels: Sequence[int],
        created_ms: int,
        fresh_ms: int = NEVER,
        expires_ms: int = NEVER,
        compute_us: int = 0,
        flags: int = 0,
    ) -> bytes:
        """The entry. Raises Unencodable, a TypeError that says where in the value which type cannot be stored.

        labels:  first the namespace's: values of one namespace share a dictionary
        """
        raw = encode(value, extend)
        method, dictionary, packed = self.compression.pack(labels[0] if labels else 0, raw)
        return entry_pack(
            key.full,
            packed,
            labels,
            created_ms,
            fresh_ms,
            expires_ms,
            compute_us,
            flags,
            method,
            dictionary,
            len(raw),
        )

    def unpack(self, entry: bytes, key: bytes | None = None) -> Found | None:
        """What is in an entry; None: damaged, of another version, of an unknown type, or compressed with a dictionary
        that cannot be had. All of these are misses, and counted.

        key:  whose entry it is, `full`; that of another one is damaged
        """
        parts = entry_unpack(entry)
        if parts is None or (key is not None and parts[10] != key):
            self.damaged += 1
            return None
        created_ms, fresh_ms, expires_ms, compute_us, labels, flags, method, dictionary, raw_size, begin, _ = parts
        try:
            if method:
                raw: bytes | None = None
                if raw_size <= self._max_bytes:
                    raw = self.compression.unpack(method, dictionary, entry, begin, raw_size)
                if raw is None:
                    self.unreadable += 1
                    return None
                value = decode(raw, revive)
                if dictionary and labels:
                    self.compression.adopt(dictionary, labels[0])
            else:
                value = decode(entry, revive, begin)
        except Exception:  # a registered decoder may raise anything
            self.unreadable += 1
            return None
        return Found(value, created_ms, fresh_ms, expires_ms, compute_us, labels, flags)

    def stats(self) -> dict[str, float]:
        return {"damaged": self.damaged, "unreadable": self.unreadable, **self.compression.stats()}

    def close(self) -> None:
        """No dictionary is trained any more."""
        self.compression.close()
