"""The memory tier: bounds, times, labels, copies; in C and in Python."""

from __future__ import annotations

import gc
import inspect
import os
import random
import threading
import weakref
from typing import Any

import pytest

import libperf
from libperf._core import lib
from libperf._memory import MISSING, Front
from libperf.cache.clock import Clock
from libperf.cache.freshness import FOREVER
from libperf.cache.memory import Life, Memory
from libperf.errors import ClosedError
from support_cache import Still

S = 1_000_000_000


@pytest.fixture(params=[True, False], ids=["c", "python"])
def in_c(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def memory_of(in_c: bool, entries: int = 10, weight: int = 0, clock: Clock | None = None) -> Memory:
    return Memory(entries, weight, clock or Still(), lib.PERF_POLICY_LRU, in_c=in_c)


def put(memory: Memory, key: Any, value: Any = None, weight: int = 1, **life: Any) -> None:
    listed = bool(life.get("labels") or life.get("digest"))
    expires_ns = life.get("expires_ns", FOREVER)
    memory.put(memory.entry(key, value, expires_ns, Life(**life), listed), weight)


def test_the_last_ones_stay(in_c: bool) -> None:
    memory = memory_of(in_c)
    for number in range(100):
        put(memory, number, str(number))
        assert len(memory) == min(number + 1, 10)
    assert [memory.table.get(number) for number in range(88, 92)] == [MISSING, MISSING, "90", "91"]
    assert sorted(memory.table.keys()) == list(range(90, 100))


def test_a_hit_keeps_an_entry(in_c: bool) -> None:
    """Also one that the policy has not heard of yet."""
    memory = memory_of(in_c)
    for number in range(10):
        put(memory, number)
    assert memory.table.get(0) is None
    put(memory, 10)
    assert memory.table.find(0) is not None
    assert memory.table.find(1) is None
    assert memory.hits == 1


def test_weights_bound_it_exactly(in_c: bool) -> None:
    memory = memory_of(in_c, 1000, 100)
    for number in range(50):
        put(memory, number, weight=30)
        assert memory.stats()["bytes"] <= 100
    assert len(memory) == 3
    put(memory, "giant", weight=101)
    assert memory.table.find("giant") is None
    put(memory, 49, "heavier", weight=100)
    assert memory.table.keys() == [49]
    put(memory, 49, "too heavy", weight=2**40)
    assert memory.table.find(49) is None  # the old value is not the key's any more


def test_times(in_c: bool) -> None:
    """Expired entries are no hits at their very nanosecond, and soon they are gone."""
    clock = Still()
    memory = memory_of(in_c, clock=clock)
    put(memory, "a", 1, expires_ns=clock.now_ns + 10 * S)
    memory.set("b", 2, 10 * S, 0.0, 1)
    clock.now_ns += 10 * S - 1
    assert [memory.table.get(key) for key in "ab"] == [1, 2]
    clock.now_ns += 1
    assert [memory.table.get(key) for key in "ab"] == [MISSING, MISSING]
    clock.go(3600)
    memory.expire()
    assert len(memory) == 0
    assert memory.stats()["expirations"] == 2


def test_set_jitters_both_ways(in_c: bool) -> None:
    clock = Still()
    memory = memory_of(in_c, 1000, clock=clock)
    for number in range(1000):
        memory.set(number, None, 100 * S, 0.05, 1)
    ends = [entry.check_ns - clock.now_ns for key in list(memory.table.keys()) if (entry := memory.table.find(key))]
    assert len(ends) == 1000
    assert 95 * S <= min(ends) < 96 * S
    assert 104 * S < max(ends) <= 105 * S
    memory.set("for ever", 1, FOREVER - 1, 0.05, 1)
    clock.go(10**9)
    assert memory.table.get("for ever") == 1


def test_labels_and_digests(in_c: bool) -> None:
    """They find entries that are still there, and nothing is left of them when they are gone."""
    memory = memory_of(in_c)
    put(memory, "a", labels=(1, 2), digest=b"a")
    put(memory, "b", labels=(2,), digest=b"b")
    put(memory, "c", labels=(3,))
    put(memory, "a", labels=(3,), digest=b"a")
    assert memory.remove_labels([1]) == 0
    memory.remove_digests([b"b", b"x"])
    assert sorted(memory.table.keys()) == ["a", "c"]
    assert memory.remove_labels([3, 2]) == 2
    for number in range(1000):
        put(memory, number, labels=(number % 7,), digest=b"%d" % number)
    assert len(memory._by_digest) == 10
    memory.clear()
    assert memory._by_label == memory._by_digest == {}


def test_a_value_that_comes_back_from_its_del(in_c: bool) -> None:
    """It changes the tier while the tier is being changed: no deadlock, and both changes are made."""
    memory = memory_of(in_c)

    class Back:
        def __del__(self) -> None:
            put(memory, "back", "from del", labels=(9,))
            memory.table.get("back")
            memory.remove("x")

    for number in range(20):
        put(memory, number, Back(), labels=(number % 3,))
    memory.clear()
    gc.collect()
    memory.remove_labels([9])
    assert len(memory) == 0
    assert memory._by_label == {}


def test_keys_whose_eq_changes_the_tier(in_c: bool) -> None:
    """What a key's __eq__ does in the middle of a change leaves the table whole."""
    memory = memory_of(in_c, 4)

    class Odd:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            memory.remove(1)
            put(memory, random.randrange(3))
            return self is other

    odd = [Odd() for _ in range(3)]
    for _ in range(50):
        put(memory, random.choice(odd), "odd")
        memory.remove(random.choice(odd))
        put(memory, 1)
        assert len(memory) <= 4
    memory.clear()


def test_nothing_is_kept_alive(in_c: bool) -> None:
    class Thing:
        pass

    memory = memory_of(in_c)
    alive = weakref.WeakSet[Thing]()
    for number in range(100):
        thing = Thing()
        alive.add(thing)
        put(memory, number, thing)
        put(memory, number, thing)
    del thing
    assert len(alive) == 10
    thing = Thing()
    thing.memory = memory  # type: ignore[attr-defined]
    put(memory, "circle", thing)
    ref = weakref.ref(thing)
    del thing, memory
    gc.collect()
    assert ref() is None
    assert len(alive) == 0


def test_a_hundred_thousand_random_operations(in_c: bool) -> None:
    """Against a dict in the order of use."""
    chance, clock = random.Random(3), Still()
    memory = memory_of(in_c, 50, clock=clock)
    model: dict[int, tuple[int, int]] = {}  # key -> value, expires
    for number in range(50_000 if in_c else 20_000):
        key = chance.randrange(120)
        what = chance.random()
        clock.now_ns += chance.randrange(3) * S
        if what < 0.5:
            found = memory.table.get(key)
            there = model.get(key)
            if found is MISSING:
                assert there is None or there[1] <= clock.now_ns
            else:
                assert there is not None and there[0] == found and clock.now_ns < there[1]
                model[key] = model.pop(key)
        elif what < 0.9:
            expires_ns = clock.now_ns + chance.randrange(1, 100) * S
            put(memory, key, number, expires_ns=expires_ns, labels=(key % 10,))
            model.pop(key, None)
            model[key] = number, expires_ns
            if len(model) > 50:  # what has expired may have made room
                model = {
                    key: there for key, there in model.items() if memory.table.find(key) or there[1] > clock.now_ns
                }
            while len(model) > 50:
                del model[next(iter(model))]
        elif what < 0.95:
            memory.remove(key)
            model.pop(key, None)
        else:
            memory.remove_labels([key % 10])
            model = {other: there for other, there in model.items() if other % 10 != key % 10}
        assert len(memory) <= 50


def test_threads(in_c: bool) -> None:
    """Eight of them at once: never above the bounds, and never another key's value."""
    memory = memory_of(in_c, 100, clock=Clock())
    wrong: list[Any] = []

    def work(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for _ in range(4000):
                key = chance.randrange(300)
                what = chance.random()
                if what < 0.6:
                    found = memory.table.get(key)
                    if found is not MISSING and found != key:
                        wrong.append((key, found))
                elif what < 0.9:
                    put(memory, key, key, labels=(key % 5,))
                elif what < 0.98:
                    memory.remove(key)
                else:
                    memory.remove_labels([key % 5])
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []
    assert len(memory) <= 100
    memory.clear()
    assert memory._by_label == {}
    assert len(memory) == 0


def test_fork_in_the_middle_of_a_change(in_c: bool) -> None:
    """The child can go on, whoever held the lock."""
    memory = memory_of(in_c)
    put(memory, "a", 1, labels=(1,))
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with memory._lock:
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    child = os.fork()
    if child == 0:
        put(memory, "b", 2, labels=(2,))
        os._exit(0 if memory.table.get("b") == 2 and memory.remove_labels([2]) == 1 else 1)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert memory.table.get("a") == 1


def test_nonsense_is_refused(in_c: bool) -> None:
    memory = memory_of(in_c)
    with pytest.raises(TypeError):
        memory.table.get([])
    with pytest.raises(TypeError):
        memory.set([], 1, FOREVER, 0.0, 1)
    with pytest.raises((TypeError, AttributeError)):
        memory.table.put("no entry", 1, 0.0, 1)  # type: ignore[arg-type]
    with pytest.raises((ValueError, OverflowError)):
        memory_of(in_c, 0)
    assert len(memory) == 0


@pytest.mark.parametrize("policy", ["adaptive", "lru", "s3fifo"])
def test_every_policy_keeps_the_bounds(policy: str) -> None:
    cache = libperf.TieredCache(7, None, policy=policy)
    for number in range(1000):
        cache.set(number, number)
        assert len(cache) <= 7


# ---- get() and set() of a cache ----


def test_one_step_and_what_takes_more() -> None:
    """Every form of a call, in one step into the table or not, does the same."""
    cache = libperf.TieredCache(scope=None)
    cache.set("a", 1)
    cache.set(key="b", value=2, ttl=None)
    cache.set("c", [3], tags=["t"])
    cache.set("d", 4, 0)
    cache.set("a", 5, scope="other")
    assert [cache.get("a"), cache.get(key="b"), cache.get("c", "none"), cache.get("d", "none")] == [1, 2, [3], "none"]
    assert (cache.get("a", scope="other"), cache.get("b", scope="other", default=0), cache.get(("a",))) == (5, 0, None)
    cache.set("c", 6)  # in one step, in place of one with a tag
    cache.invalidate(tag="t")
    assert cache.get("c") == 6
    for wrong in ({}, {"key": 1, "other": 2}):
        with pytest.raises(TypeError):
            cache.get(**wrong)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        cache.set("a")  # type: ignore[call-arg]
    assert list(inspect.signature(libperf.TieredCache.set).parameters) == [
        *("self", "key", "value", "ttl", "tags", "scope")
    ]
    assert "ttl:" in str(libperf.TieredCache.set.__doc__)
    cache.close()
    for call in (lambda: cache.get("a"), lambda: cache.set("a", 1)):
        with pytest.raises(ClosedError):
            call()


def test_a_cache_that_is_closed_in_the_middle() -> None:
    """By a clock, of all things: the table lives until the call is over."""

    class Closing(Still):
        close: Any = None

        def monotonic_ns(self) -> int:  # type: ignore[override]
            if self.close is not None:
                self.close()
            return self.now_ns

    for use in (lambda cache: cache.get("a"), lambda cache: cache.set("b", 2)):
        clock = Closing()
        cache = libperf.TieredCache(ttl=10, clock=clock)
        cache.set("a", 1)
        clock.close = lambda cache=cache: cache._serve(None, None)
        use(cache)
        assert cache._flow.memory.table.find("a") is not None


def test_a_front_alone() -> None:
    """What it serves from is a table that was prepared, or nothing."""
    front = Front()
    with pytest.raises(AttributeError):
        front.get("a")
    for wrong in (object(), 5):
        with pytest.raises(TypeError):
            front._serve(wrong, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not prepared"):
        front._serve(None, memory_of(True).table)
    assert gc.is_tracked(front)


def test_a_cache_goes_when_nobody_has_it() -> None:
    """At once: there is no cycle for the garbage collector."""
    gc.disable()
    try:
        cache = libperf.TieredCache()
        cache.set("a", 1)
        gone = weakref.ref(cache)
        del cache
        assert gone() is None
    finally:
        gc.enable()
