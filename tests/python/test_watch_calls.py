"""Calls that are made again: what is traced is known by a digest of its arguments while somebody profiles, and only then."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import libperf
from libperf import tracing
from libperf._core import lib
from libperf.reader import Reader
from support_events import Events, record, recorded


@libperf.trace
def look(what: object = None, *more: object, **others: object) -> object:
    return what


@libperf.trace
def nothing() -> None: ...


@libperf.trace
async def alook(what: object = None) -> object:
    return what


class Plain:
    @libperf.trace
    def ask(self, what: object) -> object:
        return what


@dataclass
class Valued:
    name: str

    @libperf.trace
    def ask(self, what: object) -> object:
        return what

    @libperf.trace
    def nothing(self) -> None: ...


class Slotted:
    __slots__ = ()

    @libperf.trace
    def ask(self, what: object) -> None: ...


def digests(program: Callable[[], object]) -> list[int]:
    """Of its calls, in their order."""
    return [event.more for event in record(program).of("CALL")]


def are_equal(*calls: Callable[[], object]) -> bool:
    """Whether two calls have the same digest."""
    first, second = digests(lambda: [each() for each in calls])
    return first == second


# ---- which calls are equal ----


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (lambda: look("a"), lambda: look("a"), True),
        (lambda: look("a"), lambda: look("b"), False),
        (lambda: look("a"), lambda: look(what="a"), True),
        (lambda: look("a"), lambda: look("a", "a"), False),
        (lambda: look(None), lambda: look(None, None), False),
        (lambda: look(1), lambda: look(1.0), False),
        (lambda: look(1), lambda: look(True), False),
        (lambda: look("1"), lambda: look(b"1"), False),
        (lambda: look([1]), lambda: look((1,)), False),
        (lambda: look({"a": 1, "b": 2}), lambda: look({"b": 2, "a": 1}), True),
        (lambda: look({1, 2, 3}), lambda: look({3, 2, 1}), True),
        (lambda: look(x=1, y=2), lambda: look(y=2, x=1), True),
        (lambda: look(x=1), lambda: look(y=1), False),
        (lambda: look(Valued("a")), lambda: look(Valued("a")), True),
        (lambda: look(Valued("a")), lambda: look(Valued("b")), False),
        (lambda: look(Path("a")), lambda: look("a"), False),
    ],
)
def test_equal_calls(first: Any, second: Any, equal: bool) -> None:
    """Calls are equal when a cache would have one key for them."""
    assert are_equal(first, second) is equal


def test_methods_belong_to_an_object() -> None:
    """By its value if it has a form; else by itself, and no later object is taken for it."""
    one, other = Plain(), Plain()
    assert are_equal(lambda: one.ask(1), lambda: one.ask(1))
    assert not are_equal(lambda: one.ask(1), lambda: one.ask(2))
    assert not are_equal(lambda: one.ask(1), lambda: other.ask(1))
    assert are_equal(lambda: Valued("a").ask(1), lambda: Valued("a").ask(1))
    assert not are_equal(lambda: Valued("a").ask(1), lambda: Valued("b").ask(1))
    at_one_address = digests(lambda: [Plain().ask(1) for _ in range(50)])
    assert len(set(at_one_address)) == 50
    assert digests(lambda: Slotted().ask(1)) == []  # nobody could tell when it is gone


def test_objects_are_not_kept() -> None:
    """What was called is forgotten with the object."""
    from libperf.watch import digest

    before = len(digest._numbers)
    one = Plain()
    record(functools.partial(one.ask, 1))
    assert len(digest._numbers) == before + 1
    del one
    gc.collect()
    assert len(digest._numbers) == before


# ---- which have a digest ----


class Hostile:
    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("go away")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("go away")


def circle() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "argument",
    [object(), open, Hostile(), circle(), "x" * 40_000, b"x" * 40_000, list(range(5_000)), 1 << 400_000],
    ids=["object", "builtin", "hostile", "circle", "text", "bytes", "list", "int"],
)
def test_what_has_no_digest(argument: Any) -> None:
    """Without a form, or with too much in it, a call goes on as it would, and nothing is said of it."""
    seen: list[Any] = []
    assert digests(lambda: seen.append(look(argument))) == []
    assert seen[0] is argument


def test_calls_without_arguments_have_none() -> None:
    """Nobody knows whether they ask for the same: they read a queue, or look at the time."""
    assert digests(lambda: (nothing(), look(), Valued("a").nothing())) == []


def test_generators_have_none() -> None:
    """They give many values, at times that are not their own."""

    @libperf.trace
    def numbers(n: int) -> Iterator[int]:
        yield from range(n)

    assert digests(lambda: list(numbers(3))) == []


def test_every_kind_of_function() -> None:
    """Coroutines, methods of classes, partials and old coroutines have; their events carry the span and the place."""
    import types

    class Tool:
        @classmethod
        @libperf.trace
        def of_class(cls, what: int) -> None: ...

        @staticmethod
        @libperf.trace
        def static(what: int) -> None: ...

    @types.coroutine
    def old(what: int) -> Any:
        yield from asyncio.sleep(0).__await__()

    traced_old = libperf.trace("old one")(old)
    part = libperf.trace(functools.partial(look.__wrapped__, "a"))  # type: ignore[attr-defined]

    async def main() -> None:
        await alook(1)
        await traced_old(1)

    def program() -> None:
        asyncio.run(main())
        Tool.of_class(1)
        Tool.static(1)
        part(1)

    events = record(program)
    begun = {event.key: event for event in events.of("SPAN_BEGIN")}
    calls = events.of("CALL")
    assert [begun[call.key].text.rpartition(".")[2] for call in calls] == [
        "alook",
        "old one",
        "of_class",
        "static",
        "look",
    ]
    names = Reader().names
    places = [names[call.arg].text for call in calls]
    line = alook.__wrapped__.__code__.co_firstlineno  # type: ignore[attr-defined]
    assert places[0].endswith(f"test_watch_calls.py:{line}")
    assert all("test_watch_calls.py:" in place for place in places)


def test_calls_in_calls() -> None:
    """Each digest belongs to its own span, whatever is called in between, also by arguments' own code."""

    @dataclass
    class Nosy:
        @property
        def name(self) -> object:
            return look("nosy")

    @libperf.trace
    def outer(what: object) -> None:
        look(what)
        look("b")

    events = record(lambda: (outer("a"), look(Nosy())))
    begun = {event.key: event.text for event in events.of("SPAN_BEGIN")}
    found = [(begun[call.key].rpartition(".")[2], call.more) for call in events.of("CALL")]
    assert [name for name, _ in found] == ["outer", "look", "look", "look"]
    assert len({digest for _, digest in found[1:]}) == 3


# ---- only while somebody profiles ----


def parts(traced: Any = look) -> list[Any]:
    return [getattr(tracing.parts_of(traced), name) for name in ("begin", "function")]


def test_nothing_is_left_behind() -> None:
    """Afterwards the very same objects are in the very same places; what was traced meanwhile is as if it had not been."""
    before = parts()
    with recorded():

        @libperf.trace
        def made_meanwhile(what: int) -> int:
            return what

        assert parts() != before
        made_meanwhile(1)
    assert [one is other for one, other in zip(parts(), before, strict=True)] == [True] * len(before)
    assert not any(hasattr(each, "_libperf_original") for each in parts(made_meanwhile))
    assert made_meanwhile(2) == 2


def test_functions_are_forgotten() -> None:
    """The list of what is traced keeps nothing alive."""
    gc.collect()
    before = len(tracing.traced_functions)
    made = [libperf.trace(lambda number=number: number) for number in range(10)]
    assert len(tracing.traced_functions) == before + 10
    del made
    gc.collect()
    assert len(tracing.traced_functions) == before


def test_two_sessions() -> None:
    """The second sees what the first did; calls are wrapped once."""
    assert len(digests(lambda: look("a"))) == 1
    assert len(digests(lambda: look("a"))) == 1


def test_calls_that_raise_and_are_cancelled() -> None:
    """They raise what they raised."""

    @libperf.trace
    def fails(what: int) -> None:
        raise KeyError(what)

    def program() -> None:
        with pytest.raises(KeyError, match="7"):
            fails(7)
        with pytest.raises(TypeError, match="unexpected keyword"):
            fails(other=1)  # type: ignore[call-arg]

    assert len(digests(program)) == 2


def test_no_content_is_recorded(run: Callable[..., Any], segments: Callable[[], list[Path]]) -> None:
    """Of what a function is called with, nothing is in the file."""
    program = """
import libperf
@libperf.trace
def look(secret, **more): return None
for _ in range(3): look("a-very-secret-word", other=["another-secret-word"])
"""
    assert run(program, LIBPERF_PROFILE="1").returncode == 0
    (trace,) = segments()
    raw = trace.read_bytes()
    assert b"secret-word" not in raw and b"look" in raw
    with libperf.Analysis(trace) as analysis:
        assert [(each.name, each.repeats) for each in analysis.repeats] == [("look", 2)]


def test_a_program_that_traces_nothing_imports_no_codec(run: Callable[..., Any]) -> None:
    """Not even while it is profiled."""
    program = (
        "import sys, libperf\nprint(sorted(m for m in sys.modules if 'cache' in m or 'codec' in m and 'libperf' in m))"
    )
    assert "libperf" not in run(program, LIBPERF_PROFILE="1").stdout
    traced = program.replace("libperf\n", "libperf\n@libperf.trace\ndef f(): pass\nf()\n")
    assert "libperf" not in run(traced).stdout
    assert "libperf._codec" in run(traced, LIBPERF_PROFILE="1").stdout


# ---- LangChain ----


@pytest.fixture
def _instrumented() -> Iterator[None]:
    libperf.instrument()
    yield
    libperf.uninstrument()


def counted(events: Events) -> dict[str, tuple[int, int]]:
    """Of each name: calls that have a digest, and how many different ones there are."""
    begun = {event.key: event.text for event in events.of("SPAN_BEGIN")}
    found: dict[str, list[int]] = {}
    for call in events.of("CALL"):
        found.setdefault(begun[call.key], []).append(call.more)
    return {name: (len(each), len(set(each))) for name, each in found.items()}


@pytest.mark.usefixtures("_instrumented")
@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
def test_models_are_told_apart_by_what_they_are_sent(way: str) -> None:
    """Messages, tools and parameters count; ids of messages and runs do not."""
    from langchain_core.language_models.fake_chat_models import FakeListChatModel
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    model = FakeListChatModel(responses=["yes"], name="assistant")

    def ask(*messages: Any, **options: Any) -> None:
        if way == "invoke":
            model.invoke(list(messages), **options)
        else:
            asyncio.run(model.ainvoke(list(messages), **options))

    def program() -> None:
        ask(HumanMessage("a", id=str(uuid4())))
        ask(HumanMessage("a", id=str(uuid4())))
        ask(HumanMessage("b"))
        ask(AIMessage("a"))
        ask(SystemMessage("be brief"), HumanMessage("a"))
        ask(HumanMessage("a"), stop=["."])
        ask(HumanMessage([{"type": "text", "text": "a"}]))

    assert counted(record(program)) == {"assistant": (7, 6)}


@pytest.mark.usefixtures("_instrumented")
def test_tools_and_retrievers() -> None:
    """A tool is known by its input, a retriever by its query."""
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.tools import tool

    class Retriever(BaseRetriever):
        def _get_relevant_documents(self, query: str, **kwargs: Any) -> list[Document]:
            return []

    @tool
    def weather(city: str, days: int = 1) -> str:
        """The weather."""
        return "rain"

    def program() -> None:
        for city in ("Rome", "Oslo", "Rome"):
            weather.invoke({"city": city})
            Retriever().invoke(city)

    assert counted(record(program)) == {"weather": (3, 2), "Retriever": (3, 2)}


@pytest.mark.usefixtures("_instrumented")
def test_strange_messages_have_no_digest() -> None:
    """Whatever a framework passes, a handler never fails."""
    from libperf.langchain import handler

    class Message:
        content = property(lambda self: 1 / 0)

    def program() -> None:
        for messages in ([[Message()]], [[object()]], None, 7, [["x" * 40_000]]):
            run_id = uuid4()
            handler().on_chat_model_start({}, messages, run_id=run_id, name="odd")
            handler().on_llm_end(None, run_id=run_id)

    events = record(program)
    assert len(events.of("SPAN_BEGIN")) == 5
    assert events.of("CALL") == []


# ---- the core's part ----


def test_the_code_is_the_headers() -> None:
    from libperf.events import Code

    assert Code.CALL == lib.PERF_EVENT_CALL == 43
