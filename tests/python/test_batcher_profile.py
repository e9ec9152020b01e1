"""A batcher in profiling mode: what waits for it is a resource, and what more places would bring is what they bring."""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import pytest

import libperf
from libperf.batcher.processor import BatchProcessor
from libperf.events import Code, read_events
from libperf.testing import run_virtual, virtual_time
from support_analysis import analysed

NAME = "model of many"


def agents(slots: int, *, most: int = 4, gather: bool = False) -> Any:
    """Twelve agents think, and ask a model that takes 90 ms and 10 more for each item of a batch."""

    async def main() -> float:
        now = asyncio.get_running_loop().time

        async def embed(texts: list[int]) -> list[int]:
            await asyncio.sleep(0.09 + 0.01 * len(texts))
            return texts

        processor = BatchProcessor(
            embed, max_batch_size=most, concurrency=slots, name=NAME, clock=lambda: round(now() * 1e9)
        )

        async def agent(number: int) -> None:
            for step in range(4):
                await asyncio.sleep(0.011 + 0.0037 * number + 0.0013 * step)
                if gather:
                    await asyncio.gather(*[processor.submit(number) for _ in range(2)])
                else:
                    await processor.submit(number)

        start = now()
        await asyncio.gather(*[agent(number) for number in range(12)])
        return now() - start

    return main


@functools.cache
def seconds(slots: int, most: int = 4) -> float:
    return run_virtual(agents(slots, most=most))


@pytest.mark.parametrize(("most", "slots"), [(4, 2), (4, 3), (2, 2), (2, 4)])
def test_more_places(most: int, slots: int) -> None:
    """Other batches form then: the gain is that of running it again, within two per cent."""
    analysis = analysed(agents(1, most=most))
    promised = analysis.what_if({NAME: {"capacity": slots}})
    assert analysis.self_replay_error <= 0.001
    assert promised == pytest.approx(1 - seconds(slots, most) / seconds(1, most), abs=0.02)
    assert promised > 0.1


def test_a_batcher_is_a_resource() -> None:
    """Its batches are its uses; what items waited is what its own numbers say."""
    (found,) = analysed(agents(1)).resources
    assert (found.kind, found.name, found.capacity) == ("batcher", NAME, 1)
    assert found.where.rpartition("/")[2].startswith("test_batcher_profile.py:")
    assert found.held == pytest.approx(0.09 * found.uses + 0.01 * 48)
    row = next(each for each in analysed(agents(1)).bottlenecks if each.name == NAME)
    assert (row.kind, row.category, row.fix) == ("batcher", "saturated", {"action": "capacity", "from": 1, "to": 2})
    assert "raise batcher 'model of many' from 1 to 2" in row.advice


def test_items_that_no_task_awaits_itself() -> None:
    """Of gather() it is not known who waits for which item: nothing is promised, and nothing breaks."""
    analysis = analysed(agents(1, gather=True))
    assert analysis.self_replay_error <= 0.001
    assert analysis.what_if({NAME: {"capacity": 2}}) == 0


def test_events() -> None:
    """An item for each that was submitted, a begin and an end for each batch; before and after nothing is written."""
    processor = BatchProcessor(lambda items: items, name="of threads")
    assert processor.submit(0).result(60) == 0
    with libperf.Profiler() as profiler:
        futures = [processor.submit(number) for number in range(3)]
        assert [future.result(60) for future in futures] == [0, 1, 2]
        late = BatchProcessor(lambda items: items, name="made meanwhile")
        assert late.submit(0).result(60) == 0
        processor.close()
        late.close()
        with libperf.Reader() as reader:
            of = [event for event in read_events(reader) if event.code >= Code.BATCH_ITEM]
    assert profiler is not None
    items = [event for event in of if event.code == Code.BATCH_ITEM]
    begun = [event for event in of if event.code == Code.BATCH_BEGIN]
    assert len(items) >= 4
    assert len({event.more for event in items[-4:]}) == 2
    assert sum(event.arg for event in begun[-2:]) <= 4
    again = BatchProcessor(lambda items: items, name="after")
    with libperf.Reader() as reader:
        before = sum(event.code >= Code.BATCH_ITEM for event in read_events(reader))
    assert again.submit(0).result(60) == 0
    again.close()
    with libperf.Reader() as reader:
        assert sum(event.code >= Code.BATCH_ITEM for event in read_events(reader)) == before


def test_threads_replay_as_they_were() -> None:
    """A function of threads: its batches are seen, with other places it is not replayed."""
    processor = BatchProcessor(lambda items: items, name="of workers")
    with virtual_time(), libperf.Profiler() as profiler, processor:
        assert processor.submit(1).result(60) == 1
    analysis = profiler.analyze()
    assert analysis.what_if({"of workers": {"capacity": 2}}) == pytest.approx(0, abs=0.01)
