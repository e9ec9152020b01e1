"""NodeCache on real graphs beside LangGraph's own caches, and cache_key where LangGraph's key misses."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import operator
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pydantic
import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langgraph.cache.memory import InMemoryCache
from langgraph.cache.sqlite import SqliteCache
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import CachePolicy, Command, Send

import libperf
from libperf.langgraph import NodeCache, cache_key, cache_key_with_ids

KEY = (("writes", "module.function", "node"), "0123")
OTHER = (("writes", "module.function", "other"), "0123")
ONE_KEY = CachePolicy(key_func=cache_key)


@pytest.fixture(params=["libperf", "InMemoryCache", "SqliteCache"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Ours, and LangGraph's own two."""
    if request.param == "libperf":
        return NodeCache()
    return InMemoryCache() if request.param == "InMemoryCache" else SqliteCache(path=str(tmp_path / "cache.db"))


@pytest.fixture
def nodes() -> NodeCache[Any]:
    return NodeCache()


class State(TypedDict, total=False):
    x: int
    log: Annotated[list[Any], operator.add]


def graph_of(cache: Any, policy: Any = ONE_KEY, node: Callable[..., Any] | None = None) -> tuple[Any, list[Any]]:
    """A graph of one cached node, and what it was called with."""
    calls: list[Any] = []

    def work(state: State) -> Any:
        calls.append(state)
        return node(state) if node else {"log": [{"x": state["x"]}]}

    builder = StateGraph(State)
    builder.add_node("work", work, cache_policy=policy)
    builder.add_edge(START, "work")
    return builder.compile(cache=cache), calls


# ---- beside LangGraph's own ----


def test_the_six_methods(cache: Any) -> None:
    """get, set and clear of many keys, and their async twins."""
    one, other = deque([["a", 1]]), deque([["b", [1, {"c": None}]]])  # LangGraph's own make lists of tuples
    cache.set({KEY: (one, None), OTHER: (other, 60)})
    assert cache.get([KEY, OTHER, (KEY[0], "none")]) == {KEY: one, OTHER: other}
    assert cache.get([]) == {}
    cache.clear([KEY[0]])
    assert cache.get([KEY, OTHER]) == {OTHER: other}
    cache.clear()
    assert cache.get([KEY, OTHER]) == {}

    async def main() -> None:
        await cache.aset({KEY: ("value", None), OTHER: ("value", None)})
        assert await cache.aget([KEY, OTHER]) == {KEY: "value", OTHER: "value"}
        await cache.aclear([OTHER[0]])
        assert await cache.aget([KEY, OTHER]) == {KEY: "value"}
        await cache.aclear()
        assert await cache.aget([KEY]) == {}

    asyncio.run(main())


def test_a_node_runs_once(cache: Any) -> None:
    """A real graph, twice: the second time the node is not run, and the stream says so."""
    graph, calls = graph_of(cache)
    assert graph.invoke({"x": 1}) == graph.invoke({"x": 1}) == {"x": 1, "log": [{"x": 1}]}
    assert graph.invoke({"x": 2})["log"] == [{"x": 2}]
    assert len(calls) == 2
    updates = list(graph.stream({"x": 1}, stream_mode="updates"))
    assert updates[-1].get("__metadata__") == {"cached": True}


def test_an_async_graph(cache: Any) -> None:
    """Nodes that are awaited, and a graph that is."""
    calls = []

    async def work(state: State) -> Any:
        calls.append(state)
        return {"log": [state["x"]]}

    builder = StateGraph(State)
    builder.add_node("work", work, cache_policy=ONE_KEY)
    builder.add_edge(START, "work")
    graph = builder.compile(cache=cache)

    async def main() -> None:
        assert await graph.ainvoke({"x": 1}) == await graph.ainvoke({"x": 1})
        await graph.aclear_cache()
        await graph.ainvoke({"x": 1})

    asyncio.run(main())
    assert len(calls) == 2


def test_clearing_a_node(cache: Any) -> None:
    """graph.clear_cache() of one node, or of all."""
    graph, calls = graph_of(cache)
    for clear in (lambda: graph.clear_cache(["work"]), graph.clear_cache):
        graph.invoke({"x": 1})
        clear()
    graph.invoke({"x": 1})
    assert len(calls) == 3


def test_messages_in_a_state(cache: Any) -> None:
    """What the node wrote is messages again, with their tool calls and ids."""
    said = AIMessage("Hi", id="1", tool_calls=[{"name": "f", "args": {"a": [1]}, "id": "c"}], usage_metadata=None)
    calls = []

    def work(state: MessagesState) -> Any:
        calls.append(state)
        return {"messages": [said, ToolMessage("42", tool_call_id="c", id="2")]}

    builder = StateGraph(MessagesState)
    builder.add_node("work", work, cache_policy=CachePolicy(key_func=lambda state: "one"))
    builder.add_edge(START, "work")
    graph = builder.compile(cache=cache)
    question: Any = {"messages": [HumanMessage("?", id="0")]}
    assert graph.invoke(question)["messages"] == graph.invoke(question)["messages"]
    assert len(calls) == 1


def test_what_a_node_gets_is_its_own(cache: Any) -> None:
    """A node after the cached one changes what it got: the next run does not see that."""
    got = []

    def spoil(state: State) -> Any:
        got.append(dict(state["log"][0]))
        state["log"][0]["x"] = "spoilt"
        return {}

    builder = StateGraph(State)
    builder.add_node("work", lambda state: {"log": [{"x": state["x"]}]}, cache_policy=ONE_KEY)
    builder.add_node("spoil", spoil)
    builder.add_edge(START, "work")
    builder.add_edge("work", "spoil")
    graph = builder.compile(cache=cache)
    for _ in range(3):
        graph.invoke({"x": 1})
    assert got == [{"x": 1}] * 3


def test_tasks_of_the_functional_api(cache: Any) -> None:
    """@task(cache_policy=...) under @entrypoint(cache=...)."""
    calls = []

    @task(cache_policy=ONE_KEY)
    def double(x: int, *, by: int = 2) -> int:
        calls.append(x)
        return by * x

    @entrypoint(cache=cache)
    def work(x: int) -> int:
        return double(x, by=3).result() + double(x).result()

    assert work.invoke(2) == work.invoke(2) == 10
    assert len(calls) == 2


def test_sends_are_kept(cache: Any) -> None:
    """A node that goes on with Command and Send writes those; a hit sends again."""
    calls = []

    def plan(state: State) -> Any:
        calls.append(1)
        return Command(update={"log": ["plan"]}, goto=[Send("work", {"x": n}) for n in range(3)])

    builder = StateGraph(State)
    builder.add_node("plan", plan, cache_policy=ONE_KEY, destinations=("work",))
    builder.add_node("work", lambda state: {"log": [state["x"]]})
    builder.add_edge(START, "plan")
    graph = builder.compile(cache=cache)
    expected = {"x": 1, "log": ["plan", 0, 1, 2]}
    assert graph.invoke({"x": 1}) == graph.invoke({"x": 1}) == expected
    assert len(calls) == 1


# ---- ours ----


def test_seconds_to_live() -> None:
    """Each key has its own; the clock is the cache's."""
    from libperf.cache.clock import Clock

    now = [10**18]

    class Stopped(Clock):
        def monotonic_ns(self) -> int:
            return now[0]

    nodes: NodeCache[Any] = NodeCache(libperf.TieredCache(clock=Stopped(), jitter=0, beta=0))
    nodes.set({KEY: (1, 10), OTHER: (2, None), (KEY[0], "zero"): (3, 0)})
    assert nodes.get([KEY, OTHER, (KEY[0], "zero")]) == {KEY: 1, OTHER: 2}
    now[0] += 11 * 10**9
    assert nodes.get([KEY, OTHER]) == {OTHER: 2}


def test_it_is_bounded() -> None:
    """LangGraph's own grows for ever."""
    nodes: NodeCache[Any] = NodeCache(libperf.TieredCache(local_max_size=10))
    for number in range(100):
        nodes.set({(KEY[0], str(number)): (number, None)})
    assert len(nodes.cache) <= 10


def test_set_never_raises(nodes: NodeCache[Any]) -> None:
    """LangGraph fails the run if it does: what cannot be kept is counted, beside it the others are kept."""
    lock = threading.Lock()
    nodes.set({KEY: (lock, None), OTHER: ("fine", None), (KEY[0], "bad"): (1, -5)})
    asyncio.run(nodes.aset({KEY: (lock, None)}))
    assert nodes.get([KEY, OTHER]) == {OTHER: "fine"}
    assert nodes.stats() == {"hits": 1, "misses": 1, "stored": 1, "errors": 1, "unstorable": 2}
    nodes.cache.close()
    nodes.set({KEY: (1, None)})
    assert nodes.get([KEY]) == {} and asyncio.run(nodes.aget([KEY])) == {}
    graph, calls = graph_of(nodes)
    assert graph.invoke({"x": 1}) == {"x": 1, "log": [{"x": 1}]} and len(calls) == 1


@pytest.mark.parametrize("entry", [b"", b"garbage", bytes(200), "text", 7])
def test_an_entry_that_is_not_ours_is_a_miss(nodes: NodeCache[Any], entry: Any) -> None:
    """Whatever lies there, whoever wrote it: the node runs."""
    nodes.cache.set(nodes._place(KEY), entry)
    assert nodes.get([KEY]) == {} and asyncio.run(nodes.aget([KEY])) == {}
    assert nodes.stats()["errors"] == 2


def test_an_object_of_the_program_stays_in_memory(nodes: NodeCache[Any]) -> None:
    """No bytes can be made of it, so it is copied: kept, not shared."""
    graph, calls = graph_of(nodes, node=lambda state: {"log": [Plan([1])]})
    graph.invoke({"x": 1})["log"][0].steps.append(2)
    assert graph.invoke({"x": 1})["log"][0].steps == [1]
    assert len(calls) == 1


class Plan:
    def __init__(self, steps: list[int]) -> None:
        self.steps = steps


def test_values_keep_their_types(nodes: NodeCache[Any]) -> None:
    """Tuples stay tuples, sets sets, ints of any size ints."""
    value = deque([("a", (1, 2)), ("b", {1, 2}), ("c", {1: 2**70, (1, 2): b"x"})])
    nodes.set({KEY: (value, None)})
    assert nodes.get([KEY]) == {KEY: value} and type(nodes.get([KEY])[KEY][0]) is tuple


def test_removed_messages_are_not_kept(nodes: NodeCache[Any]) -> None:
    """They are named by an id that only this conversation has: in another one, removing them would raise."""
    nodes.set({KEY: (deque([("messages", [RemoveMessage(id="1")])]), None)})
    assert nodes.get([KEY]) == {} and nodes.stats()["skipped_removal"] == 1
    nodes.set({KEY: (deque([("messages", [RemoveMessage(id=REMOVE_ALL_MESSAGES)])]), None)})
    assert nodes.get([KEY])[KEY][0][1][0].id == REMOVE_ALL_MESSAGES


def test_answers_that_were_cut_off_are_not_kept(nodes: NodeCache[Any]) -> None:
    """The node runs again, and may get the whole answer; one that asks for a tool is kept, for its node is cached."""
    cut = AIMessage("Hel", response_metadata={"finish_reason": "length"})
    nodes.set({KEY: (deque([("messages", [cut])]), None), OTHER: ([("answer", cut)], None)})
    asyncio.run(nodes.aset({KEY: (deque([("messages", [cut])]), None)}))
    assert nodes.get([KEY, OTHER]) == {} and nodes.stats()["skipped_truncated"] == 3
    calls = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
    nodes.set({KEY: (deque([("messages", [calls])]), None)})
    assert nodes.get([KEY])[KEY][0][1] == [calls]


def test_graphs_of_one_cache_are_told_apart_by_name() -> None:
    """Two graphs whose nodes have one name and no function name of their own (langgraph#8753)."""
    tiers = libperf.TieredCache()

    class Node:
        def __init__(self, what: str) -> None:
            self.what = what

        def __call__(self, state: State) -> Any:
            return {"log": [self.what]}

    def run(name: str, what: str) -> Any:
        builder = StateGraph(State)
        builder.add_node("work", Node(what), cache_policy=ONE_KEY)
        builder.add_edge(START, "work")
        return builder.compile(cache=NodeCache(tiers, name=name)).invoke({"x": 1})["log"]

    assert run("one", "a") == ["a"]
    assert run("two", "b") == ["b"]
    assert run("one", "c") == ["a"]
    NodeCache(tiers, name="one").clear()
    assert run("one", "c") == ["c"] and run("two", "d") == ["b"]


def test_parts_of_a_namespace_do_not_run_together(nodes: NodeCache[Any]) -> None:
    """("a", "bc") and ("ab", "c") are two namespaces."""
    nodes.set({(("a", "bc"), "k"): (1, None)})
    assert nodes.get([(("ab", "c"), "k"), (("a", "bck"), "")]) == {}


def test_scopes(nodes: NodeCache[Any]) -> None:
    """A tenant's results are his."""
    one: NodeCache[Any] = NodeCache(nodes.cache, scope="one")
    one.set({KEY: (1, None)})
    assert nodes.get([KEY]) == {} and one.get([KEY]) == {KEY: 1}


def test_another_process_finds_it(run: Any, tmp_path: Path) -> None:
    """Keys and values are the same in every process: with a tier on disk, the second run of a graph is the first's."""
    pytest.importorskip("libperf.cache.disk")
    code = Path(__file__).with_name("support_cached_graph.py").read_text()
    first, second = (run(code, tmp_path / "cache", PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout.split() == ["ran", "done"] and second.stdout.split() == ["done"]


# ---- keys ----


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None


class Model(pydantic.BaseModel):
    a: int = 1
    b: list[str] = []


def test_equal_states_have_equal_keys() -> None:
    """Where LangGraph's own key differs: another order, other identities, sets, ids of messages."""
    text = "a text"
    same = [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": [text, text]}, json.loads(json.dumps({"a": [text, text]}))),
        ({"a": {"x", "y", "z"}}, {"a": {"z", "y", "x"}}),
        (Point(1, {"p": 1, "q": 2}), Point(1, {"q": 2, "p": 1})),
        (Model(), Model(a=1, b=[])),
        ({"m": [HumanMessage("Hi", id="1")]}, {"m": [HumanMessage("Hi", id="2")]}),
    ]
    for one, other in same:
        assert cache_key(one) == cache_key(other)


def test_different_states_have_different_keys() -> None:
    """Types count; so does what was said, by whom, with which tools; and the order of what is in order."""
    said = AIMessage("Hi", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
    other = AIMessage("Hi", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "1"}])
    states: list[Any] = [1, 1.0, True, "1", b"1", None, [1], (1,), {1}, {"a": 1}, {"a": "1"}, {"a": None}, {}, Point(1)]
    states += [Point(2), Model(), Model(a=2), HumanMessage("Hi"), AIMessage("Hi"), said, other, [1, 2], [2, 1]]
    states += [AIMessage("Hi", response_metadata={"finish_reason": "length"}), HumanMessage("Hi", name="Bob")]
    assert len({cache_key(state) for state in states}) == len(states)
    assert cache_key(1, by=2) != cache_key(1, 2) != cache_key((1, 2))


def test_ids_of_messages_can_count() -> None:
    """For nodes that edit or remove messages by their ids."""
    one, other = HumanMessage("Hi", id="1"), HumanMessage("Hi", id="2")
    assert cache_key_with_ids([one]) != cache_key_with_ids([other])
    assert cache_key([one]) == cache_key([other])
    assert cache_key(RemoveMessage(id="1")) != cache_key(RemoveMessage(id="2"))


def test_what_an_answer_cost_does_not_count() -> None:
    """An answer from a cache and a fresh one are the same state."""
    fresh = AIMessage("Hi", usage_metadata={"input_tokens": 1, "output_tokens": 1, "total_tokens": 2})
    again = AIMessage("Hi", response_metadata={"id": "chatcmpl-2", "token_usage": {"total_tokens": 2}})
    assert cache_key([fresh]) == cache_key([again])


def test_a_state_without_a_form_runs_each_time(caplog: pytest.LogCaptureFixture) -> None:
    """A function in the state: LangGraph's own key raises. The log says once which part it was."""
    state = {"x": 1, "log": [lambda: None]}
    nodes: NodeCache[Any] = NodeCache()
    graph, calls = graph_of(nodes, node=lambda state: {"log": ["ran"]})
    assert graph.invoke(state)["log"][1:] == graph.invoke(state)["log"][1:] == ["ran"]
    assert len(calls) == 2
    messages = {record.getMessage() for record in caplog.records}
    assert len(messages) == 1 and "['log'][0]" in messages.pop()


@pytest.fixture(autouse=True)
def _forget_what_was_said() -> Iterator[None]:
    from libperf.langgraph import _said

    yield
    _said.clear()
