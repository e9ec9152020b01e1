"""LangGraph under `libperf.instrument()`: real graphs, a real OpenAI client, and a tree of spans for every way to run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.callbacks.base import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, RetryPolicy, Send, interrupt

import libperf
import libperf.langchain
from libperf.testing import MockLLM
from support_graphs import AGENT, QUESTION, State, agent, chain, model_of, node, through
from support_spans import MODEL, Spans

# ---- every way to run one agent ----


WAYS: dict[str, Callable[[Any], Any]] = {
    "invoke": lambda graph: graph.invoke(QUESTION),
    "ainvoke": lambda graph: asyncio.run(graph.ainvoke(QUESTION)),
    **{
        f"stream {mode}": lambda graph, mode=mode: list(graph.stream(QUESTION, stream_mode=mode))
        for mode in ("values", "updates", "messages", "debug", "tasks", "custom")
    },
    "stream three": lambda graph: list(graph.stream(QUESTION, stream_mode=["values", "messages", "debug"])),
    "stream subgraphs": lambda graph: list(graph.stream(QUESTION, subgraphs=True)),
    **{
        f"astream {mode}": lambda graph, mode=mode: asyncio.run(through(graph.astream(QUESTION, stream_mode=mode)))
        for mode in ("values", "updates", "messages", "custom")
    },
    "astream three": lambda graph: asyncio.run(
        through(graph.astream(QUESTION, stream_mode=["values", "messages", "debug"]))
    ),
    "astream_events": lambda graph: asyncio.run(through(graph.astream_events(QUESTION, version="v2"))),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_run(spans: Spans, llm: MockLLM, way: str) -> None:
    """Whichever way a graph runs, it leaves the same tree, the model's name, and the tokens that were billed."""
    WAYS[way](agent(llm))
    assert spans.tree() == AGENT
    models = [record.attributes.get(MODEL) for record in spans.all() if record.kind is libperf.Kind.LLM]
    assert models == ["gpt-4o", "gpt-4o"]
    told = llm.summary()
    assert told.requests == 2
    assert spans.tokens() == (told.prompt_tokens, told.completion_tokens)
    assert min(spans.tokens()) > 0


@pytest.mark.parametrize("way", ["batch", "abatch"])
def test_batches(spans: Spans, llm: MockLLM, way: str) -> None:
    """Each input of a batch has a trace of its own."""
    graph = agent(llm)
    inputs = [{"messages": [("user", f"How is the weather in {city}?")]} for city in ("Oslo", "Rome", "Lima")]
    graph.batch(inputs) if way == "batch" else asyncio.run(graph.abatch(inputs))
    assert spans.tree() == "\n".join([AGENT] * 3)
    assert len({record.trace_id for record in spans.all()}) == 3
    assert spans.tokens() == (llm.summary().prompt_tokens, llm.summary().completion_tokens)


class Seen(BaseCallbackHandler):
    """A user's own handler: writes down the runs that it is told of."""

    def __init__(self) -> None:
        self.runs: dict[Any, tuple[str, Any]] = {}  # id -> (what would be a span, or "", parent)
        self.ended: list[Any] = []

    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: Any, parent_run_id: Any = None, **more: Any
    ) -> None:
        tags, name = more.get("tags") or [], more["name"]
        kind = "graph" if parent_run_id is None else "node" if any("graph:step" in tag for tag in tags) else ""
        self.runs[run_id] = (f"{kind} {name}" if kind else "", parent_run_id)

    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: Any, **more: Any) -> None:
        self.runs[run_id] = (f"llm {more['metadata']['langgraph_node']}", more["parent_run_id"])

    def on_tool_start(self, serialized: Any, text: Any, *, run_id: Any, **more: Any) -> None:
        self.runs[run_id] = (f"tool {serialized['name']}", more["parent_run_id"])

    def on_chain_end(self, outputs: Any, *, run_id: Any, **more: Any) -> None:
        self.ended.append(run_id)

    def pairs(self) -> list[tuple[str, str]]:
        """(span, parent's span) of each run."""

        def above(run: Any) -> str:
            while run is not None and not self.runs[run][0]:
                run = self.runs[run][1]
            return self.runs[run][0] if run is not None else ""

        return sorted((name, above(parent)) for name, parent in self.runs.values() if name)


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_beside_the_users_own_callbacks(spans: Spans, llm: MockLLM, way: str) -> None:
    """config= and the user's callbacks work on, and tell of the same runs with the same parents as the spans."""
    seen = Seen()
    graph, config = agent(llm), {"callbacks": [seen], "tags": ["mine"], "metadata": {"user": 7}, "run_name": "named"}
    graph.invoke(QUESTION, config) if way == "invoke" else asyncio.run(graph.ainvoke(QUESTION, config))
    names = {record.id: f"{record.kind.name.lower()} {record.name}" for record in spans.all()}
    assert sorted((names[record.id], names.get(record.parent, "")) for record in spans.all()) == seen.pairs()
    assert spans.tree().splitlines()[0] == "graph named"
    assert len(seen.ended) >= 4


def test_the_handler_given_by_hand(spans: Spans) -> None:
    """handler() in config= works without instrument(), and is not called twice with it."""
    config = {"callbacks": [libperf.langchain.handler()]}
    graph = chain("g", a=node("a"))
    graph.invoke({}, config)
    libperf.uninstrument()
    graph.invoke({}, config)
    graph.invoke({})
    assert spans.tree() == "graph g\n  node a\ngraph g\n  node a"


# ---- shapes of graphs ----


def test_parallel_nodes(spans: Spans, llm: MockLLM) -> None:
    """Nodes side by side each have their own model call, sync and async."""
    model = model_of(llm)

    def ask(name: str) -> Any:
        def work(state: State) -> State:
            return {"done": [str(model.invoke(name).content)]}

        async def work_async(state: State) -> State:
            return {"done": [str((await model.ainvoke(name)).content)]}

        return RunnableLambda(work, work_async)

    graph = StateGraph(State)
    for name in ("left", "middle", "right"):
        graph.add_node(name, ask(name))
        graph.add_edge(START, name)
        graph.add_edge(name, "last")
    graph.add_node("last", node("last"))
    compiled = graph.compile(name="wide")
    one = (
        "graph wide\n  node last\n  node left\n    llm left\n  node middle\n    llm middle\n  node right\n    llm right"
    )
    compiled.invoke({})
    assert spans.tree() == one
    asyncio.run(compiled.ainvoke({}))
    assert spans.tree() == f"{one}\n{one}"


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_send(spans: Spans, way: str) -> None:
    """A fan-out by Send is one node span for each message, all below the graph."""
    graph = StateGraph(State)
    graph.add_node("worker", node("worker"))
    graph.add_conditional_edges(START, lambda state: [Send("worker", {"n": n}) for n in range(4)], ["worker"])
    compiled = graph.compile(name="fan")
    compiled.invoke({}) if way == "invoke" else asyncio.run(compiled.ainvoke({}))
    assert spans.tree() == "graph fan" + "\n  node worker" * 4


def test_command_and_conditional_edges(spans: Spans) -> None:
    """Command(goto=), also out of a sub-graph, and routing functions are no errors and no spans of their own."""

    def hand_over(state: State) -> Command[str]:
        return Command(goto="last", graph=Command.PARENT, update={"done": ["over"]})

    def first(state: State) -> Command[str]:
        return Command(goto="team", update={"done": ["first"]})

    graph = StateGraph(State)
    graph.add_node("first", first, destinations=("team",))
    graph.add_node("team", chain("team graph", inner=hand_over), destinations=("last",))
    graph.add_node("last", node("last"))
    graph.add_edge(START, "first")
    graph.add_conditional_edges(
        "last", lambda state: "again" if len(state["done"]) < 4 else "end", {"again": "last", "end": END}
    )
    assert graph.compile(name="g").invoke({})["done"] == ["first", "over", "last", "last"]
    assert spans.tree() == ("graph g\n  node first\n  node last\n  node last\n  node team\n    node inner")


@pytest.mark.parametrize("name", ["team", "another name"])
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_a_graph_as_a_node(spans: Spans, way: str, name: str) -> None:
    """A sub-graph added as a node is one span, also when the graph is called like the node."""
    compiled = chain("top", team=chain(name, inner=node("inner")))
    compiled.invoke({}) if way == "invoke" else asyncio.run(compiled.ainvoke({}))
    assert spans.tree() == "graph top\n  node team\n    node inner"


def test_a_runnable_as_a_node(spans: Spans, llm: MockLLM) -> None:
    """A runnable that is called like its node is one span; so are functions, sequences and models."""
    sequence = RunnableLambda(lambda state: "hello") | model_of(llm) | (lambda answer: {"done": [answer.content]})
    chain("g", step=RunnableLambda(node("step"), name="step"), talk=sequence.with_config(run_name="talk")).invoke({})
    assert spans.tree() == "graph g\n  node step\n  node talk\n    llm talk"


def test_graphs_started_by_gather(spans: Spans, llm: MockLLM) -> None:
    """Graphs that a node starts side by side by asyncio.gather have that node as their parent."""
    model = model_of(llm)

    def team(name: str) -> Any:
        async def ask(state: State) -> State:
            return {"done": [str((await model.ainvoke(name)).content)]}

        return chain(name, ask=ask)

    async def lead(state: State) -> State:
        await asyncio.gather(*(team(name).ainvoke({}) for name in ("red", "blue")))
        return {"done": ["lead"]}

    asyncio.run(chain("top", lead=lead).ainvoke({}))
    assert spans.tree() == "graph top\n  node lead\n    node ask\n      llm ask\n    node ask\n      llm ask"


def test_tasks_and_entrypoints(spans: Spans) -> None:
    """The functional API: the entry point is a graph of one node, and its tasks are nodes inside that."""

    @task
    def double(number: int) -> int:
        return 2 * number

    @entrypoint()
    def whole(numbers: list[int]) -> int:
        return sum(each.result() for each in [double(number) for number in numbers])

    assert whole.invoke([1, 2]) == 6
    assert spans.tree() == "graph LangGraph\n  node whole\n    node double\n    node double"


# ---- what goes wrong ----


class OutOfPaper(Exception):
    pass


def fail(state: State) -> State:
    raise OutOfPaper("with a message that nobody records")


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream"])
def test_errors(spans: Spans, way: str) -> None:
    """A node that raises is one error at each level above it, with the exception's class and without its message."""
    graph = chain("top", fine=node("fine"), team=chain("team", broken=fail))
    with pytest.raises(OutOfPaper):
        if way == "ainvoke":
            asyncio.run(graph.ainvoke({}))
        else:
            list(graph.stream({})) if way == "stream" else graph.invoke({})
    assert spans.tree() == "graph top failed\n  node fine\n  node team failed\n    node broken failed"
    failed = [record.attributes for record in spans.all() if record.status]
    assert [set(attributes) for attributes in failed] == [{"error.type"}] * 3
    assert {attributes["error.type"].rpartition(".")[2] for attributes in failed} == {"OutOfPaper"}


def test_errors_of_a_model(spans: Spans) -> None:
    """A model that answers 503 is an error of the call, its node and its graph."""
    with MockLLM(errors="503:1") as llm:
        model = model_of(llm)
        with pytest.raises(Exception, match="503") as caught:
            chain("g", ask=lambda state: {"done": [model.invoke("hello").content]}).invoke({})
    assert spans.tree() == "graph g failed\n  node ask failed\n    llm ask failed"
    name = f"{caught.type.__module__}.{caught.type.__qualname__}"
    assert {record.attributes["error.type"] for record in spans.all()} == {name}


def test_errors_of_a_tool(spans: Spans) -> None:
    """A tool that raises fails itself; the ToolNode that answers for it does not."""

    @tool
    def broken(city: str) -> str:
        """Tell nothing."""
        raise OutOfPaper

    call = {"name": "broken", "args": {"city": "Oslo"}, "id": "1", "type": "tool_call"}
    graph = StateGraph(MessagesState).add_node("tools", ToolNode([broken], handle_tool_errors=True))
    compiled = graph.add_edge(START, "tools").compile(name="g")
    compiled.invoke({"messages": [{"role": "assistant", "content": "", "tool_calls": [call]}]})
    assert spans.tree() == "graph g\n  node tools\n    tool broken failed"


def test_retries(spans: Spans) -> None:
    """Each attempt of a node with a retry policy is a call of its own; only the failed ones are errors."""
    attempts = iter([OutOfPaper(), OutOfPaper(), None])

    def sometimes(state: State) -> State:
        if error := next(attempts):
            raise error
        return {"done": ["at last"]}

    policy = RetryPolicy(initial_interval=0.001, max_interval=0.001, jitter=False, max_attempts=3, retry_on=OutOfPaper)
    graph = StateGraph(State).add_node("sometimes", sometimes, retry_policy=policy).add_edge(START, "sometimes")
    assert graph.compile(name="g").invoke({})["done"] == ["at last"]
    assert spans.tree() == "graph g\n  node sometimes\n  node sometimes failed\n  node sometimes failed"


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_interrupts(spans: Spans, way: str) -> None:
    """A node that waits for a human, also inside a sub-graph, is no error; nor is its graph."""

    def ask_a_human(state: State) -> State:
        return {"done": [interrupt("may I?")]}

    graph = StateGraph(State)
    graph.add_node("team", chain("team", human=ask_a_human))
    graph.add_edge(START, "team")
    compiled, config = graph.compile(checkpointer=InMemorySaver(), name="g"), {"configurable": {"thread_id": "1"}}

    def go(value: Any) -> Any:
        return compiled.invoke(value, config) if way == "invoke" else asyncio.run(compiled.ainvoke(value, config))

    one = "graph g\n  node team\n    node human"
    assert go({})["__interrupt__"][0].value == "may I?"
    assert spans.tree() == one
    assert go(Command(resume="yes"))["done"] == ["yes"]
    assert spans.tree() == f"{one}\n{one}"


def test_interrupts_of_the_old_kind(spans: Spans) -> None:
    """Subclasses of LangGraph's own signals are no errors either."""
    from langgraph.errors import GraphInterrupt

    class MyInterrupt(GraphInterrupt):
        pass

    def stop(state: State) -> State:
        raise MyInterrupt

    graph = StateGraph(State).add_node("stop", stop).add_edge(START, "stop").compile(InMemorySaver(), name="g")
    graph.invoke({}, {"configurable": {"thread_id": "1"}})
    assert spans.tree() == "graph g\n  node stop"


def test_cancelling(spans: Spans, llm: MockLLM) -> None:
    """A cancelled run is cancelled at every level: no error, nothing left open."""
    inside = asyncio.Event()

    async def wait(state: State) -> State:
        inside.set()
        await asyncio.Event().wait()
        return {}

    async def main() -> None:
        running = asyncio.create_task(chain("top", team=chain("team", wait=wait)).ainvoke({}))
        await inside.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(main())
    assert spans.tree() == "graph top cancelled\n  node team cancelled\n    node wait cancelled"


@pytest.mark.parametrize("what", ["model", "tool"])
def test_cancelling_a_call(spans: Spans, what: str) -> None:
    """A model or tool that a node gives up on, by a timeout, is cancelled; the node goes on and is fine."""
    asked = threading.Event()

    @tool
    async def slow_tool(city: str) -> str:
        """Never tell."""
        asked.set()
        await asyncio.Event().wait()
        return ""

    with MockLLM(latency=60.0) as llm:
        model = model_of(llm)

        async def give_up(state: State) -> State:
            call = model.ainvoke("hello") if what == "model" else slow_tool.ainvoke({"city": "Oslo"})
            task = asyncio.create_task(call)
            while not (llm.requests or asked.is_set()):  # noqa: ASYNC110 - the server's thread knows no loop
                await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.wait([task])
            return {"done": ["gave up"]}

        asyncio.run(chain("g", work=give_up).ainvoke({}))
    name = "llm work" if what == "model" else "tool slow_tool"
    assert spans.tree() == f"graph g\n  node work\n    {name} cancelled"
