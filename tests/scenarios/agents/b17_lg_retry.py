"""LangGraph's own RetryPolicy, its back-off outside every span: the bottleneck is `flaky_node`."""

import asyncio
import operator
from typing import Annotated, TypedDict

from _fix import run, scale
from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy

FIXES = ["flaky_node", "other_node", "last"]
attempts = 0


class State(TypedDict):
    done: Annotated[list, operator.add]


async def flaky_node(state):
    global attempts
    attempts += 1
    await asyncio.sleep(0.1 * scale("flaky_node"))
    if attempts < 3:
        raise ConnectionError("x")
    return {"done": [1]}


async def other_node(state):
    await asyncio.sleep(0.4 * scale("other_node"))
    return {"done": [2]}


async def last(state):
    await asyncio.sleep(0.3 * scale("last"))
    return {"done": [3]}


retry = RetryPolicy(initial_interval=0.2 * scale("flaky_node"), backoff_factor=2, jitter=False)
graph = StateGraph(State)
graph.add_node("flaky_node", flaky_node, retry_policy=retry)
graph.add_node("other_node", other_node)
graph.add_node("last", last)
graph.add_edge(START, "flaky_node")
graph.add_edge(START, "other_node")
graph.add_edge(["flaky_node", "other_node"], "last")
graph.add_edge("last", END)
app = graph.compile()


async def main():
    await app.ainvoke({"done": []})


run(main)
