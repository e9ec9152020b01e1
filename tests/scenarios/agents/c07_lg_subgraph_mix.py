"""A LangGraph subgraph beside a node, then calls under a semaphore of two: the bottleneck is `llm`."""

import asyncio
import operator
from typing import Annotated, TypedDict

from _fix import burn, capacity, run, scale
from langgraph.graph import END, START, StateGraph

import libperf

FIXES = ["retrieve", "rerank", "llm", "guard", "llm_pool"]
llm_pool = None


class State(TypedDict):
    done: Annotated[list, operator.add]


async def retrieve(state):
    await asyncio.gather(*[asyncio.sleep(0.15 * scale("retrieve")) for _ in range(3)])
    return {"done": [1]}


def rerank(state):
    burn(0.12 * scale("rerank"))
    return {"done": [2]}


@libperf.trace("llm")
async def llm():
    async with llm_pool:
        await asyncio.sleep(0.11 * scale("llm"))


async def generate(state):
    await asyncio.gather(*[llm() for _ in range(6)])
    return {"done": [3]}


async def guard(state):
    await asyncio.sleep(0.25 * scale("guard"))
    return {"done": [4]}


rag = StateGraph(State)
rag.add_node("retrieve", retrieve)
rag.add_node("rerank", rerank)
rag.add_edge(START, "retrieve")
rag.add_edge("retrieve", "rerank")
rag.add_edge("rerank", END)

graph = StateGraph(State)
graph.add_node("rag", rag.compile())
graph.add_node("generate", generate)
graph.add_node("guard", guard)
graph.add_edge(START, "rag")
graph.add_edge(START, "guard")
graph.add_edge("rag", "generate")
graph.add_edge("guard", "generate")
graph.add_edge("generate", END)
app = graph.compile()


async def main():
    global llm_pool
    llm_pool = libperf.Semaphore(capacity("llm_pool", 2), name="llm_pool")
    await app.ainvoke({"done": []})


run(main)
