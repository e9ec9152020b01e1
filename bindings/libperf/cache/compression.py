"""When values are compressed, and what with: a dictionary for each namespace, trained from its own values."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable

from .._codec import Compressor
from .._core import lib

__all__ = ["Compression"]

SAMPLES = 256  # values that a dictionary is trained from, or
SAMPLES_BYTES = 4 << 20  # so many bytes of them
SAMPLE_SMALLEST = 64  # shorter ones say nothing
SAMPLE_LARGEST = 128 << 10  # of longer ones their beginning: zstd looks no further
DICTIONARY_BYTES = 88 << 10  # bench/compression.py: smaller and larger ones do worse
FAMILIES = 64  # namespaces that get a dictionary of their own
RETRY_S = 5.0  # before an unknown dictionary is asked for again


class _Family:
    """The values of one namespace."""

    __slots__ = ("dictionary", "sample_bytes", "samples", "training")

    def __init__(self) -> None:
        self.samples: list[bytes] = []
        self.sample_bytes = 0
        self.dictionary = 0
        self.training: threading.Thread | None = None


class Compression:
    """Packs and unpacks the bytes of values. Without zstd, or with `threshold` None, they stay as they are.

    Threads: any. A dictionary is trained in a thread of its own, which ends then.
    """

    def __init__(
        self,
        threshold: int | None = 1024,
        *,
        level: int = 5,
        samples: int = SAMPLES,
        dictionary_bytes: int = DICTIONARY_BYTES,
        find: Callable[[int], bytes | None] | None = None,
        keep: Callable[[int, bytes], None] | None = None,
    ) -> None:
        self._find = find
        self._keep = keep
        self._level = level
        self._samples = samples
        self._dictionary_bytes = dictionary_bytes
        self._threshold = threshold
        self._families: dict[int, _Family] = {}
        self._unknown: dict[int, float] = {}  # dictionaries that could not be had, and when to ask again
        self._lock = threading.Lock()
        self._closed = False
        _alive.add(self)
        self._compressor: Compressor | None
        try:
            self._compressor = Compressor(level)
        except NotImplementedError:
            self._compressor = None
        self._counts = {"compressions": 0, "decompressions": 0, "raw_bytes": 0, "packed_bytes": 0, "dictionaries": 0}

    # ---- values ----

    def pack(self, family: int, raw: bytes) -> tuple[int, int, bytes]:
        """How it was compressed (perf_compression), with which dictionary (0: none), and the bytes."""
        compressor, threshold = self._compressor, self._threshold
        if compressor is None or threshold is None:
            return lib.PERF_COMPRESSION_NONE, 0, raw
        of = self._families.get(family) or self._new_family(family)
        dictionary = 0
        if of is not None:
            dictionary = of.dictionary
            if not dictionary and not self._closed and len(raw) >= SAMPLE_SMALLEST:
                self._sample(of, raw)
        if len(raw) < (threshold // 4 if dictionary else threshold):
            return lib.PERF_COMPRESSION_NONE, 0, raw
        packed = compressor.pack(raw, dictionary)
        if packed is None:  # it would not become smaller
            return lib.PERF_COMPRESSION_NONE, 0, raw
        counts = self._counts
        counts["compressions"] += 1
        counts["raw_bytes"] += len(raw)
        counts["packed_bytes"] += len(packed)
        return lib.PERF_COMPRESSION_ZSTD, dictionary, packed

    def unpack(self, method: int, dictionary: int, entry: bytes, begin: int, raw_size: int) -> bytes | None:
        """The bytes again, of what lies in `entry` from `begin` on; None: unknown method or dictionary, or damaged."""
        compressor = self._compressor
        if compressor is None or method != lib.PERF_COMPRESSION_ZSTD:
            return None
        if dictionary and not compressor.has(dictionary) and not self._fetch(compressor, dictionary):
            return None
        try:
            raw = compressor.unpack(entry, dictionary, raw_size, begin)
        except (ValueError, LookupError):
            return None
        self._counts["decompressions"] += 1
        return raw

    # ---- dictionaries ----

    def add(self, dictionary: bytes, family: int | None = None) -> int:
        """Have a dictionary, and use it for a namespace from now on; returns its id."""
        if self._compressor is None:
            raise NotImplementedError("libperf was built without zstd")
        id_ = self._compressor.add(dictionary)
        if family is not None and (of := self._families.get(family) or self._new_family(family)):
            of.dictionary = id_
            of.samples.clear()
        return id_

    def adopt(self, dictionary: int, family: int) -> None:
        """Use for a namespace what its entries were compressed with, as long as there is nothing of its own: or every
        process would train another one."""
        of = self._families.get(family) or self._new_family(family)
        if of is not None and not of.dictionary and self._compressor is not None and self._compressor.has(dictionary):
            of.dictionary = dictionary

    def _fetch(self, compressor: Compressor, id_: int) -> bool:
        now = time.monotonic()
        if self._find is None or self._unknown.get(id_, 0) > now:
            return False
        found = self._find(id_)
        try:
            if found is not None and compressor.add(found) == id_:
                self._unknown.pop(id_, None)
                self._counts["dictionaries"] += 1
                return True
        except ValueError:
            pass  # not a dictionary
        if len(self._unknown) > 1000:
            self._unknown.clear()
        self._unknown[id_] = now + RETRY_S
        return False

    def _new_family(self, family: int) -> _Family | None:
        with self._lock:
            if len(self._families) >= FAMILIES:
                return None
            return self._families.setdefault(family, _Family())

    def _sample(self, of: _Family, raw: bytes) -> None:
        with self._lock:
            if of.dictionary or of.training is not None:
                return
            of.samples.append(raw[:SAMPLE_LARGEST])
            of.sample_bytes += len(of.samples[-1])
            if len(of.samples) < self._samples and of.sample_bytes < SAMPLES_BYTES:
                return
            of.training = threading.Thread(target=self._train, args=(of,), name="libperf dictionary", daemon=True)
            of.training.start()

    def _train(self, of: _Family) -> None:
        compressor = self._compressor
        assert compressor is not None
        # a dictionary as large as its samples would know them by heart, and nothing else
        room = max(min(self._dictionary_bytes, of.sample_bytes // 4), 1 << 10)
        made = Compressor.train(of.samples, room, self._level)
        id_ = 0
        if made is not None and not self._closed:
            try:
                id_ = compressor.add(made)
            except ValueError:
                return  # PERF_DICTIONARIES_MAX
            if self._keep is not None:
                self._keep(id_, made)  # others can read before anything is written with it
            self._counts["dictionaries"] += 1
        with self._lock:
            of.samples = []
            of.sample_bytes = 0
            of.dictionary = of.dictionary or id_
            of.training = None

    def wait(self, timeout: float | None = None) -> None:
        """Until dictionaries that are being trained are in use: for tests, and before measuring."""
        for of in list(self._families.values()):
            if thread := of.training:
                thread.join(timeout)

    def close(self) -> None:
        self._closed = True

    def stats(self) -> dict[str, float]:
        return dict(self._counts)

    def _begin_in_child(self) -> None:
        """After fork(): the thread that trained is not here, and who held the lock neither."""
        self._lock = threading.Lock()
        for of in self._families.values():
            of.training = None


_alive: weakref.WeakSet[Compression] = weakref.WeakSet()


def _begin_in_child() -> None:
    for compression in list(_alive):
        compression._begin_in_child()


os.register_at_fork(after_in_child=_begin_in_child)
