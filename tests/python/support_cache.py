"""What the tests of the cache share: clocks that stand still, and the smallest shared tier that keeps the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from libperf.cache.clock import Clock
from libperf.cache.keys import Key
from libperf.cache.values import Values


class Still(Clock):
    """A clock that goes on when it is told to; chance as it is told."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000
        self.wall = 1_700_000_000_000
        self.chance = 0.5  # no jitter; early where that is likelier than not

    def monotonic_ns(self) -> int:  # type: ignore[override]
        return self.now_ns

    def wall_ms(self) -> int:
        return self.wall

    def random(self) -> float:  # type: ignore[override]
        return self.chance

    def go(self, seconds: float) -> None:
        self.now_ns += int(seconds * 1e9)
        self.wall += int(seconds * 1e3)


class Lease:
    def __init__(self, tier: SmallTier, digest: bytes) -> None:
        self._tier, self._digest = tier, digest

    def release(self) -> None:
        self._tier.leased.discard(self._digest)


class SmallTier:
    """A dict that keeps the contract of libperf.cache.tier.Tier, and can be told to be down. Two caches that share one
    are two processes."""

    def __init__(self, clock: Still, name: str = "disk", store: SmallTier | None = None) -> None:
        self.name = name
        self.clock = clock
        self.entries: dict[bytes, bytes] = store.entries if store else {}
        self.labels: dict[int, int] = store.labels if store else {}
        self.leased: set[bytes] = store.leased if store else set()
        self.others: list[SmallTier] = store.others if store else []
        self.others.append(self)
        self.news: list[bytes] | None = []
        self.change_word = [0]
        self.skew_ms = 1000 if name == "redis" else 0
        self.down = False
        self.asked = self.puts = self.closed = 0

    def get(self, key: Key) -> bytes | None:
        self.asked += 1
        entry = None if self.down else self.entries.get(key.digest)
        if entry is None:
            return None
        found = Values().unpack(entry)
        assert found is not None
        old = any(found.created_ms <= self.labels.get(label, -1) for label in found.labels)
        return None if old or found.expires_ms <= self.clock.wall else entry

    def get_many(self, keys: Sequence[Key]) -> list[bytes | None]:
        return [self.get(key) for key in keys]

    async def aget(self, key: Key) -> bytes | None:
        await asyncio.sleep(0)
        return self.get(key)

    async def aget_many(self, keys: Sequence[Key]) -> list[bytes | None]:
        await asyncio.sleep(0)
        return self.get_many(keys)

    def _tell(self, digest: bytes | None) -> None:
        for other in self.others:
            if other is not self:
                other.change_word[0] += 1
                if digest is None or other.news is None:
                    other.news = None
                else:
                    other.news.append(digest)

    def put(self, key: Key, entry: bytes) -> None:
        if not self.down:
            self.puts += 1
            self.entries[key.digest] = entry
            self._tell(key.digest)

    def delete(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self.entries.pop(key.digest, None)
            self._tell(key.digest)

    async def adelete(self, keys: Sequence[Key]) -> None:
        self.delete(keys)

    def invalidate(self, labels: Sequence[int], now_ms: int) -> None:
        self.labels |= dict.fromkeys(labels, now_ms + self.skew_ms)
        self._tell(None)

    async def ainvalidate(self, labels: Sequence[int], now_ms: int) -> None:
        self.invalidate(labels, now_ms)

    def lease(self, key: Key, seconds: float) -> Lease | None:
        if key.digest in self.leased and not self.down:
            return None
        self.leased.add(key.digest)
        return Lease(self, key.digest)

    async def alease(self, key: Key, seconds: float) -> Lease | None:
        return self.lease(key, seconds)

    def dictionary(self, id: int) -> bytes | None:
        return None

    def put_dictionary(self, id: int, bytes_: bytes) -> None:
        pass

    def changed(self) -> Sequence[bytes] | None:
        news, self.news = self.news, []
        return news

    def stats(self) -> dict[str, float]:
        return {"entries": len(self.entries)}

    def flush(self, timeout: float | None = None) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


def counting(value: Any = None) -> Any:
    """A factory that counts its calls: `.calls`."""

    def factory() -> Any:
        factory.calls += 1  # type: ignore[attr-defined]
        return factory.calls if value is None else value  # type: ignore[attr-defined]

    factory.calls = 0  # type: ignore[attr-defined]
    return factory
