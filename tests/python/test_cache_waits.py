"""Waits of caches have their own names while somebody profiles; otherwise they are nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.cache import waits
from support_analysis import analysed, call
from support_cache import SmallTier, Still
from support_cli import Runner
from support_events import record
from support_redis import Distant, RedisServer


def test_nothing_while_nobody_profiles() -> None:
    """One object for all, no ticket, no span; what is raised goes through."""
    assert waits.tier("users", "redis") is waits.tier("other", "disk") is waits.flight("users", 3)
    assert waits.ticket() == 0
    waits.woken(0)
    waits.woken(7)
    with waits.tier("users", "redis"):
        assert not libperf.current_span()
    with pytest.raises(KeyError), waits.flight("users"):
        raise KeyError


def test_a_tier_is_a_span() -> None:
    """In threads and tasks; its errors are its own."""

    async def task() -> None:
        with waits.tier("users", "redis"):
            await asyncio.sleep(0.001)

    def program() -> None:
        with pytest.raises(OSError, match="gone"), waits.tier("users", "disk"):
            raise OSError("gone")
        asyncio.run(task())

    events = record(program)
    assert [event.text for event in events.of("SPAN_BEGIN")] == ["cache users: disk", "cache users: redis"]
    assert [event.arg for event in events.of("SPAN_END")] == [1, 0]


def flight_of_threads(wakes: bool) -> Any:
    """A thread that leads for 20 ms, and one that waits for it on a bare lock; or for its time limit."""
    gate = threading.Lock()
    gate.acquire()
    ticket = waits.ticket()
    waiting = threading.Event()

    def lead() -> None:
        waiting.wait()
        with libperf.span("compute"):
            time.sleep(0.02)
        if wakes:
            waits.woken(ticket)
            gate.release()

    def wait() -> None:
        with waits.flight("users", ticket):
            waiting.set()
            gate.acquire(timeout=30 if wakes else 0.01)

    threads = [threading.Thread(target=each) for each in (lead, wait)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def test_a_thread_says_whom_it_waits_for() -> None:
    """Its wait has a key, which the leader resolves: so it is no sleep of some length."""
    events = record(lambda: flight_of_threads(True))
    span = events.one("SPAN_BEGIN", text="cache users: flight")
    mine = events.by(span.actor)
    (wanted,) = [event.key for event in mine.of("WAIT_FOR")]
    assert mine.of("WAITED")[0].arg == 0
    resolved = [event for event in events.of("RESOLVE") if event.key == wanted]
    assert [event.actor != span.actor for event in resolved] == [True]
    assert mine.codes().index("WAIT") < mine.codes().index("WAITED") < mine.codes().index("SPAN_END")


def test_a_thread_that_loses_patience() -> None:
    """Nobody woke it: it was its own time limit."""
    events = record(lambda: flight_of_threads(False))
    span = events.one("SPAN_BEGIN", text="cache users: flight")
    assert events.by(span.actor).of("WAITED")[0].arg == 1


def test_the_leader_is_the_finding() -> None:
    """Without the computing most of its 20 ms are saved, so for the one who waits, too (the rest is threads that start
    meanwhile); there is no waiting that could be saved."""
    with libperf.Profiler() as profiler:
        flight_of_threads(True)
    analysis = profiler.analyze()
    (flight,) = [label for label in analysis.labels if label.name == "cache users: flight"]
    assert flight.span >= 0.02 > 2 * flight.block
    found = analysis.what_if({"compute": 0.0})
    assert found.before - found.after > 0.01


def test_tickets_of_another_session() -> None:
    """What was given out before somebody profiled, or after, wakes nobody."""
    with libperf.Profiler():
        late = waits.ticket()
    waits.woken(late)
    with libperf.Profiler():
        waits.woken(0)
    assert waits.ticket() == 0


def test_advice_names_the_cache() -> None:
    """A slow tier has its own; any other wait of a cache has none that would be wrong."""

    async def program() -> None:
        for name, seconds in (("redis", 3), ("disk", 2), ("odd", 1)):
            with waits.tier("my users", name):
                await asyncio.sleep(seconds)
        await call("answer", 1)

    rows = {each.name: each.advice for each in analysed(program).bottlenecks}
    assert rows["cache my users: redis"].startswith("a nearer Redis for my users")
    assert rows["cache my users: disk"].startswith("a larger memory tier for my users")
    assert rows["cache my users: odd"] == "make cache my users: odd faster"


# ---- of real caches ----


def names_of(program: Any) -> list[str]:
    return [event.text for event in record(program).of("SPAN_BEGIN")]


def test_each_tier_that_is_asked() -> None:
    """By a thread and by a task; the lease, and where something is deleted or invalidated; a hit in memory asks none."""
    clock = Still()
    disk, redis = SmallTier(clock, "disk"), SmallTier(clock, "redis")
    cache = libperf.TieredCache(disk=disk, redis=redis, name="users", clock=clock)

    async def main() -> None:
        assert await cache.aget_or_set("b", lambda: 2) == await cache.aget("b") == 2
        await cache.aget_many(["x"])
        await cache.adelete("b")
        await cache.ainvalidate(tag="t")

    def program() -> None:
        assert cache.get_or_set("a", lambda: 1) == cache.get("a") == 1
        cache.get_many(["x"])
        cache.delete("a")
        cache.invalidate(tag="t")

    tiers = ["cache users: disk", "cache users: redis"]
    expected = [*tiers, "cache users: lease", *tiers, *tiers, *tiers]
    assert names_of(program) == names_of(lambda: asyncio.run(main())) == expected


def test_a_thread_waits_for_a_thread() -> None:
    """And says for whom: the leader's landing is what ends its wait."""
    cache = libperf.TieredCache(name="users")
    found: list[str] = []

    def lead() -> str:
        while not cache._flow.flights.waited:
            time.sleep(0.001)
        return "value"

    def program() -> None:
        threads = [threading.Thread(target=lambda: found.append(cache.get_or_set("k", lead))) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    events = record(program)
    assert found == ["value"] * 2
    span = events.one("SPAN_BEGIN", text="cache users: flight")
    mine = events.by(span.actor)
    (wanted,) = [event.key for event in mine.of("WAIT_FOR") if event.key]
    (resolved,) = [event for event in events.of("RESOLVE") if event.key == wanted]
    assert resolved.actor != span.actor


def test_libperf_run_names_a_distant_redis(tmp_path: Path) -> None:
    """A program that asks a server 20 ms away is told so."""
    program = """
        import sys, libperf
        from libperf.cache.redis import RedisTier
        cache = libperf.TieredCache(redis=RedisTier(sys.argv[1], timeout=10.0), name="users")
        for number in range(50):
            cache.get(f"user:{number}")
    """
    runner = Runner(tmp_path)
    path = runner.write("app.py", "if True:" + program)
    with RedisServer(tmp_path) as server, Distant(server, 0.02) as distant:
        status, report = runner.json(path, distant.url)
    assert status == 0
    first = report["bottlenecks"][0]
    assert first["name"] == "cache users: redis" and first["gain"] > 0.25
    assert first["advice"].startswith("a nearer Redis for users")
