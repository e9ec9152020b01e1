"""A sync LangGraph whose parallel nodes are CPU work under one GIL: the bottleneck is `ner`."""

import operator
import time
from typing import Annotated, TypedDict

from _fix import burn, run, scale
from langgraph.graph import END, START, StateGraph

FIXES = ["ner", "embed", "fetch", "combine"]
NOISY = "two threads compete for the GIL"


class State(TypedDict):
    done: Annotated[list, operator.add]


def fetch(state):
    time.sleep(0.3 * scale("fetch"))
    return {"done": [1]}


def ner(state):
    burn(0.35 * scale("ner"))
    return {"done": [2]}


def embed(state):
    burn(0.25 * scale("embed"))
    return {"done": [3]}


def combine(state):
    time.sleep(0.2 * scale("combine"))
    return {"done": [4]}


graph = StateGraph(State)
graph.add_node("ner", ner)
graph.add_node("embed", embed)
graph.add_node("fetch", fetch)
graph.add_node("combine", combine)
for branch in ("ner", "embed", "fetch"):
    graph.add_edge(START, branch)
    graph.add_edge(branch, "combine")
graph.add_edge("combine", END)
app = graph.compile()


def main():
    app.invoke({"done": []})


run(main)
