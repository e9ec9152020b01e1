"""A LangGraph that generates, checks and repairs in a loop until it passes: the bottleneck is `generate`.

Hard: the loop looks like a retry with back-off, but nothing fails: `repair` and `check` are steps of their own.
"""

import asyncio
from typing import TypedDict

from _fix import burn, run, scale
from langgraph.graph import END, START, StateGraph

FIXES = ["generate", "check", "repair", "publish"]


class State(TypedDict):
    draft: int


async def generate(state):
    await asyncio.sleep(0.2 * scale("generate"))
    return {"draft": state["draft"] + 1}


def check(state):
    burn(0.04 * scale("check"))
    return {"draft": state["draft"]}


async def repair(state):
    await asyncio.sleep(0.15 * scale("repair"))
    return {"draft": state["draft"]}


async def publish(state):
    await asyncio.sleep(0.25 * scale("publish"))
    return {"draft": state["draft"]}


def passes(state):
    return "publish" if state["draft"] == 3 else "repair"


graph = StateGraph(State)
graph.add_node("generate", generate)
graph.add_node("check", check)
graph.add_node("repair", repair)
graph.add_node("publish", publish)
graph.add_edge(START, "generate")
graph.add_edge("generate", "check")
graph.add_conditional_edges("check", passes, ["publish", "repair"])
graph.add_edge("repair", "generate")
graph.add_edge("publish", END)
app = graph.compile()


async def main():
    await app.ainvoke({"draft": 0})


run(main)
