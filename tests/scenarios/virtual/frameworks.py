"""What the framework does to an agent: supersteps, and its own time between the nodes."""

from __future__ import annotations

import asyncio
from typing import Any, TypedDict

from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langgraph.graph import END, START, StateGraph

import libperf
from libperf.testing import work

from .fix import Fix, scenario


class State(TypedDict, total=False):
    question: str


@scenario("fast", "after_fast", top="slow", category="barrier")
async def superstep_barrier(k: Fix) -> None:
    """after_fast needs only fast, but LangGraph begins it when slow has ended, 1.1 s later (langgraph#6320)."""

    def node(name: str, seconds: float) -> Any:
        async def wait(state: State) -> State:
            await asyncio.sleep(seconds * k(name))
            return {}

        return wait

    libperf.instrument()
    graph = StateGraph(State)
    for name, seconds in (("fast", 0.1), ("after_fast", 1.0), ("slow", 1.2)):
        graph.add_node(name, node(name, seconds))
    graph.add_edge(START, "fast")
    graph.add_edge("fast", "after_fast")
    graph.add_edge("after_fast", END)
    graph.add_edge(START, "slow")
    graph.add_edge("slow", END)
    await graph.compile(name="agent").ainvoke({"question": "?"})


@scenario("plan", "act", top="agent", category="framework-gap")
async def framework_gap(k: Fix) -> None:
    """Four tenths of the time belong to no node, but to the graph between them."""
    with libperf.span("agent", kind="graph"):
        for _ in range(3):
            for name in ("plan", "act"):
                work(0.2 * k("agent"))
                with libperf.span(name, kind="node"):
                    await asyncio.sleep(0.3 * k(name))


@scenario("plan", top="assistant", category="repeated")
async def same_question(k: Fix) -> None:
    """Six steps of an agent put three questions to a model of LangChain's, which takes its time on a timer."""

    class Model(FakeListChatModel):
        async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0.5)
            return self._generate(*args, **kwargs)

    libperf.instrument()
    model = Model(responses=["yes"], name="assistant")
    asked: set[str] = set()
    for question in ("Rome?", "Oslo?", "Rome?", "Rome?", "Bonn?", "Oslo?"):
        with libperf.span("plan"):
            await asyncio.sleep(0.1 * k("plan"))
        if question not in asked or not k.caches("assistant"):
            await model.ainvoke([("system", "Be brief."), ("user", question)])
        asked.add(question)
