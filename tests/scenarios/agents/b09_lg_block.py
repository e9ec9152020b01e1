"""An async LangGraph node that blocks the loop while another node waits: the bottleneck is `ask_llm`."""

import asyncio
import operator
from typing import Annotated, TypedDict

from _fix import burn, run, scale
from langgraph.graph import END, START, StateGraph

FIXES = ["crunch", "ask_llm", "wrap_up"]


class State(TypedDict):
    done: Annotated[list, operator.add]


async def crunch(state):
    await asyncio.sleep(0.02)
    burn(0.4 * scale("crunch"))
    return {"done": [1]}


async def ask_llm(state):
    for _ in range(6):
        await asyncio.sleep(0.1 * scale("ask_llm"))
    return {"done": [2]}


async def wrap_up(state):
    await asyncio.sleep(0.25 * scale("wrap_up"))
    return {"done": [3]}


graph = StateGraph(State)
graph.add_node("crunch", crunch)
graph.add_node("ask_llm", ask_llm)
graph.add_node("wrap_up", wrap_up)
graph.add_edge(START, "crunch")
graph.add_edge(START, "ask_llm")
graph.add_edge("crunch", "wrap_up")
graph.add_edge("ask_llm", "wrap_up")
graph.add_edge("wrap_up", END)
app = graph.compile()


async def main():
    await app.ainvoke({"done": []})


run(main)
