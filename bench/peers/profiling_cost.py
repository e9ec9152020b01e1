"""What the profiling mode costs: time added to a program of 300 tasks, for each event and as a share of its wall time.

The busy form never waits: its tasks take turns at a semaphore, a timer that is due at once, and a traced function, so
the time added is all there is. The other one sleeps 4 to 12 ms in each task, as an agent does; so much of the added time
hides behind its waits. Both run with the profiling mode off and on in turn, in one process.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
from time import perf_counter_ns

from measure import Row, positive, rounds, write

import libperf
from libperf._core import ffi, lib

TASKS, CAPACITY = 300, 20
BATCH = 4096


@libperf.trace
async def fetch(limit: asyncio.Semaphore, seconds: float) -> None:
    async with limit:
        await asyncio.sleep(seconds)


@libperf.trace
def extract() -> int:
    return sum(range(200))


async def one(limit: asyncio.Semaphore, seconds: float) -> None:
    await fetch(limit, seconds)
    extract()


async def agent(shortest: float) -> None:
    limit = libperf.Semaphore(CAPACITY, name="limit")
    await asyncio.gather(*(one(limit, shortest * (1 + number % 5 / 2)) for number in range(TASKS)))


def run(shortest: float, profiled: bool) -> int:
    """Nanoseconds of wall time, without starting and stopping."""
    profiler = libperf.Profiler()
    if profiled:
        profiler.start()
    gc.collect()
    loop = asyncio.new_event_loop()
    start = perf_counter_ns()
    loop.run_until_complete(agent(shortest))
    took = perf_counter_ns() - start
    loop.close()
    profiler.stop()
    return took


def count_events(shortest: float) -> int:
    reader, batch = libperf.Reader(), ffi.new("perf_event[]", BATCH)

    def unread() -> int:
        reader.refresh()
        return sum(iter(lambda: lib.perf_reader_events(reader._get(), batch, BATCH), 0))

    libperf.flush()
    run(shortest, True)  # the first one also names things
    unread()
    run(shortest, True)
    return unread()


def rows_of(form: str, shortest: float, count: int) -> list[Row]:
    events = count_events(shortest)
    found = rounds({f"{on}": functools.partial(run, shortest, on) for on in (False, True)}, count)
    pairs = list(zip(found["False"], found["True"], strict=True))
    each = [(on - off) / events for off, on in pairs]
    share = [100 * (on - off) / off for off, on in pairs]
    return [
        Row(f"profiling/{form}/event", f"{TASKS} {form} tasks, added for each event", "ns", each, {"events": events}),
        Row(f"profiling/{form}/share", f"{TASKS} {form} tasks, added to the wall time", "%", share),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python bench/peers/profiling_cost.py --rounds 31 --json profiling.jsonl",
    )
    parser.add_argument("--rounds", type=positive, default=21, metavar="N", help="at least 15 to be quoted (21)")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON per row; - is standard output")
    arguments = parser.parse_args()
    rows = rows_of("busy", 1e-9, arguments.rounds) + rows_of("sleeping", 0.004, arguments.rounds)
    write(rows, arguments.json)


if __name__ == "__main__":
    main()
