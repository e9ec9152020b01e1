"""Answers in the wire format of the chat and text completion endpoints: one JSON object, or a stream of events.

A stream is a sequence of (token number, event): the number is the token the event carries, which says when it is due.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .answer import Answer, ToolCall
from .request import MockRequest
from .text import count_tokens, token_pieces

Event = tuple[int, bytes]


@dataclass(frozen=True)
class Envelope:
    """What an answer carries beside its content."""

    id: str
    """Unique to the answer, without prefix."""
    created: int
    """Unix time in seconds."""


def usage(request: MockRequest, answers: Sequence[Answer]) -> dict[str, Any]:
    """The `usage` object of an answer."""
    prompt, completion = request.prompt_tokens, sum(answer.tokens for answer in answers)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _call_object(call: ToolCall) -> dict[str, Any]:
    if call.custom:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _wants_old_calls(request: MockRequest) -> bool:
    """Whether the request offers `functions`, the spelling before `tools`, and expects its answer in kind."""
    return not request.body.get("tools") and bool(request.body.get("functions"))


def chat_json(request: MockRequest, answers: Sequence[Answer], envelope: Envelope) -> dict[str, Any]:
    """The body of a chat completion."""
    choices = []
    for index, answer in enumerate(answers):
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []}
        finish = answer.finish
        if answer.calls and _wants_old_calls(request):
            message["function_call"] = _call_object(answer.calls[0])["function"]
            finish = "function_call" if finish == "tool_calls" else finish
        elif answer.calls:
            message["tool_calls"] = [_call_object(call) for call in answer.calls]
        choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": finish})
    return {
        "id": f"chatcmpl-{envelope.id}",
        "object": "chat.completion",
        "created": envelope.created,
        "model": request.model,
        "choices": choices,
        "usage": usage(request, answers),
        "service_tier": "default",
        "system_fingerprint": "fp_mock",
    }


def text_json(request: MockRequest, answers: Sequence[Answer], envelope: Envelope) -> dict[str, Any]:
    """The body of a text completion (the legacy endpoint)."""
    return {
        "id": f"cmpl-{envelope.id}",
        "object": "text_completion",
        "created": envelope.created,
        "model": request.model,
        "choices": [
            {"index": index, "text": answer.text or "", "logprobs": None, "finish_reason": answer.finish}
            for index, answer in enumerate(answers)
        ],
        "usage": usage(request, answers),
    }


def event(data: str) -> bytes:
    """One server-sent event."""
    return b"data: " + data.encode() + b"\n\n"


class _Chunks:
    """Writes the chunks of one stream; all but their `choices` is the same, so it is encoded once."""

    def __init__(self, request: MockRequest, envelope: Envelope, kind: str, prefix: str) -> None:
        head = {
            "id": f"{prefix}-{envelope.id}",
            "object": kind,
            "created": envelope.created,
            "model": request.model,
            "service_tier": "default",
            "system_fingerprint": "fp_mock",
        }
        options = request.body.get("stream_options")
        self.with_usage = isinstance(options, dict) and bool(options.get("include_usage"))
        self._head = json.dumps(head)[:-1] + ', "choices": '
        self._tail = ', "usage": null}' if self.with_usage else "}"

    def chunk(self, choice: dict[str, Any]) -> bytes:
        return event(f"{self._head}[{json.dumps(choice)}]{self._tail}")

    def last(self, total: dict[str, Any]) -> Iterator[bytes]:
        if self.with_usage:
            yield event(f'{self._head}[], "usage": {json.dumps(total)}}}')
        yield event("[DONE]")


def chat_events(request: MockRequest, answers: Sequence[Answer], envelope: Envelope) -> Iterator[Event]:
    """The stream of a chat completion."""
    chunks = _Chunks(request, envelope, "chat.completion.chunk", "chatcmpl")
    old = _wants_old_calls(request)
    token = 0
    for index, answer in enumerate(answers):

        def say(delta: dict[str, Any], finish: str | None = None, index: int = index) -> bytes:
            return chunks.chunk({"index": index, "delta": delta, "logprobs": None, "finish_reason": finish})

        yield token, say({"role": "assistant", "content": None if answer.calls else "", "refusal": None})
        for piece in token_pieces(answer.text or ""):
            yield token, say({"content": piece})
            token += 1
        for number, call in enumerate(answer.calls[:1] if old else answer.calls):
            for offset, delta in _call_deltas(call, number, old):
                yield token + offset, say(delta)
            token += call.tokens
        finish = "function_call" if old and answer.finish == "tool_calls" else answer.finish
        yield token, say({}, finish)
    for data in chunks.last(usage(request, answers)):
        yield token, data


def _call_deltas(call: ToolCall, number: int, old: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """The deltas of one tool call, each with its token number within the call."""
    key, words = ("custom", "input") if call.custom else ("function", "arguments")
    opened = {"name": call.name, words: ""}
    yield (
        0,
        (
            {"function_call": opened}
            if old
            else {"tool_calls": [{"index": number, "id": call.id, "type": key, key: opened}]}
        ),
    )
    for offset, piece in enumerate(token_pieces(call.arguments), count_tokens(call.name)):
        delta = {words: piece}
        yield offset, {"function_call": delta} if old else {"tool_calls": [{"index": number, key: delta}]}


def text_events(request: MockRequest, answers: Sequence[Answer], envelope: Envelope) -> Iterator[Event]:
    """The stream of a text completion."""
    chunks = _Chunks(request, envelope, "text_completion", "cmpl")
    token = 0
    for index, answer in enumerate(answers):
        for piece in token_pieces(answer.text or ""):
            yield token, chunks.chunk({"index": index, "text": piece, "logprobs": None, "finish_reason": None})
            token += 1
        yield token, chunks.chunk({"index": index, "text": "", "logprobs": None, "finish_reason": answer.finish})
    for data in chunks.last(usage(request, answers)):
        yield token, data
