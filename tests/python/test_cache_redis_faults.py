"""RedisTier while the server is killed, stopped, replaced, full, or not one at all: misses within the timeout, then at
once; and everything works again when the server does."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from libperf.cache.keys import Key
from libperf.cache.redis import RedisTier
from support_redis import Answering, RedisServer, entry_of, key_of, now_ms, stop, until, value_of

A, B = key_of("a"), key_of("b")
TAG = 7
TIMEOUT = 0.05
# A call takes its timeout, and what two busy cores add
BOUND = TIMEOUT + 1.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


def opened(url: str, **settings: object) -> RedisTier:
    return RedisTier(url, timeout=TIMEOUT, heartbeat=0.2, **settings)  # type: ignore[arg-type]


def put(tier: RedisTier, key: Key, value: bytes, **settings: object) -> None:
    tier.put(key, entry_of(key, value, **settings))  # type: ignore[arg-type]
    tier.flush()


def back(tier: RedisTier) -> None:
    """Wait until a get finds something again."""
    until(lambda: value_of(tier.get(A)) == b"1" or put(tier, A, b"1"))


def slowest(tier: RedisTier, calls: int) -> list[float]:
    """Seconds that gets took, each a miss."""
    times = []
    for _ in range(calls):
        start = time.monotonic()
        assert tier.get(A) is None
        times.append(time.monotonic() - start)
    return times


def test_killed_and_started_again(server: RedisServer) -> None:
    """Misses at once, a breaker that opens, None from changed(); then all is well, on the same tier."""
    tier = opened(server.url)
    back(tier)
    tier.changed()
    server.kill()
    assert max(slowest(tier, 50)) < BOUND
    stats = tier.stats()
    assert (stats["connected"], stats["breaker_opens"]) == (0, 1)
    assert stats["refused"] > 0  # at once, without asking
    assert tier.changed() is None
    server.start()
    back(tier)
    assert tier.stats()["reconnects"] >= 1 and tier.stats()["breaker"] == 0
    assert tier.changed() is None  # what changed in between is not known
    assert tier.changed() == ()
    tier.close()


def test_stopped_for_a_while(server: RedisServer) -> None:
    """At most `failures` calls wait for their timeout, the rest fail at once; late replies are nobody's."""
    tier = opened(server.url)
    back(tier)
    put(tier, B, b"2")
    stop(server)
    times = slowest(tier, 100)
    assert max(times) < BOUND
    assert sum(seconds > TIMEOUT / 2 for seconds in times) <= 8  # five, and a probe or two
    assert tier.stats()["breaker_opens"] >= 1
    server.signal(signal.SIGCONT)
    for _ in range(50):  # whatever is answered is what was asked for
        assert value_of(tier.get(A)) in (None, b"1")
        assert value_of(tier.get(B)) in (None, b"2")
    back(tier)
    tier.close()


def test_stopped_for_tasks(server: RedisServer) -> None:
    """An event loop goes on; 64 tasks wait no longer than one."""
    tier = opened(server.url)
    back(tier)

    async def run() -> None:
        assert await tier.aget(A)
        stop(server)
        start = time.monotonic()
        assert await asyncio.gather(*[tier.aget(A) for _ in range(64)]) == [None] * 64
        assert time.monotonic() - start < BOUND
        server.signal(signal.SIGCONT)

    asyncio.run(run())
    back(tier)
    tier.close()


def test_a_silent_server_is_noticed(server: RedisServer) -> None:
    """Nobody asks anything, and still: what came from a server that says nothing is to be dropped."""
    tier = opened(server.url)
    back(tier)
    tier.changed()
    word = tier.change_word[0]
    stop(server)
    until(lambda: tier.change_word[0] > word)
    assert tier.changed() is None
    server.signal(signal.SIGCONT)
    back(tier)
    tier.close()


@pytest.mark.parametrize(
    "answer", [b"nonsense\r\n", b"+PONG\r\n", b"$9223372036854775807\r\n", b"*2147483647\r\n", b"\0" * 99, b":1\r\n"]
)
def test_a_server_that_is_none(tmp_path: Path, answer: bytes) -> None:
    """Whatever it answers, it is a miss."""
    with Answering(tmp_path / "s", answer) as false:
        tier = opened(false.url, connect_timeout=0.2)
        assert max(slowest(tier, 30)) < BOUND
        put(tier, A, b"1")
        tier.invalidate([TAG], now_ms())
        assert tier.lease(A, 1) is not None
        tier.close()


def test_a_password_is_wanted(tmp_path: Path) -> None:
    """Without it, or with a wrong one, misses, and the reason in words; with it, hits. It is shown nowhere."""
    with RedisServer(tmp_path, "--requirepass", "s3cret") as server:
        for url, why in ((server.url, "NOAUTH"), (f"unix://:wr0ng@{server.path}", "WRONGPASS")):
            tier = opened(url)
            assert max(slowest(tier, 3)) < BOUND
            assert why in until(tier.describe) and "wr0ng" not in tier.describe() + repr(tier)
            tier.close()
        for url in (f"unix://:s3cret@{server.path}", f"unix://default:s3cret@{server.path}?db=3"):
            tier = opened(url)
            back(tier)
            assert "s3cret" not in tier.describe() + repr(tier) + repr(tier.address)
            tier.close()


def test_full(server: RedisServer) -> None:
    """Puts are refused by the server and counted; gets go on."""
    tier = opened(server.url)
    back(tier)
    assert server.says(b"CONFIG SET maxmemory 1\r\n") == b"+OK\r\n"
    tier.put(B, entry_of(B, b"2"))
    tier.flush()
    assert tier.get(B) is None and value_of(tier.get(A)) == b"1"
    assert tier.stats()["errors"] >= 1 and tier.stats()["breaker"] == 0
    tier.close()


def test_an_invalidation_that_does_not_arrive(server: RedisServer) -> None:
    """Holds in this process at once, and in others as soon as the server takes it."""
    tier, other = opened(server.url), opened(server.url)
    now = now_ms()
    put(tier, A, b"1", labels=(TAG,), created_ms=now)
    assert tier.get(A)
    until(lambda: other.get(A))
    server.says(b"REPLICAOF 127.0.0.1 1\r\n")  # read-only from now on
    until(lambda: tier.get(A))
    tier.invalidate([TAG], now)
    assert tier.get(A) is None and other.get(A) is not None
    assert tier.stats()["owed"] == 1 and tier.stats()["errors"] >= 1
    server.says(b"REPLICAOF NO ONE\r\n")
    until(lambda: not tier.get(A) and not tier.stats()["owed"])
    assert other.get(A) is None
    tier.close()
    other.close()


def test_nobody_there(tmp_path: Path) -> None:
    """A tier is made all the same, and begins to work when the server comes."""
    tier = opened(f"unix://{tmp_path / 'redis.sock'}")
    assert max(slowest(tier, 20)) < BOUND
    assert "No such file" in tier.describe() and "not connected" in tier.describe()
    with RedisServer(tmp_path):
        back(tier)
    tier.close()


def test_a_host_that_does_not_answer() -> None:
    """An address that goes nowhere: the first calls take their timeout, the rest nothing."""
    tier = opened("redis://192.0.2.1:6379")  # RFC 5737
    times = slowest(tier, 50)
    assert max(times) < BOUND
    assert sum(seconds > TIMEOUT / 2 for seconds in times) <= 8
    start = time.monotonic()
    tier.close()
    assert time.monotonic() - start < 1


def test_closed_while_tasks_wait(server: RedisServer) -> None:
    """Nobody is left hanging."""
    tier = RedisTier(server.url, timeout=600.0)

    async def run() -> None:
        await tier.aget(A)
        stop(server)
        tasks = [asyncio.create_task(tier.aget(A)) for _ in range(10)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.to_thread(tier.close)
        assert await asyncio.gather(*tasks) == [None] * 10

    asyncio.run(run())
    server.signal(signal.SIGCONT)
