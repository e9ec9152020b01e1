"""LangGraph's Send to twelve nodes that share a semaphore of two: the bottleneck is the limit, `vendor_api`."""

import asyncio
import operator
import random
from typing import Annotated, TypedDict

from _fix import burn, capacity, run, scale
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

import libperf

FIXES = ["map_doc", "vendor_api", "vendor_call", "reduce_all", "split"]
rnd = random.Random(17)
vendor_api = None


class State(TypedDict):
    done: Annotated[list, operator.add]


@libperf.trace("vendor_call")
async def vendor(seconds):
    async with vendor_api:
        await asyncio.sleep(seconds * scale("vendor_call"))


async def split(state):
    await asyncio.sleep(0.15 * scale("split"))
    return {"done": [1]}


async def map_doc(state):
    await asyncio.sleep(0.1 * scale("map_doc"))
    await vendor(0.1 + 0.05 * rnd.random())
    burn(0.02 * scale("map_doc"))
    return {"done": [2]}


async def reduce_all(state):
    burn(0.15 * scale("reduce_all"))
    return {"done": [3]}


def documents(state):
    return [Send("map_doc", {"done": [number]}) for number in range(12)]


graph = StateGraph(State)
graph.add_node("split", split)
graph.add_node("map_doc", map_doc)
graph.add_node("reduce_all", reduce_all)
graph.add_edge(START, "split")
graph.add_conditional_edges("split", documents, ["map_doc"])
graph.add_edge("map_doc", "reduce_all")
graph.add_edge("reduce_all", END)
app = graph.compile()


async def main():
    global vendor_api
    vendor_api = libperf.Semaphore(capacity("vendor_api", 2), name="vendor_api")
    await app.ainvoke({"done": []})


run(main)
