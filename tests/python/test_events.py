"""Scheduler events as Python objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from libperf._core import lib
from libperf.events import ActorKind, Code, read_events
from libperf.reader import Reader

PROGRAM = """
import asyncio, libperf
gate = libperf.Semaphore(1, name="gate")

@libperf.trace
async def fetch():
    async with gate:
        await asyncio.sleep(0)

async def main():
    await asyncio.gather(*(fetch() for _ in range(500)))

asyncio.run(main())
"""


def test_every_code_and_actor_of_the_header_has_a_name() -> None:
    def declared(prefix: str) -> dict[str, int]:
        return {name.removeprefix(prefix): getattr(lib, name) for name in dir(lib) if name.startswith(prefix)}

    assert declared("PERF_EVENT_") == dict(Code.__members__)
    assert declared("PERF_ACTOR_") == dict(ActorKind.__members__)


def test_events_of_a_program_come_in_order_with_all_that_they_say(
    run: Callable[..., object], segments: Callable[[], list[Path]]
) -> None:
    run(PROGRAM, LIBPERF_PROFILE="1")
    with Reader(segments()[0]) as reader:
        events = list(read_events(reader))
        names = [name.text for name in reader.names]
        assert list(read_events(reader)) == []
    assert events[0].code == Code.THREAD and events[0].arg == ActorKind.MAIN
    assert [event.time for event in events] == sorted(event.time for event in events)
    begun = [event for event in events if event.code == Code.SPAN_BEGIN]
    assert len(begun) == len({event.key for event in begun}) == 500
    assert {names[event.arg] for event in begun} == {"fetch"}
    (gate,) = (event for event in events if event.code == Code.RESOURCE and names[event.arg] == "gate")
    assert (gate.more & 0xFF, gate.more >> 8) == (lib.PERF_RESOURCE_SEMAPHORE, 1)
    assert sum(event.code == Code.ACQUIRED and event.key == gate.key for event in events) == 500
    assert any(event.cpu for event in events)
