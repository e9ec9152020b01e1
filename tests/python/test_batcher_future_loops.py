"""Callbacks in event loops: all of a batch come in one handle, and as if each had its own."""

import asyncio
from asyncio import events
from typing import Any

import pytest

from support_batch_queue import Bench, run, turns

ITEMS = 4


class Counting(asyncio.SelectorEventLoop):
    """Notes what it is asked to call soon."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        self.asked.append(callback)
        return super().call_soon(callback, *args, context=context)


def asked_for(seen: list[Any], debug: bool = False) -> int:
    """How often finishing a batch of ITEMS asks the loop to call something."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Counting)
        loop.set_debug(debug)
        bench = Bench(max_items=ITEMS)
        for future in [bench.submit(i) for i in range(ITEMS)]:
            future.add_done_callback(lambda f: seen.append(f.result()))
        loop.asked.clear()
        assert bench.pump() == 1
        count = len(loop.asked)
        await turns(2)
        return count

    with asyncio.Runner(loop_factory=Counting) as runner:
        return runner.run(main())


def test_a_batch_asks_its_loop_once() -> None:
    seen: list[int] = []
    assert asked_for(seen) == 1
    assert seen == [0, 2, 4, 6]


def test_a_loop_in_debug_mode_sees_each_callback() -> None:
    seen: list[int] = []
    assert asked_for(seen, debug=True) == ITEMS
    assert seen == [0, 2, 4, 6]


def test_whoever_watches_handles_sees_each_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watching(events.Handle):
        __slots__ = ()

    monkeypatch.setattr(events, "Handle", Watching)
    seen: list[int] = []
    assert asked_for(seen) == ITEMS
    assert seen == [0, 2, 4, 6]


def test_a_callback_that_raises_is_told_to_the_loop_and_stops_nobody() -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, said: told.append(said))
        bench = Bench(max_items=ITEMS)
        futures = [bench.submit(i) for i in range(ITEMS)]
        seen: list[Any] = []
        for future in futures:
            future.add_done_callback(lambda f: 1 / (f.result() - 2))
            future.add_done_callback(seen.append)
        bench.pump()
        await turns(1)
        assert seen == futures
        assert [type(said["exception"]) for said in told] == [ZeroDivisionError]
        assert told[0]["future"] is futures[1]

    run(main)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_loop_ends_it_and_the_rest_is_called_when_it_runs_again(kind: type[BaseException]) -> None:
    seen: list[int] = []

    def call(future: Any) -> None:
        seen.append(future.result())
        if future.result() == 2:
            raise kind

    async def main() -> None:
        bench = Bench(max_items=ITEMS)
        for i in range(ITEMS):
            bench.submit(i).add_done_callback(call)
        bench.pump()
        await turns(1)

    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(main())
        with pytest.raises(kind):
            loop.run_until_complete(task)
        assert seen == [0, 2]
        loop.run_until_complete(task)
        assert seen == [0, 2, 4, 6]
    finally:
        loop.close()


def test_a_result_is_let_go_of_when_its_own_callback_was_called() -> None:
    """Not when the last of its batch was."""

    class Result:
        alive = 0

        def __init__(self) -> None:
            Result.alive += 1

        def __del__(self) -> None:
            Result.alive -= 1

    async def main() -> None:
        bench = Bench(max_items=ITEMS)
        bench.function = lambda items: [Result() for _ in items]
        alive: list[int] = []
        for i in range(ITEMS):
            bench.submit(i).add_done_callback(lambda _: alive.append(Result.alive))
        bench.pump()
        await turns(1)
        assert alive == [4, 3, 2, 1]

    run(main)
