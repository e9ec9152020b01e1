"""A program whose only node is cached on disk: it says "ran" when the node runs. Its argument is the cache's folder."""

from __future__ import annotations

import sys

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import CachePolicy

import libperf
from libperf.langgraph import NodeCache, cache_key


def work(state: MessagesState) -> dict[str, list[AIMessage]]:
    print("ran")
    return {"messages": [AIMessage("Hello", tool_calls=[{"name": "f", "args": {"a": {1, 2}}, "id": "c"}])]}


def main() -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("work", work, cache_policy=CachePolicy(key_func=cache_key))
    builder.add_edge(START, "work")
    with libperf.TieredCache(disk=sys.argv[1]) as tiers:
        state = builder.compile(cache=NodeCache(tiers)).invoke({"messages": [HumanMessage("Hi")]})
        assert state["messages"][-1].tool_calls[0]["args"] == {"a": {1, 2}}
    print("done")


if __name__ == "__main__":
    main()
