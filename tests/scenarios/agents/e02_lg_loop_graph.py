"""A LangGraph loop of four rounds with threads inside a node: the bottleneck is `think`."""

import asyncio
import time
from typing import TypedDict

from _fix import burn, run, scale
from langgraph.graph import END, START, StateGraph

FIXES = ["think", "act", "reflect", "finish_up"]


class State(TypedDict):
    round: int


async def think(state):
    await asyncio.sleep(0.12 * scale("think"))
    return {"round": state["round"] + 1}


async def act(state):
    await asyncio.gather(*[asyncio.to_thread(time.sleep, 0.1 * scale("act")) for _ in range(3)])
    return {"round": state["round"]}


def reflect(state):
    burn(0.05 * scale("reflect"))
    return {"round": state["round"]}


async def finish_up(state):
    await asyncio.sleep(0.2 * scale("finish_up"))
    return {"round": state["round"]}


def where_next(state):
    return "think" if state["round"] < 4 else "finish_up"


graph = StateGraph(State)
graph.add_node("think", think)
graph.add_node("act", act)
graph.add_node("reflect", reflect)
graph.add_node("finish_up", finish_up)
graph.add_edge(START, "think")
graph.add_edge("think", "act")
graph.add_edge("act", "reflect")
graph.add_conditional_edges("reflect", where_next, ["think", "finish_up"])
graph.add_edge("finish_up", END)
app = graph.compile()


async def main():
    await app.ainvoke({"round": 0})


run(main)
