"""Small graphs and models of tests: real ones, against a local endpoint."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from libperf.testing import MockLLM


def model_of(llm: MockLLM, name: str = "gpt-4o", **more: Any) -> ChatOpenAI:
    return ChatOpenAI(model=name, base_url=llm.base_url, api_key="mock", stream_usage=True, max_retries=0, **more)


class State(TypedDict, total=False):
    done: Annotated[list[str], operator.add]


def node(name: str) -> Callable[[State], State]:
    def work(state: State) -> State:
        return {"done": [name]}

    return work


def chain(name: str, **nodes: Any) -> Any:
    """A compiled graph of nodes one after the other."""
    graph = StateGraph(State)
    for before, (here, action) in zip([START, *nodes], nodes.items(), strict=False):
        graph.add_node(here, action)
        graph.add_edge(before, here)
    return graph.compile(name=name)


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


def agent(llm: MockLLM) -> Any:
    """A model, a tool, the model again: sync and async."""
    model = model_of(llm).bind_tools([weather])

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    async def ask_async(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", RunnableLambda(ask, ask_async, name="ask"))
    graph.add_node("tools", ToolNode([weather]))
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", tools_condition)
    graph.add_edge("tools", "ask")
    return graph.compile(name="agent")


AGENT = """\
graph agent
  node ask
    llm ask
  node ask
    llm ask
  node tools
    tool weather"""
QUESTION = {"messages": [("user", "How is the weather in Oslo?")]}


async def through(stream: Any) -> None:
    async for _ in stream:
        pass
