"""BatchProcessor: what a user is promised, in event loops and in threads."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import math
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import libperf
from libperf.batcher import BatchMap
from support_batcher import LIMIT, AsyncGate, Gate, accounts, both_kinds, limit, outcomes


@pytest.fixture(autouse=True)
def _limit() -> Iterator[None]:
    with limit():
        yield


async def double(items: list[int]) -> list[int]:
    return [2 * item for item in items]


def double_in_thread(items: list[int]) -> list[int]:
    return [2 * item for item in items]


# ---- the examples of the documentation ----


def test_the_example_of_a_processor() -> None:
    """Every argument by its name, submit() with priority and timeout, result() from a thread, statistics."""

    async def fn(items: list[str]) -> list[str]:
        return [item.upper() for item in items]

    async def main() -> None:
        processor: libperf.BatchProcessor[str, str] = libperf.BatchProcessor(
            process_func=fn,
            min_batch_size=1,
            max_batch_size=10,
            max_wait_time=0.1,
            max_batch_weight=None,
            weigher=len,
            concurrency=1,
            max_queue=10_000,
            on_full="block",
            isolate="fail_all",
            mode="deadline",
            target_latency=None,
        )
        await processor.start()
        assert await processor.submit(data="item1", priority=libperf.Priority.HIGH, timeout=30.0) == "ITEM1"
        assert await asyncio.to_thread(lambda: processor.submit("a").result(LIMIT)) == "A"
        stats = processor.get_stats()
        assert stats["avg_batch_size"] == 1.0
        assert 0 <= stats["avg_wait_time"] < 1 and 0 <= stats["avg_process_time"] < 1
        assert stats["avg_process_time"] <= stats["max_process_time"]
        assert stats["dispatch_reasons"]["idle"] == 2 and sum(stats["drops"].values()) == 0
        assert stats["wait_time"]["p50"] <= stats["wait_time"]["p99"] and not stats["cost_model"]["known"]
        assert await processor.aclose()

    asyncio.run(main())


def test_the_example_of_the_decorator() -> None:
    """@batched with settings, submit() and map() with a priority."""

    @libperf.batched(max_batch_size=10, max_wait_time=0.1)
    async def process_items(items: list[str]) -> list[str]:
        return [item.upper() for item in items]

    async def main() -> None:
        assert await process_items.submit("hello") == "HELLO"
        assert await process_items.map(["a", "b"], priority=libperf.Priority.LOW) == ["A", "B"]

    asyncio.run(main())


# ---- batches ----


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_from_threads_and_loops_alike(kind: str) -> None:
    """One object: a thread without a loop, one event loop, and another one after it."""
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(both_kinds(double_in_thread)[kind])
    assert processor.submit(1).result(LIMIT) == 2

    async def main() -> list[int]:
        return await asyncio.gather(*(processor.submit(i) for i in range(25)))

    for _ in range(2):
        assert asyncio.run(main()) == [2 * i for i in range(25)]
    assert processor.submit(3).result(LIMIT) == 6
    assert processor.close()
    accounts(processor)


def test_what_comes_while_the_function_is_busy_goes_together() -> None:
    """A lone item goes at once; those that come meanwhile form the next batches, as large as allowed."""

    async def main() -> None:
        gate = AsyncGate()
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate, max_batch_size=4)
        first = processor.submit(0)
        await gate.entered.wait()
        rest = [processor.submit(i) for i in range(1, 7)]
        gate.open.set()
        assert await asyncio.gather(first, *rest) == list(range(7))
        assert gate.batches == [[0], [1, 2, 3, 4], [5, 6]]

    asyncio.run(main())


def test_who_was_answered_and_submits_again_is_in_the_next_batch() -> None:
    """After a batch the next one waits for those who were just answered: half-empty batches do not stay so."""
    sizes: list[int] = []

    async def fn(items: list[int]) -> list[int]:
        sizes.append(len(items))
        await asyncio.sleep(0)
        return items

    async def main() -> None:
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn, max_batch_size=8)

        async def client(i: int) -> None:
            for _ in range(20):
                await processor.submit(i)

        await asyncio.gather(*(client(i) for i in range(10)))

    asyncio.run(main())
    assert sum(sizes) / len(sizes) > 7, sizes


def test_concurrency_in_threads_is_kept_and_used() -> None:
    """Three batches at a time where three are allowed, never a fourth."""
    gate = Gate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate, max_batch_size=1, concurrency=3)
    futures = [processor.submit(i) for i in range(5)]
    for _ in range(3):
        assert gate.entered.acquire(timeout=LIMIT)
    assert processor.get_stats()["running"] == 3 and len(gate.batches) == 3
    gate.open.set()
    assert outcomes(futures) == list(range(5))
    assert processor.close()


def test_the_more_urgent_goes_first() -> None:
    """Among those that wait the priority decides, then who came first."""
    gate = Gate()
    processor: libperf.BatchProcessor[str, str] = libperf.BatchProcessor(gate, max_batch_size=1)
    futures = [processor.submit("first")]
    assert gate.entered.acquire(timeout=LIMIT)
    for name, priority in (("low", 3), ("normal", 2), ("critical", 0), ("normal too", libperf.Priority.NORMAL)):
        futures.append(processor.submit(name, priority))
    gate.open.set()
    outcomes(futures)
    assert gate.batches == [["first"], ["critical"], ["normal"], ["normal too"], ["low"]]


def test_a_minimum_is_waited_for_and_no_longer_than_max_wait_time() -> None:
    """In threads, by the clock: with nobody else coming the batch goes by itself."""
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
        double_in_thread, min_batch_size=3, max_wait_time=0.05
    )
    assert outcomes([processor.submit(1), processor.submit(2)]) == [2, 4]
    assert outcomes([processor.submit(i) for i in range(3)]) == [0, 2, 4]
    reasons = processor.get_stats()["dispatch_reasons"]
    assert reasons["wait"] == 1 and sum(reasons.values()) == 2, reasons


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_equal_items_are_given_once(kind: str) -> None:
    """deduplicate: by the item, or by what a function makes of it."""
    gate = Gate()
    processor: libperf.BatchProcessor[str, str] = libperf.BatchProcessor(
        both_kinds(gate)[kind], deduplicate=str.lower, max_batch_size=3
    )
    futures = [processor.submit("first")]
    assert gate.entered.acquire(timeout=LIMIT)
    futures += [processor.submit(name) for name in ("a", "A", "b", "a", "c")]
    gate.open.set()
    assert outcomes(futures) == ["first", "a", "a", "b", "a", "c"]
    assert gate.batches == [["first"], ["a", "b", "c"]]
    assert processor.close()


def test_weight_bounds_a_batch() -> None:
    """max_batch_weight with len() as the weigher, and an item above it alone, or refused."""
    gate = Gate()
    processor: libperf.BatchProcessor[str, str] = libperf.BatchProcessor(gate, max_batch_weight=4)
    futures = [processor.submit("x")]
    assert gate.entered.acquire(timeout=LIMIT)
    futures += [processor.submit(name) for name in ("aa", "bb", "c", "dddddd", "e")]
    gate.open.set()
    outcomes(futures)
    assert gate.batches == [["x"], ["aa", "bb"], ["c"], ["dddddd"], ["e"]] or [max(map(len, b)) for b in gate.batches]
    assert all(sum(map(len, batch)) <= 4 or len(batch) == 1 for batch in gate.batches), gate.batches
    strict: libperf.BatchProcessor[str, str] = libperf.BatchProcessor(gate, max_batch_weight=4, oversize="reject")
    with pytest.raises(ValueError, match="weighs 5"):
        strict.submit("fffff")


def test_results_may_be_an_exception_each_or_a_mapping() -> None:
    """An exception instance is that item's failure and nobody else's; a mapping is by index."""
    mixed: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
        lambda items: [KeyError(i) if i % 2 else i for i in items], min_batch_size=4
    )
    found = outcomes([mixed.submit(i) for i in range(4)])
    assert found[0::2] == [0, 2]
    for error in found[1::2]:
        assert isinstance(error, libperf.BatchError) and isinstance(error.__cause__, KeyError)
    mapping: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
        lambda items: {i: -x for i, x in enumerate(items)}
    )
    assert mapping.submit(7).result(LIMIT) == -7


def test_the_function_sees_no_variables_of_those_who_submit() -> None:
    """Nor those that the batch before has left behind, in threads and in loops."""
    variable = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    def fn(items: list[int]) -> list[int]:
        seen.append(variable.get())
        variable.set("left behind")
        return items

    for function in both_kinds(fn).values():
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(function)

        async def main(processor: Any = processor) -> None:
            variable.set("a caller's")
            await processor.submit(1)
            await processor.submit(2)

        asyncio.run(main())
    assert seen == ["none"] * 4


# ---- settings ----


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_batch_size": 0}, "max_batch_size=0: expected a whole number from 1 to 65,536"),
        ({"min_batch_size": 11}, "min_batch_size=11 is more than max_batch_size=10"),
        ({"max_wait_time": -1}, r"max_wait_time=-1: expected seconds from 0 on; give seconds, 0\.1"),
        ({"max_wait_time": math.nan}, "max_wait_time=nan"),
        ({"timeout": -0.5}, r"timeout=-0\.5: .* or None for no limit"),
        ({"process_timeout": 0}, "process_timeout=0: expected seconds above 0"),
        ({"target_latency": 0}, "target_latency=0"),
        ({"concurrency": 0}, 'concurrency=0: .* or "auto"'),
        ({"concurrency": "many"}, "concurrency='many'"),
        ({"on_full": "wait"}, "on_full='wait': expected one of 'block', 'reject', 'shed_oldest'"),
        ({"isolate": "all"}, "isolate='all': expected one of 'fail_all', 'bisect', 'singles'"),
        ({"mode": 1}, "mode=1: expected one of 'deadline', 'strict'"),
        ({"oversize": ""}, "oversize=''"),
        ({"max_queue": 0}, "max_queue=0"),
        ({"max_batch_weight": 0}, "max_batch_weight=0: .*or None for no bound"),
        ({"name": ""}, "name=''"),
    ],
)
def test_a_wrong_setting_is_named_with_its_range(settings: dict[str, Any], words: str) -> None:
    """When the processor is made, or the function decorated; not with the first item."""
    with pytest.raises(ValueError, match=words):
        libperf.BatchProcessor(double, **settings)
    with pytest.raises(ValueError, match=words):
        libperf.batched(**settings)


@pytest.mark.parametrize(
    "settings",
    [{"max_batch_size": 1.5}, {"max_batch_size": True}, {"weigher": 3}, {"deduplicate": "yes"}, {"timeout": "1"}],
)
def test_a_setting_of_a_wrong_type_is_a_type_error(settings: dict[str, Any]) -> None:
    """True is no number, and "1" no time."""
    with pytest.raises(TypeError, match=f"{next(iter(settings))}="):
        libperf.BatchProcessor(double, **settings)


def test_what_is_no_function_of_batches_is_refused() -> None:
    """Generators, and what cannot be called."""

    def generator(items: list[int]) -> Iterator[int]:
        yield from items

    with pytest.raises(TypeError, match="returns its results in a list"):
        libperf.BatchProcessor(generator)
    with pytest.raises(TypeError, match="process_func=3"):
        libperf.BatchProcessor(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments", [{"timeout": -1}, {"timeout": math.nan}, {"queue_timeout": -0.1}, {"priority": 9}]
)
def test_a_wrong_submit_raises_and_queues_nothing(arguments: dict[str, Any]) -> None:
    """Negative and NaN times, unknown priorities."""
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(double)
    with pytest.raises(ValueError, match=next(iter(arguments))):
        processor.submit(1, **arguments)
    assert processor.get_stats()["submitted"] == 0


# ---- map ----


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_map_answers_in_order(kind: str) -> None:
    """Awaited or asked for, as often as one likes; an empty one is empty."""
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
        both_kinds(double_in_thread)[kind], concurrency=3
    )
    found = processor.map(range(1000))
    assert found.result(LIMIT) == found.result() == [2 * i for i in range(1000)]
    assert processor.map([]).result() == []

    async def main() -> None:
        again = processor.map(iter(range(50)), priority=libperf.Priority.HIGH)
        assert await again == await again == [2 * i for i in range(50)]
        assert await asyncio.wait_for(processor.map([1]), LIMIT) == [2]
        assert await asyncio.gather(processor.map([1, 2]), processor.map([3])) == [[2, 4], [6]]

    asyncio.run(main())


def test_map_raises_the_first_failure_and_cancels_the_rest() -> None:
    """In order of the items; with return_exceptions it is a result like others."""

    def fn(items: list[int]) -> list[Any]:
        return [ValueError(item) if item % 3 == 2 else item for item in items]

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn, max_batch_size=2)
    with pytest.raises(libperf.BatchError) as caught:
        processor.map(range(200)).result(LIMIT)
    assert isinstance(caught.value.__cause__, ValueError) and caught.value.__cause__.args == (2,)
    found = processor.map(range(6), return_exceptions=True).result(LIMIT)
    assert [item if isinstance(item, int) else type(item.__cause__) for item in found] == [
        0,
        1,
        ValueError,
        3,
        4,
        ValueError,
    ]

    async def main() -> None:
        in_loop: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
            both_kinds(fn)["async def"], max_batch_size=2
        )
        with pytest.raises(libperf.BatchError):
            await in_loop.map(range(200))
        assert await in_loop.aclose()
        accounts(in_loop)
        assert in_loop.get_stats()["cancelled"] > 150

    asyncio.run(main())


def test_map_reads_a_generator_as_room_is_there() -> None:
    """Never further ahead of the results than max_queue; also without end."""
    read = 0

    def endless() -> Iterator[int]:
        nonlocal read
        while True:
            read += 1
            yield read

    gate = Gate()
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate, max_queue=20)
    found = processor.map(endless())
    assert read <= 21
    with pytest.raises(TimeoutError):
        found.result(0)
    found.cancel()
    gate.open.set()
    assert processor.close()


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_map_that_was_ended_never_answers_with_a_part(kind: str) -> None:
    """Cancelled, given up in the middle, or by an iterable that raises: asked again, it says so again."""
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(both_kinds(list)[kind])

    def endless(stop: int | None = None) -> Iterator[int]:
        for i in itertools.count():
            if i == stop:
                raise KeyError(i)
            yield i

    found = processor.map(endless())
    found.cancel()
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError):
            found.result(LIMIT)
    broken = processor.map(endless(2000))
    for _ in range(2):
        with pytest.raises(KeyError):
            broken.result(LIMIT)
    done = processor.map(range(3))
    assert done.result(LIMIT) == [0, 1, 2]
    done.cancel()
    assert done.result() == [0, 1, 2]

    async def main() -> None:
        found = processor.map(endless())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(found, 0.01)
        with pytest.raises(asyncio.CancelledError):
            await found
        broken = processor.map(endless(2000))
        for _ in range(2):
            with pytest.raises(KeyError):
                await broken

    asyncio.run(main())
    assert processor.close()
    accounts(processor)


def test_map_in_a_full_queue_that_rejects() -> None:
    """Its own items are no reason to fail: it goes on when there is room."""
    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
        double_in_thread, max_queue=5, max_batch_size=2, on_full="reject"
    )
    assert processor.map(range(100)).result(LIMIT) == [2 * i for i in range(100)]

    async def main() -> list[int]:
        return await processor.map(range(100))

    assert asyncio.run(main()) == [2 * i for i in range(100)]


def test_a_map_whose_task_is_cancelled_cancels_its_items() -> None:
    """And nobody else's."""

    async def main() -> None:
        gate = AsyncGate()
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate, max_batch_size=5)
        task = asyncio.ensure_future(processor.map(range(20)))
        other = processor.submit(99)
        await gate.entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open.set()
        assert await other == 99
        assert gate.batches == [[0, 1, 2, 3, 4], [99]]
        await processor.aclose()
        accounts(processor)

    asyncio.run(main())


def test_amap_takes_an_asynchronous_iterable() -> None:
    """And any other."""

    async def stream() -> AsyncIterator[int]:
        for i in range(100):
            await asyncio.sleep(0)
            yield i

    async def main() -> None:
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(double)
        assert await processor.amap(stream()) == await processor.amap(range(100)) == [2 * i for i in range(100)]

    asyncio.run(main())


def test_a_map_is_waited_for_by_one_at_a_time() -> None:
    """Two would share what is left between them."""

    async def main() -> None:
        gate = AsyncGate()
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(gate)
        found: BatchMap[int] = processor.map([1, 2])
        task = asyncio.ensure_future(found)
        await gate.entered.wait()
        with pytest.raises(RuntimeError, match="is being waited for already"):
            await found
        gate.open.set()
        assert await task == [1, 2]

    asyncio.run(main())


# ---- others ----


def test_the_loop_of_start_runs_the_function() -> None:
    """Items of another loop and of threads, too."""
    ran_in: set[int] = set()

    async def fn(items: list[int]) -> list[int]:
        ran_in.add(threading.get_ident())
        return items

    async def main() -> None:
        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn)
        await processor.start()

        async def elsewhere() -> int:
            return await processor.submit(1)

        assert await asyncio.to_thread(asyncio.run, elsewhere()) == 1
        assert await asyncio.to_thread(lambda: processor.submit(2).result(LIMIT)) == 2
        assert await processor.submit(3) == 3

    asyncio.run(main())
    assert ran_in == {threading.get_ident()}


def test_nodes_of_a_graph_share_the_batches() -> None:
    """A real LangGraph: nodes that await submit(), and nodes in threads that ask for the result, of many runs at once."""
    from langgraph.graph import END, START, StateGraph

    batches: list[int] = []

    async def shout(items: list[str]) -> list[str]:
        batches.append(len(items))
        return [item.upper() for item in items]

    processor: libperf.BatchProcessor[str, str] = libperf.BatchProcessor(shout, max_batch_size=16)

    async def awaits(state: dict[str, str]) -> dict[str, str]:
        return {"text": await processor.submit(state["text"])}

    def asks(state: dict[str, str]) -> dict[str, str]:
        return {"text": processor.submit(state["text"] + "!").result(LIMIT)}

    builder: Any = StateGraph(dict)
    builder.add_node("awaits", awaits)
    builder.add_node("asks", asks)
    builder.add_edge(START, "awaits")
    builder.add_edge("awaits", "asks")
    builder.add_edge("asks", END)
    graph = builder.compile()

    async def main() -> list[dict[str, str]]:
        async with processor:
            return await asyncio.gather(*(graph.ainvoke({"text": f"a{i}"}) for i in range(32)))

    assert [state["text"] for state in asyncio.run(main())] == [f"A{i}!" for i in range(32)]
    assert max(batches) > 4 and sum(batches) == 64
    accounts(processor)


def test_tenants_share() -> None:
    """Of two with much to do, whoever was served less comes next, however much the other has submitted before."""
    gate = Gate()
    processor: libperf.BatchProcessor[str, str] = libperf.BatchProcessor(gate, max_batch_size=1)
    processor.share("b", 1.0)
    futures = [processor.submit("first")]
    assert gate.entered.acquire(timeout=LIMIT)
    futures += [processor.submit("a", tenant="a") for _ in range(10)]
    futures += [processor.submit("b", tenant="b") for _ in range(3)]
    gate.open.set()
    outcomes(futures)
    served = [batch[0] for batch in gate.batches[1:]]
    assert served[:6].count("b") == 3, served


def test_a_processor_is_not_copied() -> None:
    """Its queue belongs to this process; the error says so."""
    import copy
    import pickle

    processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(double)
    for way in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            way(processor)
    assert repr(processor) == "<BatchProcessor double>"
