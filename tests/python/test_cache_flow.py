"""From tier to tier: what is found where, how long it lives there, what invalidation reaches. Times are passed in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

import libperf
from libperf.cache.keys import make_key
from libperf.cache.values import Values
from support_cache import SmallTier, Still, counting


@pytest.fixture
def clock() -> Still:
    return Still()


@pytest.fixture
def disk(clock: Still) -> SmallTier:
    return SmallTier(clock)


@pytest.fixture
def redis(clock: Still) -> SmallTier:
    return SmallTier(clock, "redis")


Make = Callable[..., libperf.TieredCache]


@pytest.fixture(params=["object", "bytes"])
def make(clock: Still, request: pytest.FixtureRequest) -> Make:
    def make(**settings: Any) -> libperf.TieredCache:
        return libperf.TieredCache(clock=clock, **{"jitter": 0, "form": request.param, **settings})

    return make


def test_each_tier_in_turn(make: Make, disk: SmallTier, redis: SmallTier) -> None:
    """Memory, then disk, then Redis; what a farther one had is in the nearer ones afterwards."""
    make(disk=disk, redis=redis).set("k", {"a": [1]})
    cache = make(disk=disk, redis=redis)
    assert cache.get("k") == {"a": [1]}
    assert (disk.asked, redis.asked) == (1, 0)
    assert cache.get("k") == {"a": [1]}
    assert (disk.asked, redis.asked) == (1, 0)
    disk.entries.clear()
    cache = make(disk=disk, redis=redis)
    assert cache.get("k") == {"a": [1]}
    assert (disk.asked, redis.asked) == (2, 1)
    assert len(disk.entries) == 1
    stats = cache.get_stats()
    assert (stats["l1_hits"], stats["l2_hits"], stats["l3_hits"]) == (0, 0, 1)
    assert stats["overall_hit_rate"] == 1


def test_a_miss_asks_everybody_once_and_computes_once(make: Make, disk: SmallTier, redis: SmallTier) -> None:
    cache, factory = make(disk=disk, redis=redis), counting()
    assert [cache.get_or_set("k", factory) for _ in range(3)] == [1, 1, 1]
    assert (disk.asked, redis.asked, factory.calls) == (1, 1, 1)
    assert (disk.puts, redis.puts) == (1, 1)
    assert disk.leased == redis.leased == set()


def test_promotion_carries_the_time_that_is_left(make: Make, clock: Still, disk: SmallTier) -> None:
    """The ttl does not begin anew in a nearer tier."""
    make(disk=disk, ttl=100).set("k", 1)
    clock.go(60)
    cache = make(disk=disk, ttl=100)
    assert cache.get("k") == 1
    clock.go(39.9)
    assert cache.get("k") == 1
    clock.go(0.2)
    assert cache.get("k") is None


@pytest.mark.parametrize("verb", ["get", "get_many", "get_or_set", "aget", "aget_many", "aget_or_set"])
def test_what_is_set_while_a_tier_answers_is_not_overwritten(make: Make, disk: SmallTier, verb: str) -> None:
    """The answer is older than what was set before it arrived: a process reads what it wrote."""
    make(disk=disk).set("k", "old")
    cache = make(disk=disk)
    asked = disk.get

    def answer_late(key: Any) -> bytes | None:
        entry = asked(key)
        cache.set("k", "new")
        return entry

    disk.get = answer_late  # type: ignore[method-assign]
    key: Any = ["k"] if verb.endswith("many") else "k"
    call = getattr(cache, verb)
    arguments = (key, lambda: "computed") if verb.endswith("set") else (key,)
    if verb.startswith("a"):
        asyncio.run(call(*arguments))
    else:
        call(*arguments)
    disk.get = asked  # type: ignore[method-assign]
    assert cache.get("k") == "new"


def test_soft_and_hard_times_travel(make: Make, clock: Still, disk: SmallTier) -> None:
    """A promoted value is stale when it would have been, and gone when it would have been."""
    settings = {"disk": disk, "ttl": 100, "stale_ttl": 50, "beta": 0}
    make(**settings).set("k", "old")
    clock.go(120)
    cache = make(**settings)
    assert cache.get("k") == "old"
    clock.go(31)
    assert cache.get("k") is None


@pytest.mark.parametrize("step", [-3600, 3600])
def test_the_wall_clock_is_put(make: Make, clock: Still, disk: SmallTier, step: int) -> None:
    """Back: how old an entry is nobody knows. Forth: it is too old. Memory does not care."""
    first = make(disk=disk, ttl=100)
    first.set("k", 1)
    clock.wall += step * 1000
    assert first.get("k") == 1
    assert make(disk=disk, ttl=100).get("k") is None


def test_the_wall_clock_is_put_back_a_little(make: Make, clock: Still, disk: SmallTier) -> None:
    """As clocks of machines differ: nothing gets more time than it was given, and clear() reaches it."""
    make(disk=disk, ttl=100).set("k", 1)
    clock.wall -= 5000
    cache = make(disk=disk, ttl=100)
    assert cache.get("k") == 1
    cache.clear()
    assert cache.get("k") is None
    assert make(disk=disk).get("k") is None


def test_one_process_sees_what_another_one_changes(make: Make, clock: Still, disk: SmallTier) -> None:
    """Copies in memory go when the key is written, deleted or invalidated elsewhere."""
    one, two = make(disk=disk), make(disk=SmallTier(clock, store=disk))
    one.set("k", 1, tags=["t"])
    assert two.get("k") == 1
    one.set("k", 2, tags=["t"])
    assert two.get("k") == 2
    one.invalidate(tag="t")
    assert two.get("k") is None
    one.set("k", 3)
    assert two.get("k") == 3
    one.delete("k")
    assert two.get("k") is None
    one.set("k", 4)
    assert two.get("k") == 4
    one.clear()
    assert (one.get("k"), two.get("k")) == (None, None)


def test_copies_from_redis_are_compared_again(make: Make, clock: Still, redis: SmallTier) -> None:
    """Though no message came: after memory_ttl seconds at the latest."""
    cache = make(redis=redis, memory_ttl=60)
    cache.set("k", 1)
    packed = Values().pack(2, make_key("default", None, "k"), labels=(), created_ms=clock.wall)
    redis.entries[make_key("default", None, "k").digest] = packed
    clock.go(59)
    assert cache.get("k") == 1
    clock.go(2)
    assert cache.get("k") == 2


# ---- invalidation ----


def test_tags_and_scopes(make: Make, disk: SmallTier) -> None:
    cache = make(disk=disk)
    cache.set("a", 1, tags=["x", "y"])
    cache.set("a", 2, scope="tenant")
    cache.set("b", 3, tags=["y"], scope="tenant")
    assert (cache.get("a"), cache.get("a", scope="tenant"), cache.get("b", scope="other")) == (1, 2, None)
    cache.invalidate(tag="x")
    assert (cache.get("a"), cache.get("a", scope="tenant")) == (None, 2)
    cache.invalidate(scope="tenant")
    assert cache.get("b", scope="tenant") is None
    assert make(disk=disk).get_many(["a", "b"], scope="tenant") == {}


def test_set_after_invalidate_in_one_millisecond(make: Make, clock: Still, disk: SmallTier) -> None:
    """By the clock both are one moment; here they are one after the other, also when the clock goes back."""
    cache = make(disk=disk)
    for step in (0, 0, -5000):
        clock.wall += step
        cache.clear()
        cache.set("k", step)
        assert cache.get("k") == step
        assert make(disk=disk).get("k") == step


@pytest.mark.parametrize("how", ["invalidate", "clear", "delete", "set"])
def test_what_is_being_computed_is_not_kept(make: Make, disk: SmallTier, how: str) -> None:
    """It was begun before; its caller gets it, nobody else."""
    cache = make(disk=disk)

    def factory() -> str:
        match how:
            case "invalidate":
                cache.invalidate(tag="t")
            case "clear":
                cache.clear()
            case "delete":
                cache.delete("k")
            case "set":
                cache.set("k", "newer")
        return "older"

    assert cache.get_or_set("k", factory, tags=["t"]) == "older"
    expected = "newer" if how == "set" else None
    assert cache.get("k") == expected
    assert make(disk=disk).get("k") == expected


def test_a_read_that_an_invalidation_overtakes(make: Make, disk: SmallTier) -> None:
    """Between the disk's answer and memory something was invalidated: the answer is not promoted."""
    make(disk=disk).set("k", 1, tags=["t"])
    cache = make(disk=disk)
    get = disk.get
    disk.get = lambda key: (get(key), cache.invalidate(tag="t"))[0]  # type: ignore[method-assign]
    cache.get("k")
    disk.get = get  # type: ignore[method-assign]
    assert cache.get("k") is None


# ---- stale, early, failing ----


def test_stale_is_served_and_computed_once_behind(make: Make, clock: Still) -> None:
    cache, factory = make(ttl=10, stale_ttl=100, beta=0), counting()
    assert cache.get_or_set("k", factory) == 1
    clock.go(11)
    assert cache.get_or_set("k", factory) == 1
    for _ in range(10_000):
        if factory.calls == 2 and not cache._flow.flights.under_way:
            break
        asyncio.run(asyncio.sleep(0.001))
    assert cache.get_or_set("k", factory) == 2
    assert factory.calls == 2
    stats = cache.get_stats()
    assert (stats["stale_served"], stats["refreshes"]) == (1, 1)


def test_stale_is_served_and_computed_once_by_a_task(make: Make, clock: Still) -> None:
    cache, factory = make(ttl=10, stale_ttl=100, beta=0), counting()

    async def main() -> None:
        async def afactory() -> Any:
            await asyncio.sleep(0)
            return factory()

        assert await cache.aget_or_set("k", afactory) == 1
        clock.go(11)
        assert await asyncio.gather(*(cache.aget_or_set("k", afactory) for _ in range(5))) == [1] * 5
        await asyncio.sleep(0.01)
        assert await cache.aget_or_set("k", afactory) == 2

    asyncio.run(main())
    assert cache.get_stats()["refreshes"] == 1


def test_a_refresh_that_fails_is_swallowed(make: Make, clock: Still) -> None:
    cache = make(ttl=10, stale_ttl=100, beta=0)

    async def fail() -> Any:
        raise OSError("down")

    async def main() -> None:
        await cache.aset("k", 1)
        clock.go(11)
        assert await cache.aget_or_set("k", fail) == 1
        await asyncio.sleep(0.01)
        assert await cache.aget_or_set("k", fail) == 1

    asyncio.run(main())
    assert cache.get_stats()["failures"] >= 1


def test_early_one_caller_computes(make: Make, clock: Still) -> None:
    """Near its end a value is computed again by who is unlucky, the others are served; all by XFetch's formula."""
    cache = make(ttl=100, beta=1)

    def slow() -> str:
        clock.go(2)
        return "new"

    assert cache.get_or_set("k", slow) == "new"
    clock.go(97)
    assert cache.get_or_set("k", counting("never")) == "new"  # 3 s left; chance .5 is early from 1.39 s on
    clock.go(2)
    assert cache.get_or_set("k", counting("newer")) == "newer"
    assert cache.get_stats()["refreshes"] == 1


def test_early_failing_gives_what_there_is(make: Make, clock: Still) -> None:
    cache = make(ttl=100)
    cache.get_or_set("k", lambda: clock.go(2))
    clock.go(99)

    def fail() -> Any:
        raise OSError("down")

    assert cache.get_or_set("k", fail) is None
    assert cache.get_stats()["failures"] == 1


def test_stale_if_error(make: Make, clock: Still, disk: SmallTier) -> None:
    """The old value, but only when computing fails, and not for ever; from disk as well."""
    cache, boom = make(ttl=10, stale_if_error=100, disk=disk, beta=0), OSError("down")

    def fail() -> Any:
        raise boom

    cache.set("k", "old")
    clock.go(50)
    assert cache.get("k") is None
    assert cache.get_or_set("k", fail) == "old"
    assert cache.get_or_set("k", lambda: "new") == "new"
    clock.go(111)
    with pytest.raises(OSError, match="down"):
        cache.get_or_set("k", fail)


@pytest.mark.parametrize("make", ["object"], indirect=True)
def test_negative_ttl(make: Make, clock: Still) -> None:
    """The same exception again, without a call, for that long; get() does not know it."""
    cache, calls = make(negative_ttl=1), []

    def fail() -> Any:
        calls.append(1)
        raise OSError("down")

    for _ in range(3):
        with pytest.raises(OSError, match="down"):
            cache.get_or_set("k", fail)
    assert len(calls) == 1
    assert cache.get("k", "none") == "none"
    clock.go(1.1)
    with pytest.raises(OSError, match="down"):
        cache.get_or_set("k", fail)
    assert len(calls) == 2


# ---- other processes ----


@pytest.mark.parametrize("ask", ["sync", "async"])
def test_who_has_no_lease_waits_for_who_has(
    make: Make, clock: Still, disk: SmallTier, ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other process computed is found in the tier."""
    one, two, other = make(disk=disk), make(disk=SmallTier(clock, store=disk)), counting("ours")
    disk.leased.add(make_key("default", None, "k").digest)  # another process is at it
    get = disk.get

    def get_later(key: Any) -> Any:
        if disk.asked == 3:
            two.set("k", "theirs")
        return get(key)

    monkeypatch.setattr(disk, "get", get_later)
    found = one.get_or_set("k", other) if ask == "sync" else asyncio.run(one.aget_or_set("k", other))
    assert (found, other.calls) == ("theirs", 0)


def test_a_lease_that_nobody_gives_back(make: Make, clock: Still, disk: SmallTier) -> None:
    """After the patience of a flight everybody computes for himself."""
    cache = make(disk=disk, patience=0)
    disk.leased.add(make_key("default", None, "k").digest)
    assert cache.get_or_set("k", lambda: "own") == "own"


def test_a_tier_that_is_down_is_a_miss(make: Make, disk: SmallTier, redis: SmallTier) -> None:
    disk.down = redis.down = True
    cache, factory = make(disk=disk, redis=redis), counting()
    assert [cache.get_or_set("k", factory) for _ in range(3)] == [1, 1, 1]
    assert asyncio.run(cache.aget_or_set("j", factory)) == 2


# ---- values ----


@pytest.mark.parametrize("make", ["object"], indirect=True)
def test_what_has_no_bytes_stays_in_memory(make: Make, disk: SmallTier) -> None:
    """Counted, and what lay there before is gone; strict says where it is."""
    cache = make(disk=disk)
    cache.set("k", 1)
    cache.set("k", {"deep": [object()]})
    assert "deep" in cache.get("k")
    for _ in range(10_000):
        if not disk.entries:
            break
        asyncio.run(asyncio.sleep(0.001))
    assert make(disk=disk).get("k") is None
    assert cache.get_stats()["unstorable"] == 1
    with pytest.raises(TypeError, match=r"\['deep'\]\[0\]"):
        make(disk=disk, strict=True).set("k", {"deep": [object()]})


@pytest.mark.parametrize("make", ["object"], indirect=True)
def test_a_recursive_value(make: Make, disk: SmallTier) -> None:
    """It stays in memory."""
    value: list[Any] = [1]
    value.append(value)
    cache = make(disk=disk)
    cache.set("k", value)
    assert cache.get("k")[0] == 1
    assert cache.get_stats()["unstorable"] == 1


def test_a_damaged_entry_is_a_miss(make: Make, disk: SmallTier) -> None:
    make(disk=disk).set("k", "value")
    entry = disk.entries.popitem()
    disk.get = lambda key: entry[1][:-1]  # type: ignore[method-assign]
    cache = make(disk=disk)
    assert cache.get_or_set("k", lambda: "computed") == "computed"
    assert cache.get_stats()["damaged"] >= 1


# ---- a model ----


@pytest.mark.parametrize("seed", range(4))
def test_random_operations_against_a_dict(make: Make, clock: Still, disk: SmallTier, seed: int) -> None:
    """Two processes over one disk: whatever they do, in whatever order, both read what was written last."""
    chance = random.Random(seed)
    caches = [make(disk=disk, local_max_size=20), make(disk=SmallTier(clock, store=disk), local_max_size=20)]
    model: dict[Any, tuple[Any, float, str, str | None]] = {}
    keys = [*range(20), *"abcdefgh", ("t", 1), (1.5, "x"), b"raw", True, None]
    scopes = [None, None, "one", "two"]

    def gone(true: Callable[[Any], bool]) -> None:
        for place in [place for place, there in model.items() if true(there)]:
            del model[place]

    for number in range(2500):
        cache, key, scope = chance.choice(caches), chance.choice(keys), chance.choice(scopes)
        place, tag = (type(key), key, scope), chance.choice("xyz")
        what = chance.random()
        clock.go(chance.choice([0.001, 0.5, 1, 3]))
        now = clock.now_ns
        gone(lambda there: there[1] <= clock.now_ns)
        if what < 0.5:
            assert cache.get(key, "none", scope=scope) == (model[place][0] if place in model else "none")
        elif what < 0.6:
            found = cache.get_or_set(key, lambda: ["computed"], ttl=20, tags=[tag], scope=scope)
            if place in model:
                assert found == model[place][0]
            else:
                model[place] = ["computed"], now + 20 * 10**9, tag, scope
        elif what < 0.8:
            ttl = chance.choice([None, 5, 50])
            end = float("inf") if ttl is None else now + ttl * 10**9
            cache.set(key, number, ttl, tags=[tag], scope=scope)
            model[place] = number, end, tag, scope
        elif what < 0.9:
            cache.delete(key, scope=scope)
            model.pop(place, None)
        elif what < 0.95:
            cache.invalidate(tag=tag)
            gone(lambda there, tag=tag: there[2] == tag)
        elif what < 0.99:
            cache.invalidate(scope="one")
            gone(lambda there: there[3] == "one")
        else:
            cache.clear()
            model.clear()
