"""What is seen of a processor in the segment: series, a span for each batch, and one for each item of a caller's span."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import libperf
from libperf.batcher.processor import BatchProcessor


@pytest.fixture
def spans(name: str) -> Iterator[Any]:
    """The finished spans whose names end so; of this test only."""
    with libperf.Reader() as reader:
        list(reader.records())

        def read(ending: str = "") -> list[Any]:
            reader.refresh()
            return [record for record in reader.records() if record.name.endswith(ending)]

        yield read


def batcher(name: str) -> Any:
    (found,) = [each for each in libperf.report().batchers if each.name == name]
    return found


async def double(items: list[int]) -> list[int]:
    await asyncio.sleep(0)
    return [2 * item for item in items]


def test_series_of_a_processor(name: str) -> None:
    """Items, batches, why they went and how long they took are counted as the processor itself does it."""
    processor = BatchProcessor(double, max_batch_size=8, name=name)

    async def main() -> None:
        for _ in range(2):
            await processor.map(range(20))

    asyncio.run(main())
    stats, found = processor.get_stats(), batcher(name)
    assert (found.items, found.batches) == (40, stats["batches"])
    assert found.went == {reason: number for reason, number in stats["dispatch_reasons"].items() if number}
    assert (found.wait.calls, found.service.calls) == (40, found.batches)
    assert found.wait.total == pytest.approx(40 * stats["avg_wait_time"])
    assert found.service.max == pytest.approx(stats["max_process_time"])
    assert found.service.total == pytest.approx(found.batches * stats["avg_process_time"])
    assert found.weight == 0


def test_weights_and_costs(name: str) -> None:
    """Where there is a weigher its sums are counted; what a batch costs is there as soon as it is known."""
    with BatchProcessor(lambda items: items, weigher=len, max_batch_size=3, name=name) as processor:
        for size in range(10):
            assert [*processor.map("ab" * size for _ in range(4)).result(60)] == ["ab" * size] * 4
    found, cost = batcher(name), processor.get_stats()["cost_model"]
    assert found.weight == sum(8 * size for size in range(10))
    assert (found.base, found.each) == (cost["base"], cost["each"])


def test_what_is_given_up_is_counted(name: str) -> None:
    """Rejected, expired, cancelled, closed and failed items, each under its word."""

    async def main() -> None:
        taken, gate = asyncio.Event(), asyncio.Event()

        async def wait(items: list[int]) -> list[object]:
            taken.set()
            await gate.wait()
            return [ValueError("no") if item == 1 else item for item in items]

        processor = BatchProcessor(wait, max_batch_size=2, max_queue=3, on_full="reject", name=name)
        running = [processor.submit(number) for number in range(2)]
        await taken.wait()
        late = processor.submit(2, timeout=0)
        cancelled, closed, more = (processor.submit(number) for number in (3, 4, 5))
        with pytest.raises(libperf.PerfError, match="full"):
            processor.submit(6)
        cancelled.cancel()
        gate.set()
        assert await running[0] == 0
        with pytest.raises(libperf.PerfError, match="no"):
            await running[1]
        del closed, more
        with pytest.raises(TimeoutError):
            await late
        await processor.aclose()

    asyncio.run(main())
    found = batcher(name)
    assert (found.rejected, found.cancelled, found.failed) == (1, 1, 1)
    assert found.dropped == {"expired": 1}


def test_a_batch_is_a_span(name: str, spans: Any) -> None:
    """With how many items it had, and why it went; what the function does is below it, and it is below nothing."""

    async def embed(items: list[int]) -> list[int]:
        with libperf.span("inner"):
            return items

    processor = BatchProcessor(embed, name=name)

    async def main() -> None:
        with libperf.span("outer"):
            await processor.map(range(5))

    asyncio.run(main())
    found = spans()
    (batch,) = [each for each in found if each.name == f"batcher {name}: batch"]
    (inner,) = [each for each in found if each.name == "inner"]
    assert (batch.attributes["items"], batch.attributes["reason"]) == (5, "idle")
    assert batch.attributes["wait_ns"] > 0
    assert (batch.parent, inner.parent) == (0, batch.id)


@pytest.mark.parametrize("is_async", [True, False])
def test_items_of_a_span_have_spans(name: str, spans: Any, is_async: bool) -> None:
    """Each below the span it was submitted in, from submission to result, with its wait and its batch."""
    processor = BatchProcessor(double if is_async else lambda items: [2 * item for item in items], name=name)

    async def caller(number: int) -> int:
        with libperf.span(f"caller {number}"):
            return await processor.submit(number)

    async def main() -> list[int]:
        return await asyncio.gather(*[caller(number) for number in range(4)], processor.submit(4))

    assert asyncio.run(main()) == [0, 2, 4, 6, 8]
    processor.close()
    for thread in threading.enumerate():
        if thread.name == f"libperf batches of {name}":
            thread.join(60)  # it writes spans after it has answered
    found = {each.id: each for each in spans()}
    items = [each for each in found.values() if each.name == f"batcher {name}: item"]
    batches = {f"{each.id:016x}": each for each in found.values() if each.name == f"batcher {name}: batch"}
    assert sorted(found[item.parent].name for item in items) == [f"caller {number}" for number in range(4)]
    for item in items:
        caller_span, batch = found[item.parent], batches[item.attributes["batch"]]
        assert caller_span.start <= item.start <= batch.start <= batch.end
        assert item.trace_id == caller_span.trace_id
        assert batch.start - item.start == pytest.approx(item.attributes["wait_ns"], abs=1_000_000)


def test_items_that_fail_say_so(name: str, spans: Any) -> None:
    """An item's span has its own status, and the class of what was raised."""

    async def embed(items: list[int]) -> list[object]:
        return [KeyError("no") if item else item for item in items]

    processor = BatchProcessor(embed, name=name)

    async def main() -> None:
        with libperf.span("caller"):
            await asyncio.gather(*[processor.submit(number) for number in range(3)], return_exceptions=True)

    asyncio.run(main())
    items = spans(f"batcher {name}: item")
    assert [each.status for each in items] == [0, 1, 1]
    assert items[1].attributes["error.type"] == "KeyError"


def test_a_failed_batch_is_an_error(name: str, spans: Any) -> None:
    """Tried again in halves, each item has one span, of when it was over; each batch has its own."""

    async def embed(items: list[int]) -> list[int]:
        if 2 in items:
            raise ConnectionError("no")
        return items

    processor = BatchProcessor(embed, isolate="bisect", name=name)

    async def main() -> None:
        with libperf.span("caller"):
            await asyncio.gather(*[processor.submit(number) for number in range(4)], return_exceptions=True)

    asyncio.run(main())
    found = spans()
    assert sorted(each.status for each in found if each.name.endswith("item")) == [0, 0, 0, 1]
    batches = [each for each in found if each.name.endswith("batch")]
    assert [each.status for each in batches].count(1) == 3  # of 4, of 2, of 1
    assert batches[0].attributes["error.type"] == "ConnectionError"
    assert batches[1].attributes["reason"] == "isolated"


def test_without_a_callers_span_there_are_none(name: str, spans: Any) -> None:
    processor = BatchProcessor(double, name=name)

    async def main() -> None:
        with libperf.span("before"):
            pass
        await processor.map(range(5))

    asyncio.run(main())
    assert [each.name for each in spans()] == ["before", f"batcher {name}: batch"]
