"""What a cache hands out and does not keep: answers of a real OpenAI client that are no success, and Unkept."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk

import libperf
from libperf.cache import Unkept
from libperf.cache.kept import refused, refused_stream
from libperf.testing import MockLLM
from support_cache import Still

openai = pytest.importorskip("openai")

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Tell me about tides"}]}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
CUT = {"max_tokens": 2}
CALLS = {"tools": [TOOL], "tool_choice": "required"}


@pytest.fixture
def client(llm: MockLLM) -> Any:
    return openai.OpenAI(base_url=llm.base_url, api_key="x")


def aclient(llm: MockLLM) -> Any:
    return openai.AsyncOpenAI(base_url=llm.base_url, api_key="x")


def skipped(cache: libperf.TieredCache) -> dict[str, int]:
    return {what: number for what, number in cache.get_stats().items() if what.startswith("skipped_")}


@pytest.mark.parametrize(
    ("more", "reason"), [({}, None), (CUT, "truncated"), (CALLS, "tools")], ids=["whole", "cut", "calls"]
)
@pytest.mark.parametrize("as_json", [False, True], ids=["sdk", "json"])
def test_an_answer_of_a_function(llm: MockLLM, client: Any, more: Any, reason: str | None, as_json: bool) -> None:
    """Each caller gets it; only a complete one is kept, and why the others are not is counted."""

    @libperf.cached(max_bytes=None)
    def ask(question: str) -> Any:
        answer = client.chat.completions.create(**ASK, **more)
        return answer.to_dict() if as_json else answer

    answers = [ask("tides") for _ in range(3)]
    assert len(llm.requests) == (1 if reason is None else 3)
    assert all(type(answer) is type(answers[0]) for answer in answers)
    assert skipped(ask.cache) == ({} if reason is None else {f"skipped_{reason}": 3})
    assert ask.cache_info().currsize == (reason is None)


def test_an_answer_of_an_async_function(llm: MockLLM, seen: Any) -> None:
    """The same for tasks; those who waited get what was found, and the report has the series."""

    @libperf.cached(name="asking")
    async def ask(question: str) -> Any:
        return await aclient(llm).chat.completions.create(**ASK, **CUT)

    async def main() -> None:
        answers = await asyncio.gather(*[ask("tides") for _ in range(4)])
        assert all(answer is answers[0] for answer in answers)
        await ask("tides")

    asyncio.run(main())
    assert len(llm.requests) == 2
    assert skipped(ask.cache) == {"skipped_truncated": 2}
    assert seen.totals("cache.asking.skipped_truncated", libperf.Kind.COUNTER).value == 2


def test_pure_tools(llm: MockLLM, client: Any) -> None:
    """Answers that ask for these may be kept."""

    @libperf.cached(pure_tools=["weather"])
    def ask(question: str) -> Any:
        return client.chat.completions.create(**ASK, **CALLS)

    assert ask("tides") is ask("tides")
    assert len(llm.requests) == 1 and skipped(ask.cache) == {}


@pytest.mark.parametrize(
    ("api", "more"),
    [("chat", {}), ("chat", CUT), ("chat", CALLS), ("responses", {}), ("responses", {"max_output_tokens": 1})],
)
def test_generators(llm: MockLLM, client: Any, api: str, more: Any) -> None:
    """Of chunks and events: kept when they make up a complete answer."""

    def stream() -> Any:
        if api == "chat":
            return client.chat.completions.create(**ASK, **more, stream=True)
        return client.responses.create(model="m", input="tides", **more, stream=True)

    @libperf.cached(name=f"stream {api}")
    def tell(question: str) -> Iterator[Any]:
        yield from stream()

    @libperf.cached(name=f"astream {api}")
    async def atell(question: str) -> AsyncIterator[Any]:
        for piece in stream():
            yield piece

    async def alist() -> list[Any]:
        return [piece async for piece in atell("tides")]

    assert list(tell("tides")) and len(list(tell("tides"))) > 2
    assert len(llm.requests) == (2 if more else 1)
    assert asyncio.run(alist()) and len(asyncio.run(alist())) > 2
    assert len(llm.requests) == (4 if more else 2)
    for cache in (tell.cache, atell.cache):  # type: ignore[attr-defined]
        assert sum(skipped(cache).values()) == (2 if more else 0)


def test_streams_of_other_kinds() -> None:
    """A stream that ends in the middle, LangChain's chunks, and text."""
    chunk = {"object": "chat.completion.chunk", "id": "1", "choices": [{"index": 0, "delta": {"content": "a"}}]}
    last = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    assert refused_stream([chunk, chunk]) == "unfinished"
    assert refused_stream([chunk, last, None]) is None
    cut = AIMessageChunk("b", response_metadata={"finish_reason": "length"})
    assert refused_stream([AIMessageChunk("a"), cut, None]) == "truncated"
    assert refused_stream([AIMessageChunk("a"), AIMessageChunk("b")]) is None
    assert refused_stream(["a", {"type": "response.text"}, {"object": 5}, 7]) is None


def test_values_that_nobody_understands() -> None:
    """An answer that cannot be read is not kept; whatever else there is, is."""
    odd = AIMessage("Hi")
    odd.__dict__["additional_kwargs"] = 7
    assert refused(odd) == refused_stream([odd]) == "unreadable"

    class Meta(type):
        __module__ = 7  # type: ignore[assignment]

    values = [Meta("Odd", (), {})(), {"type": []}, {"object": {}}, {"type": "text"}, object(), type]
    assert [refused(value) for value in values] == [None] * len(values)


@pytest.mark.parametrize("size", [{"disk": True}, {}], ids=["disk", "memory"])
def test_unkept(tmp_path: Path, size: dict[str, Any]) -> None:
    """All who wait get the value; it lies in no tier; what was there before stays."""
    with libperf.TieredCache(disk=str(tmp_path / "cache") if size else None) as cache:
        begun, go_on, found = threading.Event(), threading.Event(), []

        def factory() -> Unkept:
            begun.set()
            go_on.wait()
            return Unkept("partial")

        leader = threading.Thread(target=lambda: found.append(cache.get_or_set("k", factory)))
        leader.start()
        begun.wait()
        others = [
            threading.Thread(target=lambda: found.append(cache.get_or_set("k", lambda: "other"))) for _ in range(3)
        ]
        for other in others:
            other.start()
        while cache._flow.flights.waited < 3:
            pass
        go_on.set()
        for thread in (leader, *others):
            thread.join()
        assert found == ["partial"] * 4
        cache.flush()
        assert "k" not in cache and len(cache) == 0
        assert cache.get_or_set("k", lambda: Unkept("x"), ttl=0) == "x"
        assert cache.get_stats()["failures"] == 0

        async def afactory() -> Unkept:
            return Unkept("later")

        assert asyncio.run(cache.aget_or_set("k", afactory)) == "later"
        assert "k" not in cache


def test_unkept_is_no_error() -> None:
    """Where a spare value would be served in place of an error, what was found is; the spare one is there as before."""
    clock = Still()
    cache = libperf.TieredCache(ttl=10, stale_if_error=100, beta=0, clock=clock)
    cache.set("k", "old")
    clock.go(50)
    assert cache.get_or_set("k", lambda: Unkept("cut")) == "cut"

    def fail() -> Any:
        raise OSError("down")

    assert cache.get_or_set("k", fail) == "old"


def test_nothing_is_imported_for_other_values(run: Any) -> None:
    """A program that asks no model reads no rules of models."""
    done = run(
        """if True:
        import sys, libperf
        load = libperf.cached(lambda n: {"number": n, "type": "text"} if n else object())
        load(0), load("plain"), load(0)
        print({"libperf.answers.rules", "openai", "langchain_core"} & set(sys.modules))
        """
    )
    assert done.stdout == "set()\n", done.stderr
