"""The events of OpenAI's responses API: a whole response from them, and they from a whole response."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["response_of", "tell_response"]


def response_of(events: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The whole response that a stream told at its end; None: it did not get there."""
    for event in reversed(events):
        if event.get("type") in ("response.completed", "response.incomplete", "response.failed"):
            return dict(event["response"])
    return None


def tell_response(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A whole response as the events of a stream. Texts and arguments come in one piece."""
    started = {**response, "status": "in_progress", "output": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
    ]
    for index, item in enumerate(response.get("output") or ()):
        events += _item(item, index)
    events.append({"type": "response.completed", "response": dict(response)})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _item(item: Mapping[str, Any], index: int) -> Iterator[dict[str, Any]]:
    place = {"output_index": index, "item_id": item.get("id")}
    begun = dict(item)
    if "status" in item:
        begun["status"] = "in_progress"
    if item.get("type") == "message":
        begun["content"] = []
    if item.get("type") == "function_call":
        begun["arguments"] = ""
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    if item.get("type") == "message":
        for number, part in enumerate(item.get("content") or ()):
            yield from _part(part, {**place, "content_index": number})
    if item.get("type") == "function_call":
        told = {**place, "name": item.get("name")}
        yield {"type": "response.function_call_arguments.delta", **place, "delta": item.get("arguments")}
        yield {"type": "response.function_call_arguments.done", **told, "arguments": item.get("arguments")}
    yield {"type": "response.output_item.done", "output_index": index, "item": dict(item)}


def _part(part: Mapping[str, Any], place: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    name = {"output_text": "text", "refusal": "refusal"}.get(str(part.get("type")))
    yield {"type": "response.content_part.added", **place, "part": {**part, **({name: ""} if name else {})}}
    if name:
        event = "output_text" if name == "text" else "refusal"
        more: dict[str, Any] = {"logprobs": part.get("logprobs") or []} if name == "text" else {}
        yield {"type": f"response.{event}.delta", **place, "delta": part.get(name), **more}
        yield {"type": f"response.{event}.done", **place, name: part.get(name), **more}
    yield {"type": "response.content_part.done", **place, "part": dict(part)}
