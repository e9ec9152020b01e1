"""@cached: every kind of function stays what it is; what other libraries' caches got wrong is right here."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import gc
import inspect
import pickle
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.errors import InvalidError
from support_cache import SmallTier, Still

calls: list[Any] = []


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    calls.clear()


@libperf.cached
def square(number: int, /, power: int = 2, *, note: str | None = None) -> int:
    """Computes."""
    calls.append((number, power, note))
    return int(number**power)


@libperf.cached(ttl=60)
async def asquare(number: int) -> int:
    calls.append(number)
    await asyncio.sleep(0)
    return number * number


@libperf.cached
def count_to(end: int) -> Iterator[int]:
    calls.append(end)
    yield from range(end)
    return "end"


@libperf.cached
async def acount_to(end: int) -> AsyncIterator[int]:
    calls.append(end)
    for number in range(end):
        yield number


class Thing:
    def __init__(self, size: int) -> None:
        self.size = size

    @libperf.cached
    def times(self, factor: int) -> int:
        calls.append(self)
        return self.size * factor

    @libperf.cached
    @classmethod
    def name(cls, suffix: str) -> str:
        calls.append(cls)
        return cls.__name__ + suffix

    @staticmethod
    @libperf.cached
    def twice(number: int) -> int:
        calls.append(number)
        return 2 * number


# ---- what a function is ----


def test_a_function_stays_what_it_is() -> None:
    assert str(inspect.signature(square)) == str(inspect.signature(square.__wrapped__))  # type: ignore[attr-defined]
    assert (square.__name__, square.__doc__, square.__module__) == ("square", "Computes.", __name__)
    assert inspect.isfunction(square) and not inspect.iscoroutinefunction(square)
    assert inspect.iscoroutinefunction(asquare)
    assert inspect.isgeneratorfunction(count_to)
    assert inspect.isasyncgenfunction(acount_to)
    assert pickle.loads(pickle.dumps(square)) is square
    assert square.__defaults__ == (2,) and square.__kwdefaults__ == {"note": None}


def test_a_wrong_call_is_wrong_as_before() -> None:
    for wrong in (lambda: square(), lambda: square(1, 2, 3), lambda: square(number=1), lambda: square(1, x=2)):  # type: ignore
        with pytest.raises(TypeError):
            wrong()
    assert calls == []


def test_calls_that_the_function_cannot_tell_apart_are_one() -> None:
    square.cache_clear()  # type: ignore[attr-defined]
    assert [square(3), square(3, 2), square(3, power=2), square(3, note=None)] == [9] * 4
    assert calls == [(3, 2, None)]
    assert square(3, note="x") == 9
    assert len(calls) == 2


def test_values_that_are_equal_are_not_one_key() -> None:
    """functools.lru_cache answers f(1.0) with what f(1) gave, unless it is told to look at types; inside, never."""
    seen = libperf.cached(lambda value: repr(value))
    values = [1, 1.0, True, "1", b"1", (1,), (1.0,), (True,), [1], None, "None", 0, -0.0, False, {1}, {1: 1}]
    assert [seen(value) for value in values] == [repr(value) for value in values]
    assert [seen(value) for value in values] == [repr(value) for value in values]
    assert seen.cache_info().currsize == len(values)  # type: ignore[attr-defined]
    assert seen({"a": 1, "b": 2}) == seen({"b": 2, "a": 1})


def test_several_arguments_are_not_confused() -> None:
    pair = libperf.cached(lambda a, b=None, *rest, **more: (a, b, rest, more))
    forms: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((1,), {}),
        ((1, None, 2), {}),
        ((1, (2,)), {}),
        ((1, 2), {}),
        ((1, 2, 3), {"x": 4}),
        ((1, 2, 3, ("x", 4)), {}),
        (("ab", "c"), {}),
        (("a", "bc"), {}),
    ]
    for _ in range(2):
        for args, kwargs in forms:
            expected = pair.__wrapped__(*args, **kwargs)  # type: ignore[attr-defined]
            assert pair(*args, **kwargs) == expected
    assert pair.cache_info().currsize == len(forms)  # type: ignore[attr-defined]


def test_what_has_no_signature() -> None:
    """Builtins, partials and objects that can be called."""

    class Adder:
        def __call__(self, *args: int, plus: int = 0) -> int:
            calls.append(args)
            return sum(args) + plus

    add = libperf.cached(Adder())
    assert [add(1, 2), add(1, 2), add(1, plus=2), add(1, plus=2)] == [3] * 4
    assert calls == [(1, 2), (1,)]
    longest = libperf.cached(functools.partial(max, 7))
    assert (longest(3), longest(9), longest(3)) == (7, 9, 7)
    assert libperf.cached(len)("abc") == 3


def test_wrappers_of_functions() -> None:
    """What takes (*args, **kwargs), as a traced function does."""

    @libperf.cached
    @libperf.trace
    def add(a: int, b: int = 0) -> int:
        calls.append(a)
        return a + b

    @libperf.cached
    def count(*args: int) -> int:
        calls.append(args)
        return len(args)

    assert [add(1), add(1), add(1, b=2), add(1, b=2), count(), count(), count(1, 2)] == [1, 1, 3, 3, 0, 0, 2]
    assert calls == [1, 1, (), (1, 2)]


def test_parameters_with_odd_names() -> None:
    """Private ones, and ones that the wrapper might use itself."""

    @libperf.cached
    def odd(_get: int, key: int, args: int, kwargs: int, value: int, wrapper: int = 0) -> tuple[int, ...]:
        return _get, key, args, kwargs, value, wrapper

    assert odd(1, 2, 3, 4, 5) == odd(1, 2, 3, 4, value=5) == (1, 2, 3, 4, 5, 0)


def test_methods() -> None:
    """Two objects do not share; each is its own key, and lives as long as what was kept of it."""
    one, two = Thing(2), Thing(3)
    assert [one.times(2), two.times(2), one.times(2), one.times(factor=2)] == [4, 6, 4, 4]
    assert calls == [one, two]
    assert [Thing.name("!"), Thing.name("!"), Thing.twice(4), one.twice(4)] == ["Thing!", "Thing!", 8, 8]
    ref = weakref.ref(one)
    calls.clear()
    del one
    assert ref() is not None
    Thing.times.cache_clear()  # type: ignore[attr-defined]
    gc.collect()
    assert ref() is None


def test_arguments_that_cannot_be_keys() -> None:
    """Neither a form nor a hash: the error names the argument's place and type."""

    class Odd:
        __hash__ = None  # type: ignore[assignment]

    with pytest.raises(TypeError, match="Odd"):
        square(Odd())  # type: ignore[arg-type]
    in_tier = libperf.cached(disk=SmallTier(Still()))(lambda a, b: a)
    with pytest.raises(TypeError, match="key="):
        in_tier(1, object())


def test_decorating_nonsense() -> None:
    with pytest.raises(TypeError, match="decorate its methods"):
        libperf.cached(Thing)
    with pytest.raises(TypeError, match="by name"):
        libperf.cached(60)  # type: ignore[call-overload]
    with pytest.raises(InvalidError, match="ttl=-1"):
        libperf.cached(ttl=-1)(len)
    with pytest.raises(InvalidError, match="'nought'"):
        libperf.cached(copy="nought")(len)
    with pytest.raises(TypeError, match="sizes"):
        libperf.cached(sizes=3)(len)
    with pytest.raises(InvalidError, match="is one text"):
        libperf.cached(tags="tag")(len)


# ---- tasks ----


def test_async_hits_make_no_task() -> None:
    async def main() -> None:
        asquare.cache_clear()  # type: ignore[attr-defined]
        made = []
        loop = asyncio.get_running_loop()
        loop.set_task_factory(lambda loop, coroutine: made.append(1) or asyncio.Task(coroutine, loop=loop))  # type: ignore
        await asquare(3)
        coroutine = asquare(3)
        with pytest.raises(StopIteration) as stop:
            coroutine.send(None)  # done at once: it has not waited for anything
        assert stop.value.value == 9
        assert made == []

    asyncio.run(main())


def test_256_tasks_and_64_threads() -> None:
    """cachetools: a thousand threads are a thousand misses (#294); tasks it does not know (#92)."""

    async def main() -> None:
        asquare.cache_clear()  # type: ignore[attr-defined]
        assert await asyncio.gather(*(asquare(5) for _ in range(256))) == [25] * 256

    asyncio.run(main())
    assert calls == [5]
    begin = threading.Barrier(64)

    @libperf.cached
    def slow(key: str) -> str:
        calls.append(key)
        threading.Event().wait(0.05)
        return key

    def call(_: int) -> str:
        begin.wait(10)
        return slow("k")

    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        assert list(pool.map(call, range(64))) == ["k"] * 64
    assert calls == [5, "k"]
    assert slow.cache_info()[:2] in [(0, 64), (63, 1)] or slow.cache_info().misses <= 64  # type: ignore[attr-defined]


def test_one_function_in_many_loops() -> None:
    """What one loop computed another one gets; nothing belongs to a loop that is gone."""
    asquare.cache_clear()  # type: ignore[attr-defined]
    assert [asyncio.run(asquare(7)) for _ in range(3)] == [49] * 3  # type: ignore[arg-type]
    assert calls == [7]


def test_recursion() -> None:
    """cachebox deadlocks when a cached function calls itself (#54)."""

    @libperf.cached(max_size=None)
    def fibonacci(n: int) -> int:
        calls.append(n)
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    @libperf.cached
    def forever(n: int) -> int:
        return forever(n)

    assert fibonacci(60) == 1548008755920
    assert len(calls) == 61
    with pytest.raises(RecursionError):
        forever(1)


def test_tasks_are_not_kept_alive() -> None:
    """async-lru keeps them (#82)."""
    asyncio.run(asquare(11))  # type: ignore[arg-type]
    gc.collect()
    assert not [task for task in gc.get_objects() if isinstance(task, asyncio.Task)]


# ---- generators ----


def run_generator(generator: Iterator[int]) -> tuple[list[int], Any]:
    items = []
    while True:
        try:
            items.append(next(generator))
        except StopIteration as stop:
            return items, stop.value


def test_generators_are_replayed() -> None:
    """With what they returned; only those that came to their end."""
    count_to.cache_clear()  # type: ignore[attr-defined]
    generator = count_to(3)
    assert next(generator) == 0
    generator.close()  # type: ignore[attr-defined]
    assert [run_generator(count_to(3)) for _ in range(3)] == [([0, 1, 2], "end")] * 3
    assert calls == [3, 3]


def test_async_generators_are_replayed() -> None:
    async def main() -> None:
        acount_to.cache_clear()  # type: ignore[attr-defined]
        async for number in acount_to(3):
            if number == 1:
                break
        for _ in range(3):
            assert [number async for number in acount_to(3)] == [0, 1, 2]

    asyncio.run(main())
    assert calls == [3, 3]


def test_a_generator_that_is_told_something_is_not_kept() -> None:
    """Nor one that is thrown at, nor one that raises."""

    @libperf.cached
    def echo(start: int) -> Iterator[Any]:
        calls.append(start)
        try:
            got = yield start
        except ValueError:
            got = "caught"
        if got == "raise":
            raise OSError
        yield got

    for how in ("send", "throw", "raise"):
        generator: Any = echo(1)
        assert next(generator) == 1
        if how == "send":
            assert generator.send("hello") == "hello"
        elif how == "throw":
            assert generator.throw(ValueError()) == "caught"
        else:
            with pytest.raises(OSError):
                generator.send("raise")
        list(generator)
    assert list(echo(1)) == [1, None]
    assert calls == [1] * 4
    assert list(echo(1)) == [1, None]
    assert len(calls) == 4


# ---- options ----


def test_times(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Still()

    @libperf.cached(ttl=10, clock=clock, jitter=0, beta=0)
    def load(key: str) -> int:
        calls.append(key)
        return len(calls)

    assert [load("a"), load("a")] == [1, 1]
    clock.go(9.999)
    assert load("a") == 1
    clock.go(0.001)
    assert load("a") == 2


def test_a_ttl_of_nought_keeps_nothing() -> None:
    load = libperf.cached(ttl=0)(lambda key: calls.append(key))
    load("a")
    load("a")
    assert calls == ["a", "a"]
    assert len(load.cache) == 0


def test_none_is_a_value() -> None:
    nothing = libperf.cached(lambda key: calls.append(key))
    assert [nothing("a"), nothing("a")] == [None, None]
    assert calls == ["a"]


def test_what_a_caller_does_to_a_value() -> None:
    """The next one does not see it: of dicts, lists and sets everybody gets a copy, the first caller too."""
    load = libperf.cached(lambda key: {"key": key, "list": [1]})
    first = load("a")
    first["key"] = "spoilt"
    second = load("a")
    second.clear()
    assert load("a") == {"key": "a", "list": [1]}
    load("a")["list"].append(2)  # deeper inside it is the same object
    assert load("a")["list"] == [1, 2]
    deep = libperf.cached(copy="deep")(lambda key: {"list": [1]})
    deep("a")["list"].append(2)
    deep("a")["list"].append(2)
    assert deep("a") == {"list": [1]}
    same = libperf.cached(copy="none")(lambda key: [])
    assert same("a") is same("a")


def test_key_functions() -> None:
    load = libperf.cached(key=lambda request, verbose=False: request["id"])(
        lambda request, verbose=False: calls.append(request)
    )
    load({"id": 1, "at": 1})
    load({"id": 1, "at": 2}, verbose=True)
    assert len(calls) == 1
    assert load.cache_key({"id": 7}) == 7
    assert load.cache.get(load.cache_key({"id": 1}), "none") is None


def test_the_cache_of_a_function() -> None:
    """.cache knows the calls by .cache_key()."""
    square.cache_clear()  # type: ignore[attr-defined]
    cache, key = square.cache, square.cache_key(5)  # type: ignore[attr-defined]
    square(5)
    assert cache.get(key) == 25
    cache.set(key, "other")
    assert square(5) == "other"
    cache.delete(key)
    assert square(5) == 25
    assert square.cache_info().currsize == 1  # type: ignore[attr-defined]


def test_tags() -> None:
    load = libperf.cached(tags=lambda user, kind: [f"user {user}"])(lambda user, kind: calls.append((user, kind)))
    for user in (1, 2):
        load(user, "x")
    load.cache.invalidate(tag="user 1")
    for user in (1, 2):
        load(user, "x")
    assert calls == [(1, "x"), (2, "x"), (1, "x")]


def test_scopes() -> None:
    """By value, by the arguments, by a context variable; None of the latter two is an error, not everybody's value."""
    tenant: ContextVar[str | None] = ContextVar("tenant")
    of_context = libperf.cached(scope=tenant)(lambda key: tenant.get())
    tenant.set("a")
    assert [of_context("k"), of_context("k")] == ["a", "a"]
    tenant.set("b")
    assert of_context("k") == "b"
    tenant.set(None)
    with pytest.raises(InvalidError, match="whose"):
        of_context("k")
    of_arguments = libperf.cached(scope=lambda request: request[0], key=lambda request: request[1])(
        lambda request: request
    )
    assert [of_arguments(("a", 1)), of_arguments(("b", 1)), of_arguments(("a", 1))] == [("a", 1), ("b", 1), ("a", 1)]
    of_arguments.cache.invalidate(scope="a")
    assert len(of_arguments.cache) == 1


def test_redis_needs_a_scope() -> None:
    with pytest.raises(InvalidError, match='scope="public"'):
        libperf.cached(redis="redis://localhost")
    with pytest.raises(InvalidError, match="scope="):
        libperf.cached(redis=SmallTier(Still(), "redis"), ttl=3)


def test_several_functions_in_one_cache() -> None:
    """Each clears its own."""
    cache = libperf.TieredCache(100, None)
    one = libperf.cached(cache=cache, name="one")(lambda key: ("one", key))
    two = libperf.cached(cache=cache, name="two", ttl=60)(lambda key: ("two", key))
    assert [one("k"), two("k"), one("k")] == [("one", "k"), ("two", "k"), ("one", "k")]
    assert len(cache) == 2
    one.cache_clear()
    assert len(cache) == 1
    assert cache.get(two.cache_key("k")) == ("two", "k")
    with pytest.raises(InvalidError, match="disk"):
        libperf.cached(cache=cache, disk=True)


def test_in_another_process(run: Any, tmp_path: Path) -> None:
    """What is kept on disk is there for the next run; generators as well."""
    code = """\
import asyncio, sys, libperf
@libperf.cached(disk=sys.argv[1], ttl=60)
def load(key, flag=None):
    print("computed", key)
    return {"key": key, "list": [1, (2, None)]}
@libperf.cached(disk=sys.argv[1])
async def aload(key):
    print("computed", key)
    return key
@libperf.cached(disk=sys.argv[1])
def stream(n):
    print("computed", n)
    yield from range(n)
    return "end"
print(load("a"), load("a", flag=None), asyncio.run(aload(("b", 1.5))), list(stream(3)))
"""
    first, second = run(code, tmp_path / "cache"), run(code, tmp_path / "cache")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    lines = first.stdout.splitlines()
    assert lines[:3] == ["computed a", "computed ('b', 1.5)", "computed 3"]
    assert second.stdout.splitlines() == lines[3:]
