"""A service that answers questions for visitors, many at a time, for as long as it runs: something for `libperf top`.

    libperf mock --latency lognormal:0.4,0.5 --errors 429:0.02 -- python examples/agent_service.py

and in another terminal `libperf top`. The graph is that of examples/research_agent.py; what visitors ask again is
cached, and embeddings are made in batches.

    --visitors N   how many ask at one time (default: 6)
    --answers N    end after so many (default: never)
"""

import argparse
import asyncio
import itertools
import random
from typing import Any

from openai import AsyncOpenAI
from research_agent import Models, build

import libperf

TOPICS = ["bees", "flowers", "tides", "printers", "invoices", "trains", "glass", "rooms", "walls", "heat"]


@libperf.cached(ttl=20, name="sources")
async def sources(topic: str) -> str:
    """What a search would find; visitors have favourite topics."""
    await asyncio.sleep(random.uniform(0.02, 0.2))
    return f"three pages on {topic}"


def embedder(client: AsyncOpenAI) -> Any:
    @libperf.batched(max_batch_size=16)
    async def embed(texts: list[str]) -> list[list[float]]:
        answer = await client.embeddings.create(model="text-embedding-3-small", input=texts)
        return [each.embedding for each in answer.data]

    return embed


async def visitor(number: int, graph: Any, embed: Any, left: Any) -> None:
    dice = random.Random(number)
    for _ in left:
        topic = TOPICS[min(int(dice.expovariate(0.5)), len(TOPICS) - 1)]
        with libperf.span("visit", visitor=number, topic=topic):
            found = await sources(topic)
            await asyncio.gather(*[embed.submit(f"{found}, part {part}") for part in range(4)])
            try:
                await graph.ainvoke({"question": f"What about {topic}?"})
            except Exception as error:  # a visitor who gets no answer asks something else
                print(f"visitor {number}: {type(error).__name__}")


async def main() -> None:
    parser = argparse.ArgumentParser(description="Answers questions until it is stopped.")
    parser.add_argument("--visitors", type=int, default=6, metavar="N", help="how many ask at one time")
    parser.add_argument("--answers", type=int, metavar="N", help="end after so many")
    options = parser.parse_args()
    libperf.configure(service="agent-service")
    libperf.instrument()
    graph = build(Models(slots=8, small=["plan"]))
    embed = embedder(AsyncOpenAI())
    left = iter(range(options.answers)) if options.answers else itertools.count()
    await asyncio.gather(*[visitor(number, graph, embed, left) for number in range(options.visitors)])


if __name__ == "__main__":
    asyncio.run(main())
