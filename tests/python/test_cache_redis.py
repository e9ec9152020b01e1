"""RedisTier with a real server: what is put is got, by anybody, until it expires or is invalidated."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import libperf
from libperf.cache.keys import Key
from libperf.cache.redis import RedisTier
from libperf.errors import InvalidError
from support_redis import RedisServer, entry_of, key_of, now_ms, until, value_of

A, B, C = (key_of(text) for text in "abc")
SPACE, SCOPE, TAG, OTHER = 11, 12, 13, 14


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def tier(server: RedisServer) -> Iterator[RedisTier]:
    tier = RedisTier(server.url, timeout=10.0)
    yield tier
    tier.close()


def put(tier: RedisTier, key: Key, value: bytes, **settings: object) -> bytes:
    entry = entry_of(key, value, **settings)  # type: ignore[arg-type]
    tier.put(key, entry)
    return entry


def test_put_and_get(tier: RedisTier) -> None:
    """The very bytes come back, one by one and many at once, in order."""
    entries = [put(tier, key, value) for key, value in ((A, b"1"), (B, b""), (C, bytes(1 << 20)))]
    assert [tier.get(key) for key in (A, B, C)] == entries
    assert tier.get_many([C, key_of("none"), A]) == [entries[2], None, entries[0]]
    assert tier.get_many([]) == []
    stats = tier.stats()
    assert (stats["hits"], stats["misses"], stats["errors"]) == (5, 1, 0)


def test_tasks_share_a_pipeline(tier: RedisTier) -> None:
    """What 200 tasks ask for at once goes as a few pieces, and each gets its own."""
    keys = [key_of(str(number)) for number in range(200)]
    for number, key in enumerate(keys):
        put(tier, key, b"%d" % number)
    tier.flush()
    before = tier.stats()

    async def run() -> None:
        found = await asyncio.gather(*[tier.aget(key) for key in keys])
        assert [value_of(entry) for entry in found] == [b"%d" % number for number in range(200)]
        assert await tier.aget_many(keys[:100]) == found[:100]
        assert await tier.aget_many([]) == []

    asyncio.run(run())
    asyncio.run(run())  # another loop
    after = tier.stats()
    writes = {name: stats["commands"] / stats["batch"] for name, stats in (("b", before), ("a", after))}
    assert after["commands"] - before["commands"] == 600
    assert writes["a"] - writes["b"] <= 20


def test_cancelled_tasks(tier: RedisTier) -> None:
    """Their replies come and go; the others get theirs."""
    put(tier, A, b"1")

    async def run() -> None:
        tasks = [asyncio.create_task(tier.aget(A)) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(one, asyncio.CancelledError) for one in found] == [True, False] * 10
        assert {value_of(one) for one in found[1::2]} == {b"1"}  # type: ignore[arg-type]

    asyncio.run(run())


def test_threads(tier: RedisTier) -> None:
    """Each thread gets what it asks for."""
    keys = [key_of(str(number)) for number in range(16)]
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(50):
            put(tier, keys[number], b"%d/%d" % (number, turn))
            found = value_of(tier.get(keys[number]))
            if found != b"%d/%d" % (number, turn):
                wrong.append((number, turn, found))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_expiry(server: RedisServer, tier: RedisTier) -> None:
    """The server drops it in time; one that has expired is not stored, nor given out."""
    put(tier, A, b"1", expires_ms=now_ms() + 3_600_000)
    put(tier, B, b"1")
    put(tier, C, b"1", expires_ms=now_ms() - 1)
    tier.flush()
    left = int(server.says(b"PTTL libperf:k:%b\r\n" % A.digest.hex().encode()).strip(b":\r\n"))
    assert 3_500_000 < left <= 3_600_000
    assert server.says(b"PTTL libperf:k:%b\r\n" % B.digest.hex().encode()) == b":-1\r\n"
    assert tier.get(C) is None
    late = entry_of(A, b"late", expires_ms=now_ms() - 1)
    server.says(b"*3\r\n$3\r\nSET\r\n$42\r\nlibperf:k:%b\r\n$%d\r\n%b\r\n" % (A.digest.hex().encode(), len(late), late))
    assert tier.get(A) is None
    assert tier.stats()["expired"] == 1


def test_what_is_not_an_entry_is_a_miss(server: RedisServer, tier: RedisTier) -> None:
    """Bytes of somebody else, another key's entry under the same digest, a list."""
    entry = entry_of(Key(b"another", A.digest), b"1")
    for words in ((b"SET", entry), (b"SET", b"nonsense"), (b"SET", b"")):
        name = b"libperf:k:" + A.digest.hex().encode()
        wire = b"*3\r\n$3\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (words[0], len(name), name, len(words[1]), words[1])
        assert server.says(wire) == b"+OK\r\n"
        assert tier.get(A) is None
    server.says(b"DEL libperf:k:%b\r\n" % A.digest.hex().encode())
    server.says(b"RPUSH libperf:k:%b x\r\n" % A.digest.hex().encode())
    assert tier.get(A) is None
    assert tier.stats()["damaged"] == 3
    assert tier.stats()["misses"] == 4


def test_delete(tier: RedisTier) -> None:
    """It is gone when delete() returns."""
    for key in (A, B):
        put(tier, key, b"1")
    tier.delete([A, C])
    assert tier.get(A) is None and tier.get(B) is not None
    asyncio.run(tier.adelete([B]))
    assert tier.get(B) is None
    tier.delete([])


def test_invalidation_is_by_label_and_time(tier: RedisTier) -> None:
    """Entries that were begun before are gone, with that label only; those begun later are valid."""
    now = now_ms()
    labels = (SPACE, SCOPE, TAG)
    put(tier, A, b"old", labels=labels, created_ms=now)
    put(tier, B, b"other", labels=(SPACE, OTHER), created_ms=now)
    assert tier.get(A) and tier.get(B)
    tier.invalidate([TAG], now)
    assert tier.get(A) is None
    assert value_of(tier.get(B)) == b"other"
    put(tier, A, b"new", labels=labels, created_ms=now + 1001)  # beyond the skew
    assert value_of(tier.get(A)) == b"new"
    tier.invalidate([TAG], now - 5_000)  # an older one changes nothing
    assert value_of(tier.get(A)) == b"new"
    asyncio.run(tier.ainvalidate([SPACE], now + 10))
    assert tier.get_many([A, B]) == [None, None]
    assert tier.stats()["invalidated"] == 3


def test_labels_that_are_known_need_no_second_question(tier: RedisTier) -> None:
    """Given, or had lately: one command a get. Others: two."""
    put(tier, A, b"1", labels=(SPACE, SCOPE, TAG))
    tier.flush()

    def commands(*labels: int) -> float:
        before = tier.stats()["commands"]
        assert tier.get(A, labels)
        return tier.stats()["commands"] - before

    assert commands(SPACE, SCOPE, TAG) == 1
    assert commands() == 2
    assert commands(TAG) == 1  # SPACE and SCOPE are asked for since
    assert [value_of(entry) for entry in tier.get_many([A, A])] == [b"1", b"1"]


def test_leases(server: RedisServer, tier: RedisTier) -> None:
    """One at a time, between processes; whoever releases it too late takes nobody's away."""
    other = RedisTier(server.url, timeout=10.0)
    lease = tier.lease(A, 60)
    assert lease is not None
    assert tier.lease(A, 60) is None and other.lease(A, 60) is None
    assert other.lease(B, 60) is not None
    lease.release()
    lease.release()
    tier.flush()
    second = asyncio.run(other.alease(A, 0.001))
    assert second is not None
    third = until(lambda: tier.lease(A, 60))  # the second has ended by itself
    second.release()
    other.flush()
    assert other.lease(A, 60) is None
    third.release()
    other.close()


def test_dictionaries(tier: RedisTier) -> None:
    """Kept by number."""
    assert tier.dictionary(7) is None
    tier.put_dictionary(7, b"\0words")
    assert tier.dictionary(7) == b"\0words"


def test_changes_by_others_are_heard_of(server: RedisServer, tier: RedisTier) -> None:
    """Their puts and deletes by digest, their invalidations as everything; our own not at all."""
    other = RedisTier(server.url, timeout=10.0)
    put(tier, A, b"1")
    assert tier.get(A)
    assert tier.changed() == () and tier.stats()["tracking"] == 1
    word = tier.change_word[0]
    put(tier, B, b"1")
    put(other, A, b"2")
    until(lambda: tier.change_word[0] == word + 1)
    assert tier.changed() == [A.digest]
    other.delete([C, A])  # there is no C
    until(lambda: tier.change_word[0] == word + 2)
    assert tier.changed() == [A.digest]
    assert tier.changed() == ()
    other.invalidate([TAG], now_ms())
    until(lambda: tier.change_word[0] >= word + 3)
    assert tier.changed() is None
    assert tier.changed() == ()
    lease = other.lease(A, 60)  # is no change of a copy
    assert lease is not None
    other.put_dictionary(1, b"x")
    put(other, B, b"2")
    until(lambda: tier.change_word[0] == word + 4)
    assert tier.changed() == [B.digest]
    other.close()


def test_more_changes_than_are_kept(server: RedisServer, tier: RedisTier) -> None:
    """Whoever does not look for long is told to drop everything; so is who asks after FLUSHALL."""
    other = RedisTier(server.url, timeout=10.0)
    assert tier.get(A) is None
    word = tier.change_word[0]
    for number in range(1100):
        put(other, key_of(str(number)), b"")
    until(lambda: tier.change_word[0] >= word + 1100)
    assert tier.changed() is None
    word = tier.change_word[0]
    server.says(b"FLUSHALL\r\n")
    until(lambda: tier.change_word[0] > word)
    assert tier.changed() is None
    other.close()


def test_no_tracking(server: RedisServer) -> None:
    """Only when asked for, and only where the server can: without it everything else works."""
    quiet = RedisTier(server.url, timeout=10.0, track=False)
    put(quiet, A, b"1")
    assert quiet.get(A) and quiet.stats()["tracking"] == 0
    quiet.close()


def test_a_child_has_connections_of_its_own(tier: RedisTier, tmp_path: Path) -> None:
    """After a fork both go on; what the child holds of the server's is to be dropped."""
    put(tier, A, b"1")
    assert tier.get(A) and tier.changed() == ()
    child = os.fork()
    if not child:
        try:
            dropped = tier.changed() is None
            found = value_of(tier.get(A))
            put(tier, B, b"child")
            loop_found = value_of(asyncio.run(tier.aget(B)))
            tier.close()
            (tmp_path / "said").write_text(f"{dropped} {found!r} {loop_found!r}")
        finally:
            os._exit(0)
    for _ in range(100):
        assert value_of(tier.get(A)) == b"1"
    os.waitpid(child, 0)
    assert (tmp_path / "said").read_text() == "True b'1' b'child'"
    assert value_of(tier.get(B)) == b"child"
    assert tier.stats()["connects"] == 1


def test_limits(server: RedisServer) -> None:
    """What could not be read in time is not stored; with max_ttl nothing stays for ever, not even an invalidation."""
    tier = RedisTier(server.url, timeout=10.0, max_value=1000, max_ttl=60)
    put(tier, A, bytes(2000))
    put(tier, B, b"1", labels=(TAG,))
    tier.put(C, b"no entry")
    assert tier.get_many([A, B, C])[0::2] == [None, None]
    assert (tier.stats()["too_long"], tier.stats()["damaged"]) == (1, 1)
    tier.invalidate([TAG], now_ms())
    for name in (b"k:" + B.digest.hex().encode(), b"l:%016x" % TAG):
        assert 0 < int(server.says(b"PTTL libperf:%b\r\n" % name).strip(b":\r\n")) <= 62_000
    tier.close()


def test_settings_that_make_no_sense() -> None:
    """Are said at once, with their value."""
    for settings in ({"timeout": 0.0}, {"timeout": -1}, {"heartbeat": 1e9}, {"skew": -1.0}, {"max_ttl": 0}):
        with pytest.raises(InvalidError, match=next(iter(settings))):
            RedisTier("redis://localhost", **settings)  # type: ignore[arg-type]


def test_after_close(tier: RedisTier) -> None:
    """Everything is a miss; nothing raises."""
    put(tier, A, b"1")
    assert tier.get(A)
    tier.close()
    tier.close()
    assert tier.get(A) is None and tier.get_many([A, B]) == [None, None]
    assert asyncio.run(tier.aget(A)) is None
    put(tier, A, b"2")
    tier.delete([A])
    tier.invalidate([TAG], now_ms())
    tier.flush()
    assert tier.lease(A, 1) is not None and tier.dictionary(1) is None and tier.changed() == ()


def test_at_exit(server: RedisServer) -> None:
    """A program that never closes its tier ends, and ends well."""
    code = """
import sys, asyncio
sys.path.insert(0, sys.argv[2])
import libperf
from libperf.cache.keys import Key
from libperf.cache.redis import RedisTier
from support_redis import entry_of, key_of
tier = RedisTier(sys.argv[1], timeout=10.0)
tier.put(key_of("a"), entry_of(key_of("a"), b"1"))
async def run():
    assert await tier.aget(key_of("a"))
    asyncio.create_task(tier.aget(key_of("a")))
asyncio.run(run())
"""
    start = time.monotonic()
    arguments = [sys.executable, "-X", "dev", "-c", code, server.url, str(Path(__file__).parent)]
    ended = subprocess.run(arguments, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert time.monotonic() - start < 30


def test_what_is_begun_after_an_invalidation_is_valid(server: RedisServer) -> None:
    """However far the clocks may differ: the cache knows how far the tier reaches."""
    for skew in (0.0, 1.0, 30.0):
        tiers = [RedisTier(server.url, timeout=10.0, skew=skew) for _ in range(2)]
        here, there = (libperf.TieredCache(redis=tier) for tier in tiers)
        here.set("k", "old", tags=["t"])
        here.flush()
        here.invalidate(tag="t")
        assert there.get("k") is None
        here.set("k", skew, tags=["t"])
        here.flush()
        until(lambda there=there: there.get("k") is not None)
        assert there.get("k") == skew
        for each in (here, there, *tiers):
            each.close()
