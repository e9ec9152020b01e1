"""Streams: recorded while they are passed on, kept after a clean end only, the whole from the pieces and back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from libperf.answers.response_events import response_of, tell_response
from libperf.answers.streams import AsyncRecording, Recording, assemble, has_usage, take_apart, without_usage


class Source:
    """A stream with a name, that can break, and knows whether it was closed."""

    response = "headers"

    def __init__(self, *items: Any) -> None:
        self._items = iter(items)
        self.closed = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        item = next(self._items)
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        self.closed = True


class AsyncSource(Source):
    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    async def close(self) -> None:  # type: ignore[override]
        self.closed = True


def test_a_recording_passes_on_and_commits_at_the_end() -> None:
    """Every piece is there at once; the end commits all of them, once."""
    kept: list[list[int]] = []
    stream = Recording(Source(1, 2, 3), kept.append)
    assert next(stream) == 1 and not kept
    assert list(stream) == [2, 3]
    assert kept == [[1, 2, 3]]
    assert list(stream) == [] and kept == [[1, 2, 3]]


@pytest.mark.parametrize("error", [ConnectionError("cut"), KeyboardInterrupt(), GeneratorExit()])
def test_a_broken_stream_is_not_kept(error: BaseException) -> None:
    """The error is the caller's, and nothing is committed, whatever comes afterwards."""
    kept: list[Any] = []
    stream = Recording(Source(1, error, 2), kept.append)
    assert next(stream) == 1
    with pytest.raises(type(error)):
        next(stream)
    assert list(stream) == [2]
    assert kept == []


def test_a_stream_that_is_closed_or_left_is_not_kept() -> None:
    """close(), the end of a `with`, and nobody asking for the rest; the source is closed."""
    kept: list[Any] = []
    source = Source(1, 2)
    with Recording(source, kept.append) as stream:
        next(stream)
    assert source.closed and list(stream) == [2]
    for _ in Recording(Source(1, 2), kept.append):
        break
    assert kept == []


def test_a_recording_has_what_the_stream_has() -> None:
    """Attributes of an SDK's stream are found in it."""
    assert Recording(Source(), print).response == "headers"
    with pytest.raises(AttributeError):
        Recording(Source(), print).nothing  # noqa: B018


def test_a_stream_that_is_too_long_is_passed_on_and_not_kept() -> None:
    """Memory is bounded; the caller gets all of it."""
    kept: list[Any] = []
    assert len(list(Recording(Source(*range(100)), kept.append, most=99))) == 100
    assert kept == []


def test_async_recordings() -> None:
    """The same for async streams; a commit that is awaited is done before the stream ends."""
    kept: list[Any] = []

    async def commit(told: list[Any]) -> None:
        await asyncio.sleep(0)
        kept.append(told)

    async def main() -> None:
        assert [item async for item in AsyncRecording(AsyncSource(1, 2), commit)] == [1, 2]
        assert kept == [[1, 2]]
        broken = AsyncRecording(AsyncSource(1, ConnectionError()), commit)
        with pytest.raises(ConnectionError):
            _ = [item async for item in broken]
        source = AsyncSource(1, 2)
        async with AsyncRecording(source, commit) as left:
            assert await anext(left) == 1
        assert source.closed and left.response == "headers"
        assert kept == [[1, 2]]

    asyncio.run(main())


def test_a_cancelled_stream_is_not_kept() -> None:
    """A task that is cancelled in the middle commits nothing."""
    kept: list[Any] = []

    class Stuck(AsyncSource):
        async def __anext__(self) -> Any:
            try:
                return await super().__anext__()
            except StopAsyncIteration:
                await asyncio.Event().wait()

    async def main() -> None:
        stream = AsyncRecording(Stuck(1), kept.append)
        assert await anext(stream) == 1
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert kept == []


# ---- chat completions ----


def chunk(
    delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **more: Any
) -> dict[str, Any]:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", **more}
    if delta is None:
        return {**head, "choices": []}
    return {**head, "choices": [{"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}]}


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def call(number: int, arguments: str, **more: Any) -> dict[str, Any]:
    return {"tool_calls": [{"index": number, "function": {"arguments": arguments, **more.pop("function", {})}, **more}]}


def test_text_is_put_together() -> None:
    """Role, pieces of text, reasoning that some providers add, usage: one completion."""
    whole = assemble(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"reasoning_content": "Hm"}),
            chunk({"reasoning_content": "m."}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({}, "stop"),
            chunk(usage=USAGE),
        ]
    )
    assert whole is not None
    message = {"role": "assistant", "content": "Hello", "reasoning_content": "Hmm."}
    assert whole["object"] == "chat.completion" and whole["usage"] == USAGE and whole["model"] == "m"
    assert whole["choices"] == [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}]


def test_every_delta_of_every_tool_call_is_kept() -> None:
    """Two calls whose arguments come in turns, as pieces of text."""
    whole = assemble(
        [
            chunk({"role": "assistant", "content": None}),
            chunk(call(0, "", id="a", type="function", function={"name": "add"})),
            chunk(call(1, "", id="b", type="function", function={"name": "mul"})),
            chunk(call(0, '{"x":')),
            chunk(call(1, '{"y"')),
            chunk(call(0, "1}")),
            chunk(call(1, ":2}")),
            chunk({}, "tool_calls"),
        ]
    )
    assert whole is not None
    calls = whole["choices"][0]["message"]["tool_calls"]
    assert calls == [
        {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x":1}'}},
        {"id": "b", "type": "function", "function": {"name": "mul", "arguments": '{"y":2}'}},
    ]
    assert whole["choices"][0]["message"]["content"] is None


def test_choices_and_logprobs_are_put_together_each() -> None:
    """Two choices that come in turns; lists of log probabilities go on."""

    def token(text: str, index: int, finish: str | None = None) -> dict[str, Any]:
        told = chunk({"content": text}, finish, index)
        told["choices"][0]["logprobs"] = {"content": [{"token": text}], "refusal": None}
        return told

    whole = assemble([token("a", 1), token("b", 0), token("c", 1, "stop"), token("d", 0, "length")])
    assert whole is not None
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["bd", "ac"]
    assert [choice["finish_reason"] for choice in whole["choices"]] == ["length", "stop"]
    assert [len(choice["logprobs"]["content"]) for choice in whole["choices"]] == [2, 2]


def test_a_stream_that_did_not_end_tells_nothing_whole() -> None:
    """No reason to have ended, in one of its choices, or no choice at all."""
    assert assemble([]) is None
    assert assemble([chunk({"content": "Hel"})]) is None
    assert assemble([chunk({"content": "a"}, "stop", 0), chunk({"content": "b"}, None, 1)]) is None


def test_a_whole_answer_as_pieces_tells_the_same() -> None:
    """Taken apart and put together, random answers are what they were."""
    draw = random.Random(5)
    for _ in range(300):
        choices = []
        for index in range(draw.randint(1, 3)):
            message: dict[str, Any] = {"role": "assistant", "content": draw.choice([None, "", "Hello\nthere ☃"])}
            calls = [
                {"id": f"c{n}", "type": "function", "function": {"name": f"f{n}", "arguments": '{"a":1}'}}
                for n in range(draw.choice([0, 0, 1, 3]))
            ]
            if calls:
                message["tool_calls"] = calls
            elif message["content"] is None:
                message["content"] = ""
            if draw.random() < 0.3:
                message["reasoning_content"] = "because"
            logprobs = {"content": [{"token": "x", "logprob": -0.5}], "refusal": None} if draw.random() < 0.3 else None
            finish = "tool_calls" if calls else draw.choice(["stop", "length"])
            choices.append({"index": index, "message": message, "finish_reason": finish, "logprobs": logprobs})
        whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": USAGE}
        if draw.random() < 0.3:
            del whole["usage"]
        pieces = take_apart(whole)
        assert assemble(pieces) == whole
        assert has_usage(pieces) == ("usage" in whole)
        assert {piece["object"] for piece in pieces} == {"chat.completion.chunk"}


def test_without_usage() -> None:
    """Who did not ask for it gets neither its chunk nor its empty fields; other chunks without choices stay."""
    filters = {**chunk(), "prompt_filter_results": []}
    told = [filters, chunk({"content": "a"}, "stop", usage=None), chunk(usage=USAGE)]
    left = without_usage(told)
    assert left == [filters, chunk({"content": "a"}, "stop")]


# ---- responses ----


def test_a_response_as_events() -> None:
    """Numbered events around each item; the last one holds the response that was told."""
    text = {"type": "output_text", "text": "Hello", "annotations": []}
    response = {
        "id": "r",
        "status": "completed",
        "output": [
            {"id": "m", "type": "message", "role": "assistant", "status": "completed", "content": [text]},
            {
                "id": "f",
                "type": "function_call",
                "name": "add",
                "arguments": "{}",
                "call_id": "c",
                "status": "completed",
            },
            {"id": "q", "type": "reasoning", "summary": []},
        ],
    }
    events = tell_response(response)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert response_of(events) == response
    assert events[0]["type"] == "response.created" and events[0]["response"]["output"] == []
    assert "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta") == "Hello"
    added = [event["item"]["type"] for event in events if event["type"] == "response.output_item.added"]
    assert added == ["message", "function_call", "reasoning"]
    assert response_of(events[:-1]) is None
