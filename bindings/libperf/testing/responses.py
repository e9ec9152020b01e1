"""Answers in the wire format of the responses endpoint: one JSON object, or a stream of typed events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from .answer import Answer, ToolCall
from .completions import Envelope, Event
from .request import MockRequest
from .text import count_tokens, token_pieces

_BEFORE = -1  # a token number before the first: due as soon as the request is read

_ECHOED: dict[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}


def response_json(request: MockRequest, answers: Sequence[Answer], envelope: Envelope) -> dict[str, Any]:
    """The body of a finished response."""
    answer = answers[0]
    cut = answer.finish == "length"
    prompt, completion = request.prompt_tokens, answer.tokens
    return {
        **_frame(request, envelope, "incomplete" if cut else "completed"),
        "completed_at": None if cut else envelope.created,
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": _output_items(answer, envelope),
        "usage": {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": completion,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + completion,
        },
    }


def _frame(request: MockRequest, envelope: Envelope, status: str) -> dict[str, Any]:
    echoed = {key: request.body.get(key) for key in _ECHOED if request.body.get(key) is not None}
    return {
        "id": f"resp_{envelope.id}",
        "object": "response",
        "created_at": envelope.created,
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": request.model,
        "output": [],
        "usage": None,
        **_ECHOED,
        **echoed,
    }


def _message_item(text: str | None, envelope: Envelope, status: str) -> dict[str, Any]:
    content = [] if text is None else [_text_part(text)]
    return {"id": f"msg_{envelope.id}", "type": "message", "status": status, "role": "assistant", "content": content}


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call_item(call: ToolCall, arguments: str, status: str) -> dict[str, Any]:
    identity = call.id.removeprefix("call_")
    if call.custom:
        return {
            "id": f"ctc_{identity}",
            "type": "custom_tool_call",
            "status": status,
            "call_id": call.id,
            "name": call.name,
            "input": arguments,
        }
    return {
        "id": f"fc_{identity}",
        "type": "function_call",
        "status": status,
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments,
    }


def _output_items(answer: Answer, envelope: Envelope) -> list[dict[str, Any]]:
    status = "incomplete" if answer.finish == "length" else "completed"
    items = [] if answer.text is None else [_message_item(answer.text, envelope, status)]
    return items + [_call_item(call, call.arguments, "completed") for call in answer.calls]


def response_events(request: MockRequest, answers: Sequence[Answer], envelope: Envelope) -> Iterator[Event]:
    """The stream of a response."""
    for sequence, (token, kind, fields) in enumerate(_steps(request, answers, envelope)):
        data = json.dumps({"type": kind, "sequence_number": sequence, **fields})
        yield token, f"event: {kind}\ndata: {data}\n\n".encode()


_Step = tuple[int, str, dict[str, Any]]


def _steps(request: MockRequest, answers: Sequence[Answer], envelope: Envelope) -> Iterator[_Step]:
    answer = answers[0]
    for kind in ("response.created", "response.in_progress"):
        yield _BEFORE, kind, {"response": _frame(request, envelope, "in_progress")}
    token = position = 0
    if answer.text is not None:
        status = "incomplete" if answer.finish == "length" else "completed"
        yield from _text_steps(answer.text, envelope, status)
        token, position = count_tokens(answer.text), 1
    for index, call in enumerate(answer.calls, position):
        yield from _call_steps(call, index, token)
        token += call.tokens
    whole = response_json(request, answers, envelope)
    yield token, f"response.{whole['status']}", {"response": whole}


def _text_steps(text: str, envelope: Envelope, status: str) -> Iterator[_Step]:
    item, part = {"output_index": 0}, {"item_id": f"msg_{envelope.id}", "output_index": 0, "content_index": 0}
    yield 0, "response.output_item.added", {**item, "item": _message_item(None, envelope, "in_progress")}
    yield 0, "response.content_part.added", {**part, "part": _text_part("")}
    for token, piece in enumerate(token_pieces(text)):
        yield token, "response.output_text.delta", {**part, "delta": piece, "logprobs": []}
    token = count_tokens(text)
    yield token, "response.output_text.done", {**part, "text": text, "logprobs": []}
    yield token, "response.content_part.done", {**part, "part": _text_part(text)}
    yield token, "response.output_item.done", {**item, "item": _message_item(text, envelope, status)}


def _call_steps(call: ToolCall, index: int, token: int) -> Iterator[_Step]:
    item = {"output_index": index}
    opened = _call_item(call, "", "in_progress")
    part = {"item_id": opened["id"], "output_index": index}
    family = "response.custom_tool_call_input" if call.custom else "response.function_call_arguments"
    yield token, "response.output_item.added", {**item, "item": opened}
    token += count_tokens(call.name)
    for piece in token_pieces(call.arguments):
        yield token, f"{family}.delta", {**part, "delta": piece}
        token += 1
    done = {"input": call.arguments} if call.custom else {"arguments": call.arguments, "name": call.name}
    yield token, f"{family}.done", {**part, **done}
    yield token, "response.output_item.done", {**item, "item": _call_item(call, call.arguments, "completed")}
