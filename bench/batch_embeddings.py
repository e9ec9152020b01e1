"""Batching in front of a real model: all-MiniLM-L6-v2 in numpy, on one thread, asked for one sentence at a time.

    all at once   2,000 sentences, beside the model called with batches of 1, 2, 4 … 64, one after the other, in a thread
                  as libperf does it, and with the largest without a thread and a loop: sentences a second
    alone         one sentence now and then, beside the model called for it alone: what batching adds
    load          Poisson arrivals at .3 to .9 of what the model can do in a thread, beside windows of 5, 20 and 100 ms

libperf's settings are the same in all of them. Latency counts from when a request was to arrive, not from when the load
generator came to it; how late that was is in the rows. A window's batch is closed when it is full or so long after its
first item, and waits for the model: what batchers with a time do. A late one is closed when the model is free besides: the
best that a window can be, and under load the same as having none. Cases take turns; ratios are of one round.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import itertools
import random
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from measure import Row, positive, rounds, write
from minilm import MiniLM, installed

import libperf

SIZES = (1, 2, 4, 8, 16, 32, 64)
SIZE = SIZES[-1]
LOADS = (0.3, 0.5, 0.7, 0.9)
WINDOWS = {"5 ms": 0.005, "20 ms": 0.020, "100 ms": 0.100}
LATE = {"5 ms, late": 0.005, "20 ms, late": 0.020}
Encode = Callable[[list[str]], Any]
PROSE = """
bees find flowers by colour and scent while the moon draws water into long quiet tides a printer without ink asks for
paper tomorrow because every database keeps twelve copies of that invoice near Lisbon and nobody remembers why trains
leave early when engineers measure how much heat flows through thin walls of glass between two warm rooms
"""


def sentences(count: int) -> list[str]:
    """Of 3 to 120 words, 12 in the middle; the same ones every time."""
    chance, words = random.Random(6), PROSE.split()
    lengths = [min(120, max(3, round(chance.lognormvariate(2.5, 0.6)))) for _ in range(count)]
    return [" ".join(chance.choices(words, k=length)) for length in lengths]


class Window:
    """The reference: a batch goes when it is full, or when its oldest item has waited so long.

    late: and when the model is free, so that it holds what has come until then.
    """

    def __init__(self, function: Encode, size: int, seconds: float, late: bool) -> None:
        self.function, self.size, self.seconds, self.late = function, size, seconds, late
        self.waiting: deque[tuple[float, str, asyncio.Future[Any]]] = deque()
        self.thread = ThreadPoolExecutor(1)
        self.tasks: set[asyncio.Task[None]] = set()
        self.timer: asyncio.TimerHandle | None = None
        self.batches = 0

    def submit(self, item: str) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self.waiting.append((loop.time(), item, future))
        self.look(loop)
        return future

    def look(self, loop: asyncio.AbstractEventLoop) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if not self.waiting or (self.late and self.tasks):
            return
        due = self.waiting[0][0] + self.seconds
        if len(self.waiting) < self.size and loop.time() < due:
            self.timer = loop.call_at(due, self.look, loop)
            return
        batch = [self.waiting.popleft() for _ in range(min(len(self.waiting), self.size))]
        self.batches += 1
        self.tasks.add(loop.create_task(self.run(loop, batch)))

    async def run(self, loop: asyncio.AbstractEventLoop, batch: list[tuple[float, str, asyncio.Future[Any]]]) -> None:
        results = await loop.run_in_executor(self.thread, self.function, [item for _, item, _ in batch])
        self.tasks.remove(asyncio.current_task())  # type: ignore[arg-type]
        self.look(loop)
        for (_, _, future), result in zip(batch, results, strict=True):
            future.set_result(result)

    def close(self) -> None:
        self.thread.shutdown()


class Ours:
    """libperf, with the settings that nobody changes between the loads."""

    def __init__(self, function: Encode) -> None:
        self.batches = 0
        self.function = function
        self.processor: Any = libperf.BatchProcessor(self.counted, max_batch_size=SIZE)
        self.submit: Callable[[str], Any] = self.processor.submit

    def counted(self, items: list[str]) -> Any:
        self.batches += 1
        return self.function(items)

    def close(self) -> None:
        self.processor.close()


# ---- all at once ----


def in_a_loop(model: MiniLM, texts: list[str], size: int) -> float:
    start = time.perf_counter()
    for at in range(0, len(texts), size):
        model.encode(texts[at : at + size])
    return len(texts) / (time.perf_counter() - start)


def in_a_thread(model: MiniLM, texts: list[str], size: int) -> float:
    """As a program does it whose loop goes on meanwhile."""

    async def main() -> float:
        start = time.perf_counter()
        for at in range(0, len(texts), size):
            await asyncio.to_thread(model.encode, texts[at : at + size])
        return len(texts) / (time.perf_counter() - start)

    return asyncio.run(main())


def at_once(model: MiniLM, texts: list[str]) -> float:
    ours = Ours(model.encode)

    async def main() -> float:
        start = time.perf_counter()
        vectors = await asyncio.gather(*[ours.submit(text) for text in texts])
        assert len(vectors) == len(texts)
        return len(texts) / (time.perf_counter() - start)

    try:
        return asyncio.run(main())
    finally:
        ours.close()


def closed_rows(model: MiniLM, texts: list[str], count: int) -> list[Row]:
    sweep: dict[str, Callable[[], float]] = {
        f"batches of {size}": functools.partial(in_a_thread, model, texts, size) for size in SIZES
    }
    cases = {
        **sweep,
        f"batches of {SIZE}, no thread": functools.partial(in_a_loop, model, texts, SIZE),
        "libperf": functools.partial(at_once, model, texts),
    }
    found = rounds(cases, count)
    best = max(sweep, key=lambda name: statistics.median(found[name]))
    shares = [ours / other for ours, other in zip(found["libperf"], found[best], strict=True)]
    rows = [Row(f"embed/closed/{name}", f"{len(texts)} at once: {name}", "/s", each) for name, each in found.items()]
    rows[-1].more = {"share_of_best": round(statistics.median(shares), 3), "best": best}
    return rows


# ---- alone ----


def alone_row(model: MiniLM, texts: list[str]) -> Row:
    """The same sentence for both in turn; nothing else is going on."""
    ours = Ours(model.encode)

    async def one(submit: bool, text: str) -> float:
        await asyncio.sleep(0.005)
        start = time.perf_counter()
        if submit:
            await ours.submit(text)
        else:
            model.encode([text])
        return 1000 * (time.perf_counter() - start)

    async def main() -> tuple[list[float], list[float]]:
        batched, bare = [], []
        for number, text in enumerate(texts):
            for submit in (True, False) if number % 2 else (False, True):
                (batched if submit else bare).append(await one(submit, text))
        return batched, bare

    batched, bare = asyncio.run(main())
    ours.close()
    p50, bare_p50 = statistics.median(batched), statistics.median(bare)
    more = {"ratio": round(p50 / bare_p50, 3), "bare_ms": round(bare_p50, 3)}
    return Row("embed/alone", "alone: libperf, p50", "ms", batched, more)


# ---- load ----


def arrivals(rate: float, count: int, seed: int) -> list[float]:
    chance = random.Random(seed)
    return list(itertools.accumulate(chance.expovariate(rate) for _ in range(count)))


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def under_load(form: Callable[[], Any], texts: list[str], times: list[float]) -> dict[str, float]:
    """Milliseconds from the scheduled arrival, over all requests."""
    batcher = form()
    waits: list[float] = []
    lags: list[float] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        start = loop.time() + 0.05
        futures = []

        def done(due: float, future: Any) -> None:
            future.result()
            waits.append(1000 * (loop.time() - due))

        for text, at in zip(texts, times, strict=True):
            due = start + at
            if (pause := due - loop.time()) > 0:
                await asyncio.sleep(pause)
            lags.append(1000 * (loop.time() - due))
            future = batcher.submit(text)
            future.add_done_callback(functools.partial(done, due))
            futures.append(future)
        await asyncio.gather(*futures)
        await asyncio.sleep(0)  # the last callbacks

    asyncio.run(main())
    batcher.close()
    assert len(waits) == len(texts)
    return {
        "mean": statistics.fmean(waits),
        "p95": percentile(waits, 0.95),
        "lag": percentile(lags, 0.99),
        "batch": len(texts) / batcher.batches,
    }


def load_cases(
    model: MiniLM, texts: list[str], capacity: float
) -> Iterator[tuple[str, Callable[[], dict[str, float]]]]:
    forms: dict[str, Callable[[], Any]] = {"libperf": lambda: Ours(model.encode)}
    for name, seconds in {**WINDOWS, **LATE}.items():
        forms[name] = functools.partial(Window, model.encode, SIZE, seconds, name in LATE)
    for load in LOADS:
        times = arrivals(load * capacity, len(texts), seed=int(100 * load))  # the same for all
        for name, form in forms.items():
            yield f"{load}/{name}", functools.partial(under_load, form, texts, times)


def load_rows(model: MiniLM, texts: list[str], count: int, capacity: float) -> list[Row]:
    found = rounds(dict(load_cases(model, texts, capacity)), count)
    rows = []
    for case, figures in found.items():
        load, _, name = case.partition("/")
        more: dict[str, Any] = {
            "load": float(load),
            "form": name,
            "p95": round(statistics.median(one["p95"] for one in figures), 2),
            "lag_p99": round(statistics.median(one["lag"] for one in figures), 2),
            "batch": round(statistics.median(one["batch"] for one in figures), 1),
        }
        rows.append(Row(f"embed/load/{case}", f"load {load}: {name}", "ms", [one["mean"] for one in figures], more))
    for words, windows in (("window", WINDOWS), ("late window", LATE)):
        for what in ("mean", "p95"):
            ratios = [worst_ratio(found, what, windows, number) for number in range(count)]
            name = f"embed/worst/{words}/{what}".replace(" ", "_")
            more = {"ratio": round(statistics.median(ratios), 3)}
            rows.append(Row(name, f"{what} against the best {words}, worst load", "x", ratios, more))
    return rows


def worst_ratio(found: dict[str, list[dict[str, float]]], what: str, windows: Iterable[str], number: int) -> float:
    """In one round: libperf's figure against the best window's, at the load where that is largest."""
    return max(
        found[f"{load}/libperf"][number][what] / min(found[f"{load}/{name}"][number][what] for name in windows)
        for load in LOADS
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="(5)")
    parser.add_argument("--items", type=positive, default=2000, metavar="N", help="at once (2000)")
    parser.add_argument("--requests", type=positive, default=600, metavar="N", help="of each load (600)")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON per row; - is standard output")
    arguments = parser.parse_args()
    if not installed():
        print("batch_embeddings.py: needs the model: see examples/minilm.py", file=sys.stderr)
        return 1
    model = MiniLM()
    texts = sentences(max(arguments.items, arguments.requests))
    capacity = in_a_thread(model, texts[: 8 * SIZE], SIZE)
    rows = closed_rows(model, texts[: arguments.items], arguments.rounds)
    rows.append(alone_row(model, texts[: arguments.requests // 2]))
    rows += load_rows(model, texts[: arguments.requests], arguments.rounds, capacity)
    write(rows, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
