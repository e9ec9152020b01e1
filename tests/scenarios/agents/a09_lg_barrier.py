"""A sync LangGraph whose supersteps are barriers: the bottleneck is `slow_branch`, though its own branch ends first."""

import operator
import time
from typing import Annotated, TypedDict

from _fix import run, scale
from langgraph.graph import END, START, StateGraph

FIXES = ["slow_branch", "fast1", "fast2", "join"]


class State(TypedDict):
    done: Annotated[list, operator.add]


def fast1(state):
    time.sleep(0.1 * scale("fast1"))
    return {"done": [1]}


def slow_branch(state):
    time.sleep(0.6 * scale("slow_branch"))
    return {"done": [2]}


def fast2(state):
    time.sleep(0.5 * scale("fast2"))
    return {"done": [3]}


def join(state):
    time.sleep(0.3 * scale("join"))
    return {"done": [4]}


graph = StateGraph(State)
graph.add_node("fast1", fast1)
graph.add_node("slow_branch", slow_branch)
graph.add_node("fast2", fast2)
graph.add_node("join", join)
graph.add_edge(START, "fast1")
graph.add_edge(START, "slow_branch")
graph.add_edge("fast1", "fast2")
graph.add_edge(["fast2", "slow_branch"], "join")
graph.add_edge("join", END)
app = graph.compile()


def main():
    app.invoke({"done": []})


run(main)
