"""LangGraph and the current span: traced functions inside nodes, and the context of whoever runs a graph."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pydantic
import pytest
from langgraph.graph import START, StateGraph

import libperf
import libperf.langchain
from libperf.testing import MockLLM
from support_graphs import AGENT, QUESTION, State, agent, chain, model_of, node, weather
from support_spans import Spans

# ---- functions inside ----


@libperf.trace
def helper(model: Any, text: str) -> str:
    return deeper(model, text)


@libperf.trace
def deeper(model: Any, text: str) -> str:
    return str(model.invoke(text).content)


@libperf.trace
async def helper_async(model: Any, text: str) -> str:
    answers = await asyncio.gather(model.ainvoke(text), model.ainvoke(text + "!"))
    return str(answers[0].content)


@libperf.trace
def pieces(model: Any, text: str) -> Iterator[str]:
    for chunk in model.stream(text):
        yield str(chunk.content)


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_traced_functions_inside_nodes(spans: Spans, llm: MockLLM, way: str) -> None:
    """A traced function has its node as parent, and what it calls has the function: functions, models, tools."""
    model = model_of(llm)

    def work(state: State) -> State:
        helper(model, "one")
        weather.invoke({"city": "Oslo"})
        with libperf.span("by hand"):
            model.invoke("two")
        return {"done": list(pieces(model, "three"))}

    compiled = chain("g", work=work, after=node("after"))
    compiled.invoke({}) if way == "invoke" else asyncio.run(compiled.ainvoke({}))
    assert (
        spans.tree()
        == """\
graph g
  node after
  node work
    span by hand
      llm work
    span helper
      span deeper
        llm work
    span pieces
      llm work
    tool weather"""
    )


def test_traced_async_functions_inside_parallel_nodes(spans: Spans, llm: MockLLM) -> None:
    """Traced coroutines in nodes side by side never see each other's spans."""
    model = model_of(llm)
    graph = StateGraph(State)
    for name in ("a", "b", "c"):

        async def work(state: State, name: str = name) -> State:
            await helper_async(model, name)
            return {"done": [await helper_async(model, name * 2)]}

        graph.add_node(name, work)
        graph.add_edge(START, name)
    asyncio.run(graph.compile(name="g").ainvoke({}))
    one = "    span helper_async\n      llm {0}\n      llm {0}\n"
    assert spans.tree() == "graph g\n" + "".join(f"  node {n}\n{one}{one}".format(n) for n in "abc").rstrip()


def test_a_graph_inside_a_traced_function(spans: Spans, llm: MockLLM) -> None:
    """A graph that a traced function runs inside a node hangs below the function."""
    inner = chain("inner graph", inner=node("inner"))

    @libperf.trace("outer function")
    def outer() -> None:
        inner.invoke({})

    def work(state: State) -> State:
        outer()
        return {}

    outer()
    chain("top", work=work).invoke({})
    assert spans.tree() == (
        "graph top\n  node work\n    span outer function\n      node inner\n"
        "span outer function\n  graph inner graph\n    node inner"
    )


def test_streams_of_a_model_inside_a_node(spans: Spans, llm: MockLLM) -> None:
    """A node that streams its model's answer has one model call, with its tokens, below the node."""
    model = model_of(llm)

    def talk(state: State) -> State:
        return {"done": [str(chunk.content) for chunk in model.stream("sync")]}

    async def talk_async(state: State) -> State:
        return {"done": [str(chunk.content) async for chunk in model.astream("async")]}

    chain("g", talk=talk).invoke({})
    asyncio.run(chain("h", talk=talk_async).ainvoke({}))
    assert spans.tree() == "graph g\n  node talk\n    llm talk\ngraph h\n  node talk\n    llm talk"
    assert spans.tokens() == (llm.summary().prompt_tokens, llm.summary().completion_tokens)


class Forecast(pydantic.BaseModel):
    """A forecast."""

    city: str
    degrees: int


def test_structured_output(spans: Spans, llm: MockLLM) -> None:
    """with_structured_output() inside a node is one model call; its parsers are no spans."""
    model = model_of(llm).with_structured_output(Forecast)
    chain("g", ask=lambda state: {"done": [model.invoke("Forecast for Oslo").city]}).invoke({})
    assert spans.tree() == "graph g\n  node ask\n    llm ask"
    assert spans.tokens() == (llm.summary().prompt_tokens, llm.summary().completion_tokens)


# ---- the caller's context ----


@pytest.mark.parametrize("mode", ["values", "updates", "messages", "custom"])
def test_the_caller_keeps_its_span(spans: Spans, llm: MockLLM, mode: str) -> None:
    """What is current for the caller stays current: after invoke, between the items of a stream, and after it."""
    graph = agent(llm)
    with libperf.span("caller") as caller:
        graph.invoke(QUESTION)
        assert libperf.current_span().id == caller.id
        for _ in graph.stream(QUESTION, stream_mode=mode):
            assert libperf.current_span().id == caller.id
        assert libperf.current_span().id == caller.id
    below = "\n".join(f"  {line}" for line in AGENT.splitlines())
    assert spans.tree() == f"span caller\n{below}\n{below}"


@pytest.mark.parametrize("mode", ["values", "updates", "messages", "custom"])
def test_the_async_caller_keeps_its_span(spans: Spans, llm: MockLLM, mode: str) -> None:
    """The same for ainvoke and astream."""
    graph = agent(llm)

    async def main() -> None:
        with libperf.span("caller") as caller:
            await graph.ainvoke(QUESTION)
            assert libperf.current_span().id == caller.id
            async for _ in graph.astream(QUESTION, stream_mode=mode):
                assert libperf.current_span().id == caller.id
            assert libperf.current_span().id == caller.id

    asyncio.run(main())
    below = "\n".join(f"  {line}" for line in AGENT.splitlines())
    assert spans.tree() == f"span caller\n{below}\n{below}"


@pytest.mark.parametrize("mode", ["values", "updates", "messages"])
def test_abandoned_streams(spans: Spans, llm: MockLLM, mode: str) -> None:
    """A stream that its consumer leaves half-way, closed or dropped, ends its spans and leaves the context as it was."""
    graph = agent(llm)
    with libperf.span("caller") as caller:
        stream = graph.stream(QUESTION, stream_mode=mode)
        next(stream)
        stream.close()
        assert libperf.current_span().id == caller.id
        for _ in graph.stream(QUESTION, stream_mode=mode):
            break
        assert libperf.current_span().id == caller.id
    kinds = [record.kind.name for record in spans.all()]
    assert kinds.count("GRAPH") == 2


@pytest.mark.parametrize("mode", ["values", "updates", "messages"])
def test_abandoned_async_streams(spans: Spans, llm: MockLLM, mode: str) -> None:
    """The same for astream, closed by hand and left to the loop."""
    graph = agent(llm)

    async def main() -> None:
        with libperf.span("caller") as caller:
            stream = graph.astream(QUESTION, stream_mode=mode)
            await anext(stream)
            await stream.aclose()
            assert libperf.current_span().id == caller.id
            async for _ in graph.astream(QUESTION, stream_mode=mode):
                break
            assert libperf.current_span().id == caller.id

    asyncio.run(main())
    kinds = [record.kind.name for record in spans.all()]
    assert kinds.count("GRAPH") == 2


def test_two_threads(spans: Spans) -> None:
    """Graphs that run in two threads at once have traces of their own, without a mix-up."""
    start = threading.Barrier(2)

    def run(name: str) -> None:
        graph = chain(name, **{f"{name}1": node("one"), f"{name}2": node("two")})
        start.wait()
        for _ in range(25):
            graph.invoke({})

    threads = [threading.Thread(target=run, args=(name,)) for name in ("red", "blue")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    blue, red = (f"graph {name}\n  node {name}1\n  node {name}2\n" for name in ("blue", "red"))
    assert spans.tree() == (blue * 25 + red * 25).rstrip()
    assert len({record.trace_id for record in spans.all()}) == 50


def test_the_slowest_node(spans: Spans) -> None:
    """The node whose model the server makes slowest is the slowest in the report, by as much as the server says."""
    latency = {"slow": 0.2, "*": 0.01}
    with MockLLM(latency=latency) as llm:

        def ask(model: str) -> Any:
            chat = model_of(llm, model)

            async def work(state: State) -> State:
                return {"done": [str((await chat.ainvoke("hello")).content)]}

            return work

        graph = StateGraph(State)
        for name in ("quick", "slow", "brisk"):
            graph.add_node(f"ask_{name}", ask(name))
            graph.add_edge(START, f"ask_{name}")
        asyncio.run(graph.compile(name="race").ainvoke({}))
        served = {record.model: record.served for record in llm.requests}
    rows = {(row.kind.name, row.name): row for row in libperf.report().rows}
    nodes = {name: row.max for (kind, name), row in rows.items() if kind == "NODE" and name.startswith("ask_")}
    assert max(nodes, key=nodes.__getitem__) == "ask_slow"
    for name in ("quick", "slow", "brisk"):
        least = served[name]
        assert least is not None and least >= latency.get(name, 0.01)
        assert rows["NODE", f"ask_{name}"].max >= rows["LLM", f"ask_{name}"].max >= latency.get(name, 0.01)
