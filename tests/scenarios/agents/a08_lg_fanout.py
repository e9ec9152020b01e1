"""An async LangGraph with two nodes side by side: the bottleneck is `research`; `critic` hides behind it."""

import asyncio
import operator
from typing import Annotated, TypedDict

from _fix import run, scale
from langgraph.graph import END, START, StateGraph

FIXES = ["research", "critic", "planner", "writer"]


class State(TypedDict):
    done: Annotated[list, operator.add]


async def planner(state):
    await asyncio.sleep(0.2 * scale("planner"))
    return {"done": [1]}


async def research(state):
    await asyncio.sleep(0.6 * scale("research"))
    return {"done": [2]}


async def critic(state):
    await asyncio.sleep(0.4 * scale("critic"))
    return {"done": [3]}


async def writer(state):
    await asyncio.sleep(0.35 * scale("writer"))
    return {"done": [4]}


graph = StateGraph(State)
graph.add_node("planner", planner)
graph.add_node("research", research)
graph.add_node("critic", critic)
graph.add_node("writer", writer)
graph.add_edge(START, "planner")
graph.add_edge("planner", "research")
graph.add_edge("planner", "critic")
graph.add_edge("research", "writer")
graph.add_edge("critic", "writer")
graph.add_edge("writer", END)
app = graph.compile()


async def main():
    await app.ainvoke({"done": []})


run(main)
