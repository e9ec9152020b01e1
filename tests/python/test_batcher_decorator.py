"""`@libperf.batched`: functions, methods, and what is left of what they were."""

from __future__ import annotations

import asyncio
import copy
import gc
import inspect
import pickle
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import libperf
from libperf.batcher import Batched
from support_batcher import LIMIT, limit


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    with limit():
        yield


@libperf.batched
def upper(items: list[str]) -> list[str]:
    """Loud."""
    return [item.upper() for item in items]


@libperf.batched(max_batch_size=3, name="loud")
async def aupper(items: list[str]) -> list[str]:
    return [item.upper() for item in items]


class Model:
    made = 0

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix

    @libperf.batched(max_batch_size=4)
    def embed(self, items: list[str]) -> list[str]:
        return [item + self.suffix for item in items]

    @libperf.batched
    async def aembed(self, items: list[str]) -> list[str]:
        return [item + self.suffix for item in items]

    @libperf.batched
    @staticmethod
    def alone(items: list[str]) -> list[str]:
        return [item + "!" for item in items]

    @libperf.batched
    @classmethod
    def named(cls, items: list[str]) -> list[str]:
        return [item + cls.__name__ for item in items]


class Larger(Model):
    pass


def test_a_function_stays_what_it_was_and_can_do_more() -> None:
    """Called with a list it is the function; its name and text are its own."""
    assert upper(["a", "b"]) == ["A", "B"]
    assert upper.submit("a").result(LIMIT) == "A"
    assert upper.map(["a", "b"]).result(LIMIT) == ["A", "B"]
    assert upper.__doc__ == "Loud." and upper.__name__ == "upper"  # type: ignore[attr-defined]
    assert upper.__wrapped__(["a"]) == ["A"] and isinstance(upper, Batched)
    assert str(inspect.signature(upper)) == "(items: 'list[str]') -> 'list[str]'"
    assert upper.get_stats()["submitted"] == 3
    with pytest.raises(AttributeError, match="no attribute 'sumbit'"):
        upper.sumbit  # type: ignore[attr-defined] # noqa: B018


def test_a_coroutine_function_in_two_runs() -> None:
    """With settings, a name, and everything that its processor has."""

    async def main() -> None:
        assert await aupper(["x"]) == ["X"]
        assert await aupper.submit("a") == "A"
        assert await aupper.map(["a"] * 10) == await aupper.amap(["a"] * 10) == ["A"] * 10

    asyncio.run(main())
    asyncio.run(main())
    assert aupper.processor.name == "loud" and aupper.get_stats()["max_batch_size"] == 3


def test_each_instance_has_a_processor_of_its_own() -> None:
    """Items of one never get into a batch of another; one temporary object is enough."""
    a, b = Model("-a"), Model("-b")
    assert a.embed.submit("x").result(LIMIT) == "x-a"
    assert b.embed.submit("x").result(LIMIT) == "x-b"
    assert a.embed(["y"]) == ["y-a"]
    assert a.embed is a.embed and a.embed.processor is not b.embed.processor
    assert a.embed.processor is not a.aembed.processor
    assert Model("-c").embed.submit("x").result(LIMIT) == "x-c"

    async def main() -> str:
        return await a.aembed.submit("z")

    assert asyncio.run(main()) == "z-a"
    assert Model.embed(a, ["w"]) == ["w-a"]


def test_static_and_class_methods() -> None:
    """A class method's processor is the class's, also of one that inherits it."""
    assert Model.alone.submit("a").result(LIMIT) == Model("").alone.submit("a").result(LIMIT) == "a!"
    assert Model.named.submit("a").result(LIMIT) == Model("").named.submit("a").result(LIMIT) == "aModel"
    assert Larger.named.submit("a").result(LIMIT) == "aLarger"
    assert Model.named.processor is Model("").named.processor is not Larger.named.processor


def test_an_instance_goes_with_its_processor() -> None:
    """Nothing of ours keeps it."""
    model = Model("-a")
    assert model.embed.submit("x").result(LIMIT) == "x-a"
    assert model.embed.close()
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_an_instance_has_another_processor(way: Any) -> None:
    """Which calls the copy."""
    model = Model("-a")
    assert model.embed.submit("x").result(LIMIT) == "x-a"
    other = way(model)
    other.suffix = "-b"
    assert other.embed.submit("x").result(LIMIT) == "x-b"
    assert model.embed.submit("x").result(LIMIT) == "x-a"


def test_the_function_itself_is_pickled_by_its_name() -> None:
    """As functions are."""
    assert pickle.loads(pickle.dumps(upper)) is upper


def test_an_instance_without_a_dict_says_so() -> None:
    """There is no place for its processor."""

    class Slim:
        __slots__ = ()

        @libperf.batched
        def embed(self, items: list[str]) -> list[str]:
            return items

    with pytest.raises(TypeError, match="have no __dict__"):
        Slim().embed.submit("x")


def test_below_classmethod_it_says_where_it_goes() -> None:
    """Until Python 3.12 where it is asked for, since 3.13 where the processor would be made: never as an item's failure."""

    class Wrong:
        @classmethod
        @libperf.batched
        def named(cls, items: list[str]) -> list[str]:
            return items

    for of in (Wrong, Wrong()):
        with pytest.raises(TypeError, match="above @classmethod"):
            of.named.submit("x")
        with pytest.raises(TypeError, match="above @classmethod"):
            of.named.map(["x"])


def test_a_function_that_does_not_take_a_list_alone_is_refused() -> None:
    """A method without its object, or one argument too many: said when the processor is made."""
    with pytest.raises(TypeError, match="submit to a method by its object"):
        Model.embed.submit("x")
    with pytest.raises(TypeError, match="cannot be called with a list of items alone"):
        libperf.BatchProcessor(lambda one, other: [one, other])  # type: ignore[arg-type,misc]
    with pytest.raises(TypeError, match="cannot be called with a list of items alone"):
        libperf.BatchProcessor(lambda: [])  # type: ignore[arg-type,misc]
    for function in (list, max, sorted, lambda items, more=1: items, lambda *items: items[0]):
        assert not libperf.BatchProcessor(function).closed


def test_what_cannot_be_decorated() -> None:
    """Classes, texts, and generators."""
    with pytest.raises(TypeError, match="decorate its methods"):
        libperf.batched(Model)
    with pytest.raises(TypeError, match="everything but the function is given by name"):
        libperf.batched("name")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="returns its results in a list"):

        @libperf.batched()
        def generator(items: list[str]) -> Iterator[str]:
            yield from items

    with pytest.raises(TypeError, match="batch_size"):
        libperf.batched(batch_size=3)  # type: ignore[call-overload]
