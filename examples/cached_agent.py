"""A LangGraph agent that asks a model the same thing once: the second run, in another process, is served from disk.

Offline, with known latencies; run it twice:

    libperf mock --latency 0.5 -- python examples/cached_agent.py "How do bees find flowers?"
    libperf mock --latency 0.5 -- python examples/cached_agent.py "How do bees find flowers?"
"""

import argparse
import asyncio
import operator
import time
from typing import Annotated, Any, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph

import libperf

SIDES = ["history", "numbers", "practice"]


class State(TypedDict, total=False):
    question: str
    findings: Annotated[list[str], operator.add]
    answer: str


def asker(folder: Any) -> Any:
    """What the nodes ask with: prompt, model and temperature are its arguments, so they are the key."""

    @libperf.cached(ttl=86_400, stale_if_error=7 * 86_400, disk=folder, name="cached_agent")
    async def ask(prompt: str, model: str = "gpt-4o", temperature: float = 0.0) -> str:
        answer = await ChatOpenAI(model=model, temperature=temperature).ainvoke(prompt)
        return str(answer.content)

    return ask


def build(ask: Any) -> Any:
    def researcher(side: str) -> Any:
        async def research(state: State) -> State:
            return {"findings": [await ask(f"Research the {side} of: {state['question']}")]}

        return research

    async def summarise(state: State) -> State:
        return {"answer": await ask(f"Summarise: {sorted(state['findings'])}")}

    graph = StateGraph(State)
    graph.add_node("summarise", summarise)
    for side in SIDES:
        graph.add_node(side, researcher(side))
        graph.add_edge(START, side)
    graph.add_edge(SIDES, "summarise")
    graph.add_edge("summarise", END)
    return graph.compile(name="cached agent")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("question", nargs="*", default=["How do bees find flowers?"])
    parser.add_argument("--clear", action="store_true", help="forget what earlier runs were answered")
    parser.add_argument("--folder", default=True, metavar="PATH", help="keep them there")
    options = parser.parse_args()
    ask = asker(options.folder)
    if options.clear:
        ask.cache_clear()
    start = time.perf_counter()
    print(asyncio.run(build(ask).ainvoke({"question": " ".join(options.question)}))["answer"])
    took, stats = time.perf_counter() - start, ask.cache.get_stats()
    print(
        f"{took:.2f} s: {stats['l1_hits']} answers from memory, {stats['l2_hits']} from disk, {stats['misses']} asked"
    )


if __name__ == "__main__":
    main()
