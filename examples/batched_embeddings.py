"""Many tasks that each want one embedding: first one call for each, then through libperf.BatchProcessor.

With a real model, all-MiniLM-L6-v2 on the processor, where its weights are installed (examples/minilm.py says how):

    python examples/batched_embeddings.py

else through the OpenAI client, here to a server with known latencies:

    libperf mock --latency 0.05 -- python examples/batched_embeddings.py
"""

import argparse
import asyncio
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import libperf

AT_A_TIME = 8  # calls of a service that go on at once, as its limits often are
WORDS = "bees flowers tides printers invoices trains glass rooms walls heat paper scent colour moon water ink"
Embed = Callable[[list[str]], Awaitable[Any]]


def service(calls: list[int]) -> Embed:
    from openai import AsyncOpenAI

    client = AsyncOpenAI()
    places = asyncio.Semaphore(AT_A_TIME)

    async def embed(texts: list[str]) -> list[list[float]]:
        calls.append(len(texts))
        async with places:
            answer = await client.embeddings.create(model="text-embedding-3-small", input=texts)
        return [each.embedding for each in answer.data]

    return embed


def has_model() -> bool:
    try:
        import minilm
    except ImportError:  # numpy
        return False
    return minilm.installed()


def local_model(calls: list[int]) -> Embed:
    from minilm import MiniLM

    model = MiniLM()
    one_at_a_time = asyncio.Semaphore(1)

    async def embed(texts: list[str]) -> Any:
        calls.append(len(texts))
        async with one_at_a_time:
            return await asyncio.to_thread(model.encode, texts)

    return embed


async def compare(texts: list[str], make: Callable[[list[int]], Embed]) -> None:
    calls: list[int] = []
    embed = make(calls)

    async def alone(text: str) -> Any:
        return (await embed([text]))[0]

    start = time.perf_counter()
    single = await asyncio.gather(*[alone(text) for text in texts])
    took = time.perf_counter() - start
    print(f"one by one: {len(calls)} calls, {took:.2f} s")

    calls.clear()
    processor: Any = libperf.BatchProcessor(embed, max_batch_size=64)
    start = time.perf_counter()
    together = await asyncio.gather(*[processor.submit(text) for text in texts])
    took_batched = time.perf_counter() - start
    print(f"batched:    {len(calls)} calls, {took_batched:.2f} s: {took / took_batched:.1f} times as fast")
    print(f"the same vectors: {same(single, together)}")
    await processor.aclose()


def same(ones: list[Any], others: list[Any]) -> bool:
    """To what a float can tell: all are of length one."""
    cosines = [sum(a * b for a, b in zip(one, other, strict=True)) for one, other in zip(ones, others, strict=True)]
    return min(cosines) > 0.9999


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=200, metavar="N", help="how many (200)")
    parser.add_argument("--service", action="store_true", help="the OpenAI client, though the model is installed")
    options = parser.parse_args()
    chance = random.Random(6)
    words = WORDS.split()
    texts = [" ".join(chance.choices(words, k=chance.randint(3, 20))) for _ in range(options.texts)]
    if has_model() and not options.service:
        asyncio.run(compare(texts, local_model))
    elif os.environ.get("OPENAI_BASE_URL"):
        asyncio.run(compare(texts, service))
    else:
        sys.exit("neither the model of examples/minilm.py nor OPENAI_BASE_URL: see --help")


if __name__ == "__main__":
    main()
