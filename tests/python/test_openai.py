"""libperf.openai.cached: the real OpenAI client, in front of a local server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.testing import MockLLM, Reply

openai = pytest.importorskip("openai")

QUESTION: list[Any] = [{"role": "user", "content": "What is the weather in Paris for 3 people?"}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "weather", "description": "", "parameters": {"type": "object", "properties": {}}},
}
ASK: dict[str, Any] = {"model": "m", "messages": QUESTION, "temperature": 0}


@pytest.fixture
def tiers() -> Iterator[libperf.TieredCache]:
    with libperf.TieredCache() as cache:
        yield cache


def client_of(llm: MockLLM, cache: Any, **more: Any) -> Any:
    client = openai.OpenAI(base_url=llm.base_url, api_key="mock", max_retries=0)
    return libperf.openai.cached(client, cache, **more)


def async_client_of(llm: MockLLM, cache: Any, **more: Any) -> Any:
    client = openai.AsyncOpenAI(base_url=llm.base_url, api_key="mock", max_retries=0)
    return libperf.openai.cached(client, cache, **more)


def stats(client: Any) -> dict[str, int]:
    return dict(libperf.openai.cache_stats(client))


# ---- whole answers ----


def test_the_second_answer_is_the_first(llm: MockLLM, tiers: Any) -> None:
    """A real ChatCompletion, with usage and all; the client is a real client."""
    client = client_of(llm, tiers)
    assert isinstance(client, openai.OpenAI)
    first, second = client.chat.completions.create(**ASK), client.chat.completions.create(**ASK)
    assert len(llm.requests) == 1
    assert type(second) is type(first) and second == first and second is not first
    assert second.usage.total_tokens == first.usage.total_tokens
    assert second.to_json() == first.to_json()
    second.choices[0].message.content = "changed"
    assert client.chat.completions.create(**ASK) == first
    assert stats(client) == {"stored": 1}


def test_the_client_given_is_left_alone(llm: MockLLM, tiers: Any) -> None:
    """The copy is cached, the original and other copies are not."""
    client = openai.OpenAI(base_url=llm.base_url, api_key="mock")
    cached = libperf.openai.cached(client, tiers)
    for one in (client, client, cached.with_options(timeout=5)):
        one.chat.completions.create(**ASK)
    assert len(llm.requests) == 3 and len(tiers) == 0


def test_async_clients(llm: MockLLM, tiers: Any) -> None:
    """The same awaited; sync and async callers share the answers."""

    async def main() -> Any:
        client = async_client_of(llm, tiers)
        assert isinstance(client, openai.AsyncOpenAI)
        assert await client.chat.completions.create(**ASK) == await client.chat.completions.create(**ASK)
        return await client.chat.completions.create(**ASK)

    answer = asyncio.run(main())
    assert client_of(llm, tiers).chat.completions.create(**ASK) == answer
    assert len(llm.requests) == 1


def test_many_callers_make_one_call(tiers: Any) -> None:
    """Tasks and threads that ask the same at once wait for one answer."""
    with MockLLM(latency=0.2) as llm:
        client = client_of(llm, tiers)
        answers: list[Any] = []
        ask = lambda: answers.append(client.chat.completions.create(**ASK))  # noqa: E731
        threads = [threading.Thread(target=ask) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        async def main() -> Any:
            create = async_client_of(llm, tiers).chat.completions.create
            question = [{"role": "user", "content": "another"}]
            return await asyncio.gather(*(create(**{**ASK, "messages": question}) for _ in range(32)))

        others = asyncio.run(main())
        assert len(llm.requests) == 2
        assert all(answer == answers[0] for answer in answers) and all(answer == others[0] for answer in others)


def test_a_caller_who_gives_up_does_not_take_the_others_with_him(tiers: Any) -> None:
    """The one who calls is cancelled: who waited for his answer gets one all the same."""

    async def main() -> Any:
        asked, loop = asyncio.Event(), asyncio.get_running_loop()

        def say(request: Any) -> str:
            loop.call_soon_threadsafe(asked.set)
            return "Hello"

        with MockLLM(replies=[Reply(say, latency=0.2)]) as llm:
            create = async_client_of(llm, tiers).chat.completions.create
            first, *others = (asyncio.ensure_future(create(**ASK)) for _ in range(4))
            await asked.wait()
            first.cancel()
            answers = await asyncio.gather(first, *others, return_exceptions=True)
            return len(llm.requests), answers

    calls, (first, *others) = asyncio.run(main())
    assert isinstance(first, asyncio.CancelledError)
    assert all(other == others[0] and other.choices[0].message.content == "Hello" for other in others)
    assert calls <= 2 and len(tiers) == 1


@pytest.mark.parametrize("entry", [b"", b"garbage", b"[]", b"{}", b"5", b'{"answer": 5}', b'{"pieces": [5]}', 7, None])
def test_an_entry_that_is_not_ours_is_a_miss(llm: MockLLM, entry: Any) -> None:
    """Whatever lies there, whoever wrote it."""

    class Foreign(libperf.TieredCache):
        def get(self, key: object, default: Any = None, **more: Any) -> Any:
            return entry

        def get_or_set(self, key: object, factory: Any, *args: Any, **more: Any) -> Any:
            return entry

        def get_many(self, keys: Any, **more: Any) -> Any:
            return dict.fromkeys(keys, entry)

    client = client_of(llm, Foreign())
    assert client.chat.completions.create(**ASK).choices[0].message.content
    assert told(client.chat.completions.create(**ASK, stream=True))
    assert client.responses.create(model="m", input="a", temperature=0).output_text
    assert client.embeddings.create(model="e", input="a").data[0].embedding
    assert len(llm.requests) == 4


def test_an_answer_that_is_not_kept_still_serves_all_who_wait(tiers: Any) -> None:
    """A truncated answer goes to those who asked meanwhile, and to nobody afterwards."""
    with MockLLM(latency=0.2) as llm:

        async def main() -> Any:
            create = async_client_of(llm, tiers).chat.completions.create
            return await asyncio.gather(*(create(**ASK, max_tokens=2) for _ in range(8)))

        answers = asyncio.run(main())
        assert {answer.choices[0].finish_reason for answer in answers} == {"length"}
        assert len(llm.requests) == 1 and len(tiers) == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"temperature": 1}, "temperature"),
        ({"temperature": openai.omit}, "temperature"),
        ({"max_tokens": 2}, "truncated"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tools"),
    ],
)
def test_what_is_not_kept(llm: MockLLM, tiers: Any, changes: dict[str, Any], reason: str) -> None:
    """Each call is made, and the reason counted; streams as well."""
    client = client_of(llm, tiers)
    for _ in range(2):
        client.chat.completions.create(**{**ASK, **changes})
        list(client.chat.completions.create(**{**ASK, **changes}, stream=True))
    assert len(llm.requests) == 4 and len(tiers) == 0
    assert stats(client) == {"stored": 0, f"skipped_{reason}": 4}


def test_what_is_kept_when_asked(llm: MockLLM, tiers: Any) -> None:
    """One sample of many, and calls of pure tools."""
    client = client_of(llm, tiers, nondeterministic=True, pure_tools=["weather"])
    for _ in range(2):
        client.chat.completions.create(**{**ASK, "temperature": 1})
        called = client.chat.completions.create(**ASK, tools=[TOOL], tool_choice="required")
    assert len(llm.requests) == 2
    assert called.choices[0].message.tool_calls[0].function.name == "weather"


def test_errors_are_the_callers(tiers: Any) -> None:
    """They are raised as ever, and not kept."""
    with MockLLM(errors="500:1") as llm:
        client = client_of(llm, tiers)
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(**ASK)
        assert len(llm.requests) == 2 and len(tiers) == 0


def test_the_order_of_messages_given_as_an_iterator(llm: MockLLM, tiers: Any) -> None:
    """Looking at it for the key does not use it up."""
    client = client_of(llm, tiers)
    client.chat.completions.create(**{**ASK, "messages": iter(QUESTION)})
    client.chat.completions.create(**ASK)
    assert len(llm.requests) == 1


def test_scopes_and_servers_are_apart(llm: MockLLM, tiers: Any) -> None:
    """Tenants, base URLs, and headers or queries of the client."""
    clients = [
        client_of(llm, tiers),
        client_of(llm, tiers, scope="one"),
        client_of(llm, tiers, scope="two"),
        libperf.openai.cached(openai.OpenAI(base_url=llm.base_url, api_key="x", default_query={"v": "2"}), tiers),
        libperf.openai.cached(openai.OpenAI(base_url=llm.base_url, api_key="x", default_headers={"b": "2"}), tiers),
    ]
    for client in clients * 2:
        client.chat.completions.create(**ASK)
    assert len(llm.requests) == len(clients)
    tiers.invalidate(scope="one")
    for client in clients:
        client.chat.completions.create(**ASK)
    assert len(llm.requests) == len(clients) + 1


def test_raw_answers_go_through(llm: MockLLM, tiers: Any) -> None:
    """with_raw_response wants what the server sent: it is called each time."""
    client = client_of(llm, tiers)
    for _ in range(2):
        raw = client.chat.completions.with_raw_response.create(**ASK)
        assert raw.headers and raw.parse().choices
    assert len(llm.requests) == 2 and len(tiers) == 0


def test_a_cache_that_is_closed_does_not_stop_the_client(llm: MockLLM) -> None:
    """The error names the cache: a closed one is a mistake of the program, not a fault of a tier."""
    cache = libperf.TieredCache()
    client = client_of(llm, cache)
    cache.close()
    with pytest.raises(libperf.errors.ClosedError):
        client.chat.completions.create(**ASK)


# ---- streams ----


def told(stream: Any) -> list[dict[str, Any]]:
    return [chunk.to_dict() for chunk in stream]


@pytest.mark.parametrize("more", [{}, {"stream_options": {"include_usage": True}}])
def test_a_stream_is_played_again(llm: MockLLM, tiers: Any, more: dict[str, Any]) -> None:
    """The same chunks in a real Stream, with the usage where it was asked for."""
    client = client_of(llm, tiers)
    first = client.chat.completions.create(**ASK, **more, stream=True)
    assert isinstance(first, openai.Stream)
    chunks = told(first)
    with client.chat.completions.create(**ASK, **more, stream=True) as second:
        assert isinstance(second, openai.Stream)
        assert told(second) == chunks
    assert second.response.status_code == 200
    assert len(llm.requests) == 1
    assert ("usage" in chunks[-1] and bool(chunks[-1]["usage"])) == bool(more)


def test_one_entry_serves_streams_and_whole_answers(llm: MockLLM, tiers: Any) -> None:
    """Recorded as a stream with usage: whole answers come from it. Recorded whole: streams of both kinds do."""
    client = client_of(llm, tiers)
    usage: Any = {"stream_options": {"include_usage": True}}
    pieces = told(client.chat.completions.create(**ASK, **usage, stream=True))
    whole = client.chat.completions.create(**ASK)
    assert len(llm.requests) == 1
    assert whole.choices[0].message.content == "".join(
        choice["delta"].get("content") or "" for piece in pieces for choice in piece["choices"]
    )
    assert whole.usage.total_tokens == pieces[-1]["usage"]["total_tokens"]

    other = {**ASK, "messages": [{"role": "user", "content": "another"}]}
    whole = client.chat.completions.create(**other)
    for more in ({}, usage):
        pieces = told(client.chat.completions.create(**other, **more, stream=True))
        text = "".join(choice["delta"].get("content") or "" for piece in pieces for choice in piece["choices"])
        assert text == whole.choices[0].message.content
        assert [bool(piece.get("usage")) for piece in pieces].count(True) == bool(more)
    assert len(llm.requests) == 2


def test_a_stream_without_usage_does_not_make_an_answer_without_usage(llm: MockLLM, tiers: Any) -> None:
    """Callers read answer.usage: the call is made, and from then on serves both."""
    client = client_of(llm, tiers)
    told(client.chat.completions.create(**ASK, stream=True))
    assert client.chat.completions.create(**ASK).usage.total_tokens > 0
    assert len(llm.requests) == 2
    client.chat.completions.create(**ASK)
    told(client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True}))
    assert len(llm.requests) == 2


def test_tool_calls_are_played_again(llm: MockLLM, tiers: Any) -> None:
    """Every delta of a streamed tool call."""
    client = client_of(llm, tiers, pure_tools=True)
    ask = {**ASK, "tools": [TOOL], "tool_choice": "required"}
    first = told(client.chat.completions.create(**ask, stream=True))
    assert told(client.chat.completions.create(**ask, stream=True)) == first
    assert len(llm.requests) == 1
    assert any(choice["delta"].get("tool_calls") for piece in first for choice in piece["choices"])


def test_the_sdks_stream_helper(llm: MockLLM, tiers: Any) -> None:
    """client.chat.completions.stream(): its events, and the completion at the end, from the cache."""
    client = client_of(llm, tiers)
    finals = []
    for _ in range(2):
        with client.chat.completions.stream(**ASK, stream_options={"include_usage": True}) as stream:
            stream.until_done()
            finals.append(stream.get_final_completion())
    assert finals[0] == finals[1] and len(llm.requests) == 1


def test_a_stream_that_is_left_is_not_kept(llm: MockLLM, tiers: Any) -> None:
    """Half an answer is none."""
    client = client_of(llm, tiers)
    with client.chat.completions.create(**ASK, stream=True) as stream:
        next(stream)
    for _ in client.chat.completions.create(**ASK, stream=True):
        break
    assert len(tiers) == 0 and stats(client) == {"stored": 0}


def test_a_stream_that_breaks_is_not_kept(tiers: Any) -> None:
    """The server hangs up in the middle: the caller sees what he would see without a cache."""
    with MockLLM(errors="disconnect:1", reply_tokens=50) as llm:
        errors = []
        for client in (openai.OpenAI(base_url=llm.base_url, api_key="x", max_retries=0), client_of(llm, tiers)):
            try:
                told(client.chat.completions.create(**ASK, stream=True))
            except Exception as error:
                errors.append(type(error))
        assert len(errors) == 2 and errors[0] is errors[1]
        assert len(tiers) == 0


def test_async_streams(llm: MockLLM, tiers: Any) -> None:
    """Recorded, left, and played again."""

    async def main() -> None:
        client = async_client_of(llm, tiers)
        async with await client.chat.completions.create(**ASK, stream=True) as stream:
            await anext(aiter(stream))
        assert len(tiers) == 0
        first = [chunk async for chunk in await client.chat.completions.create(**ASK, stream=True)]
        stream = await client.chat.completions.create(**ASK, stream=True)
        assert isinstance(stream, openai.AsyncStream)
        assert [chunk async for chunk in stream] == first
        async with client.chat.completions.stream(**ASK) as helper:
            assert (await helper.get_final_completion()).choices[0].message.content

    asyncio.run(main())
    assert len(llm.requests) == 2


# ---- responses ----


def test_responses(llm: MockLLM, tiers: Any) -> None:
    """Whole and streamed, each from the other; the SDK's own types."""
    client = client_of(llm, tiers)
    ask: dict[str, Any] = {"model": "m", "input": "Hello", "temperature": 0}
    first = client.responses.create(**ask)
    assert client.responses.create(**ask) == first and first.output_text
    events = list(client.responses.create(**ask, stream=True))
    assert events[-1].type == "response.completed" and events[-1].response == first
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == first.output_text
    assert len(llm.requests) == 1

    other = {**ask, "input": "Another"}
    recorded = list(client.responses.create(**other, stream=True))
    assert list(client.responses.create(**other, stream=True)) == recorded
    assert client.responses.create(**other) == recorded[-1].response
    assert len(llm.requests) == 2


def test_responses_of_tools_and_truncated_ones_are_not_kept(llm: MockLLM, tiers: Any) -> None:
    """By the same rules."""
    client = client_of(llm, tiers)
    tool: Any = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
    for _ in range(2):
        client.responses.create(model="m", input="a", temperature=0, tools=[tool], tool_choice="required")
    assert len(llm.requests) == 2 and stats(client) == {"stored": 0, "skipped_tools": 2}


# ---- embeddings ----


def test_only_unknown_inputs_are_sent(llm: MockLLM, tiers: Any) -> None:
    """Each input has its own entry; the answer has all vectors in their places, and the tokens that were spent."""
    client = client_of(llm, tiers)
    plain = openai.OpenAI(base_url=llm.base_url, api_key="x")

    def embed(one: Any, input_: Any, **more: Any) -> Any:
        return one.embeddings.create(model="e", input=input_, **more)

    first = embed(client, ["a", "b"])
    assert first.data == embed(plain, ["a", "b"]).data
    mixed = embed(client, ["c", "b", "a", "c"])
    assert [one.embedding for one in mixed.data] == [one.embedding for one in embed(plain, ["c", "b", "a", "c"]).data]
    assert [one.index for one in mixed.data] == [0, 1, 2, 3]
    sent = len(llm.requests)
    again = embed(client, "b")
    assert again.data[0].embedding == first.data[1].embedding and again.usage.total_tokens == 0
    assert type(again) is type(first) and len(llm.requests) == sent
    mixed.data[0].embedding[0] = 7.0
    assert embed(client, "c").data[0].embedding[0] != 7.0
    assert embed(client, "b", dimensions=8).data[0].embedding != again.data[0].embedding
    assert (
        embed(client, "b", encoding_format="base64").data[0].embedding
        == embed(client, "b", encoding_format="base64").data[0].embedding
    )
    assert len(llm.requests) == sent + 2


def test_tokens_as_inputs(llm: MockLLM, tiers: Any) -> None:
    """Lists of numbers, one or several."""
    client = client_of(llm, tiers)
    one = client.embeddings.create(model="e", input=[1, 2, 3])
    many = client.embeddings.create(model="e", input=[[1, 2, 3], [4]])
    assert many.data[0].embedding == one.data[0].embedding
    client.embeddings.create(model="e", input=[4])
    assert len(llm.requests) == 2


def test_async_embeddings(llm: MockLLM, tiers: Any) -> None:
    """The same awaited."""

    async def main() -> None:
        client = async_client_of(llm, tiers)
        first = await client.embeddings.create(model="e", input=["a", "b"])
        again = await client.embeddings.create(model="e", input=["b", "a"])
        assert [one.embedding for one in again.data] == [one.embedding for one in reversed(first.data)]

    asyncio.run(main())
    assert len(llm.requests) == 1


def test_answers_as_values_of_cached_functions(llm: MockLLM) -> None:
    """A function that returns the SDK's objects can be kept in shared tiers: its types are known by name."""
    from libperf.answers.sealed import seal, unseal

    client = openai.OpenAI(base_url=llm.base_url, api_key="x")
    for answer in (
        client.chat.completions.create(**ASK),
        client.responses.create(model="m", input="a"),
        client.embeddings.create(model="e", input="a"),
    ):
        sealed = seal({"answer": answer})
        assert isinstance(sealed, bytes) and unseal(sealed) == {"answer": answer}


def test_answers_are_there_after_a_restart(llm: MockLLM, tmp_path: Path) -> None:
    """On disk: whole, streamed and embeddings, for another cache that begins with nothing in memory."""
    pytest.importorskip("libperf.cache.disk")
    other = {**ASK, "messages": [{"role": "user", "content": "another"}]}
    said = []
    for _ in range(2):
        with libperf.TieredCache(disk=tmp_path) as tiers:
            client = client_of(llm, tiers)
            whole = client.chat.completions.create(**ASK)
            pieces = told(client.chat.completions.create(**other, stream=True))
            vectors = client.embeddings.create(model="e", input=["a", "b"]).data
            said.append((whole, pieces, vectors))
            tiers.flush()
    assert said[0] == said[1] and len(llm.requests) == 3


def test_a_scripted_reply(tiers: Any) -> None:
    """Replies of a script go the same way."""
    with MockLLM(replies=[Reply("yes")]) as llm:
        client = client_of(llm, tiers)
        assert [client.chat.completions.create(**ASK).choices[0].message.content for _ in range(2)] == ["yes", "yes"]
        assert len(llm.requests) == 1
