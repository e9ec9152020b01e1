"""LangGraph's Send to ten nodes with max_concurrency=3: the bottleneck is `map_doc`; `reduce_all` is next.

Hard: the limit is LangGraph's own semaphore, made inside the library.
"""

import asyncio
import operator
import random
from typing import Annotated, TypedDict

from _fix import run, scale
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

FIXES = ["map_doc", "split", "reduce_all"]
rnd = random.Random(112)


class State(TypedDict):
    done: Annotated[list, operator.add]


async def split(state):
    await asyncio.sleep(0.15 * scale("split"))
    return {"done": [1]}


async def map_doc(state):
    await asyncio.sleep((0.15 + 0.1 * rnd.random()) * scale("map_doc"))
    return {"done": [2]}


async def reduce_all(state):
    await asyncio.sleep(0.3 * scale("reduce_all"))
    return {"done": [3]}


def documents(state):
    return [Send("map_doc", {"done": [number]}) for number in range(10)]


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
    await app.ainvoke({"done": []}, {"max_concurrency": 3})


run(main)
