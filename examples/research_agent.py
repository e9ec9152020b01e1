"""A research agent: plan -> four researchers side by side -> a tool -> a summary, on LangGraph and the OpenAI API.

Nothing in here knows libperf. Offline, with known latencies, and a report at the end:

    libperf mock --latency lognormal:0.12,0.3 -- libperf run examples/research_agent.py "How do bees find flowers?"

With a real key: OPENAI_API_KEY=… libperf run examples/research_agent.py "…"   (OPENAI_MODEL chooses the model)
"""

import asyncio
import operator
import os
import sys
from typing import Annotated, TypedDict

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph

MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o-mini")
SIDES = ["history", "numbers", "critics", "practice"]


class State(TypedDict, total=False):
    question: str
    plan: str
    findings: Annotated[list[str], operator.add]
    sources: str
    answer: str


llm = ChatOpenAI(model=MODEL)


@tool
def word_count(text: str) -> str:
    """Count the words of a text."""
    return f"{len(text.split())} words"


def plan(state: State) -> State:
    """A sync node."""
    answer = llm.invoke(f"Plan how to research: {state['question']}")
    return {"plan": str(answer.content)}


def researcher(side: str):  # type: ignore[no-untyped-def]
    """An async node for one side of the question. The critics read twice, so theirs is the slowest."""

    async def research(state: State) -> State:
        answer = await llm.ainvoke(f"Research the {side} of: {state['question']}")
        if side == "critics":
            answer = await llm.ainvoke(f"Contradict this: {answer.content}")
        return {"findings": [f"{side}: {answer.content}"]}

    return research


def measure(state: State) -> State:
    """A sync node that calls a tool."""
    return {"sources": word_count.invoke({"text": " ".join(state["findings"])})}


async def summarise(state: State) -> State:
    """An async node."""
    answer = await llm.ainvoke(f"Summarise {state['sources']}: {state['findings']}")
    return {"answer": str(answer.content)}


def build():  # type: ignore[no-untyped-def]
    graph = StateGraph(State)
    graph.add_node("plan", plan)
    graph.add_node("measure", measure)
    graph.add_node("summarise", summarise)
    graph.add_edge(START, "plan")
    for side in SIDES:
        graph.add_node(f"research_{side}", researcher(side))
        graph.add_edge("plan", f"research_{side}")
    graph.add_edge([f"research_{side}" for side in SIDES], "measure")
    graph.add_edge("measure", "summarise")
    graph.add_edge("summarise", END)
    return graph.compile(name="research agent")


async def main() -> None:
    question = " ".join(sys.argv[1:]) or "How do bees find flowers?"
    state = await build().ainvoke({"question": question})
    print(state["answer"])


if __name__ == "__main__":
    asyncio.run(main())
