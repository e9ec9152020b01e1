"""Ids of objects: the same as long as one lives, never those of another, and no strain on it."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

import libperf
from libperf._scheduler import id_of, new_id


class Plain:
    pass


class Slots:
    __slots__ = ("__weakref__",)


class Stubborn:
    """Says no to attributes, and yes to being asked for them."""

    def __setattr__(self, name: str, value: object) -> None:
        raise TypeError(name)

    def __getattr__(self, name: str) -> str:
        return name


class Meta(type):
    pass


def function() -> None: ...


@pytest.mark.parametrize(
    "thing", [Plain(), Slots(), Stubborn(), Meta("Class", (), {}), function, Plain, 7, "text", (1, 2), None, print]
)
def test_any_object_has_one(thing: Any) -> None:
    with libperf.Profiler():
        assert id_of(thing) == id_of(thing) != id_of(Plain())
        assert id_of(thing) != new_id()


def test_an_object_without_room_is_kept_alive_until_the_end() -> None:
    """Otherwise the next one at its address would be taken for it."""
    with libperf.Profiler():
        kept, plain = Slots(), Plain()
        alive = weakref.ref(kept), weakref.ref(plain)
        ids = {id_of(kept), id_of(plain)}
        del kept, plain
        assert (alive[0]() is not None, alive[1]()) == (True, None)
        assert all(id_of(Slots()) not in ids for _ in range(100))
    assert alive[0]() is None


def test_futures_and_tasks_have_room() -> None:
    """Nothing is put into them as an attribute, and nothing outlives them."""

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(asyncio.sleep(0))
        alive = weakref.ref(future), weakref.ref(task)
        future.set_result(1)
        await asyncio.gather(future, task)
        assert not hasattr(future, "_libperf_id")
        assert not hasattr(task, "_libperf_id")
        del future, task
        await asyncio.sleep(0)
        assert (alive[0](), alive[1]()) == (None, None)

    with libperf.Profiler():
        gc.disable()
        try:
            asyncio.run(main())
        finally:
            gc.enable()
