"""A research agent: plan -> four researchers side by side -> a tool -> a summary, on LangGraph and the OpenAI API.

Nothing in here knows libperf. Offline, with known latencies, and a report at the end:

    libperf mock --latency lognormal:0.12,0.3 -- libperf run examples/research_agent.py "How do bees find flowers?"

With a real key: OPENAI_API_KEY=… libperf run examples/research_agent.py "…"   (OPENAI_MODEL chooses the model)

    --slots N      calls at a time (default: 4)
    --small NODE   a node that does with a smaller, faster model (OPENAI_SMALL_MODEL); may be given again
    --early        make the models' clients when the program starts, not when the work begins
"""

import argparse
import asyncio
import operator
import os
from typing import Annotated, Any, TypedDict

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph

MODEL = os.environ.get("OPENAI_MODEL", "gpt-4o")
SMALL_MODEL = os.environ.get("OPENAI_SMALL_MODEL", "gpt-4o-mini")
SIDES = ["history", "numbers", "critics", "practice"]


class State(TypedDict, total=False):
    question: str
    plan: str
    findings: Annotated[list[str], operator.add]
    sources: str
    answer: str


class Models:
    """Who answers which node, and how many calls may be under way at once."""

    def __init__(self, slots: int, small: list[str]) -> None:
        self.usual, self.small = ChatOpenAI(model=MODEL), ChatOpenAI(model=SMALL_MODEL)
        self.small_nodes = small
        self.slots = asyncio.Semaphore(slots)

    def of(self, node: str) -> ChatOpenAI:
        return self.small if node in self.small_nodes else self.usual

    async def ask(self, node: str, prompt: str) -> str:
        async with self.slots:
            answer = await self.of(node).ainvoke(prompt)
        return str(answer.content)


@tool
def word_count(text: str) -> str:
    """Count the words of a text."""
    return f"{len(text.split())} words"


def planner(models: Models) -> Any:
    """A sync node."""

    def plan(state: State) -> State:
        answer = models.of("plan").invoke(f"Plan how to research: {state['question']}")
        return {"plan": str(answer.content)}

    return plan


def researcher(models: Models, side: str) -> Any:
    """An async node for one side of the question. The critics read twice, so theirs is the slowest."""
    node = f"research_{side}"

    async def research(state: State) -> State:
        found = await models.ask(node, f"Research the {side} of: {state['question']}")
        if side == "critics":
            found = await models.ask(node, f"Contradict this: {found}")
        return {"findings": [f"{side}: {found}"]}

    return research


def measure(state: State) -> State:
    """A sync node that calls a tool."""
    return {"sources": word_count.invoke({"text": " ".join(state["findings"])})}


def summariser(models: Models) -> Any:
    """An async node."""

    async def summarise(state: State) -> State:
        return {"answer": await models.ask("summarise", f"Summarise {state['sources']}: {state['findings']}")}

    return summarise


def build(models: Models) -> Any:
    graph = StateGraph(State)
    graph.add_node("plan", planner(models))
    graph.add_node("measure", measure)
    graph.add_node("summarise", summariser(models))
    graph.add_edge(START, "plan")
    for side in SIDES:
        graph.add_node(f"research_{side}", researcher(models, side))
        graph.add_edge("plan", f"research_{side}")
    graph.add_edge([f"research_{side}" for side in SIDES], "measure")
    graph.add_edge("measure", "summarise")
    graph.add_edge("summarise", END)
    return graph.compile(name="research agent")


async def answer(question: str, options: argparse.Namespace, models: Models | None) -> None:
    graph = build(models or Models(options.slots, options.small))
    state = await graph.ainvoke({"question": question})
    print(state["answer"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Researches a question.")
    parser.add_argument("question", nargs="*", default=["How do bees find flowers?"])
    parser.add_argument("--slots", type=int, default=4, metavar="N", help="calls at a time")
    parser.add_argument("--small", action="append", default=[], metavar="NODE", help="a node for the smaller model")
    parser.add_argument("--early", action="store_true", help="make the models' clients before the work begins")
    options = parser.parse_args()
    models = Models(options.slots, options.small) if options.early else None
    asyncio.run(answer(" ".join(options.question), options, models))


if __name__ == "__main__":
    main()
