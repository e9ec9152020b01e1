"""Two ways in which OpenAI's API answers, whole or in pieces; and each of these from the other."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .response_events import response_of, tell_response
from .streams import assemble, has_usage, take_apart, without_usage

__all__ = ["CHAT", "RESPONSES", "Kind", "answer_of", "stream_of", "to_bytes"]

Entry = Mapping[str, Any]  # {"answer": whole} or {"pieces": [...]}


def to_bytes(entry: Entry) -> bytes:
    """What the cache holds: bytes, so that no caller can change another one's answer."""
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def answer_of(kind: "Kind", entry: Any) -> Any:
    """The SDK's object of an entry; None: there is none, or not all of it was recorded."""
    try:
        answer = kind.answer(json.loads(entry))
        return None if answer is None else kind.build(answer)
    except (TypeError, ValueError, LookupError, AttributeError):  # nothing of ours
        return None


def stream_of(kind: "Kind", entry: Any, request: Entry) -> list[Any] | None:
    """What a stream of that entry yields, in the same way."""
    try:
        pieces = kind.pieces(json.loads(entry), request)
        return None if pieces is None else [kind.build_piece(piece) for piece in pieces]
    except (TypeError, ValueError, LookupError, AttributeError):
        return None


def _built(kind: Any, answer: dict[str, Any]) -> Any:
    """An object of the SDK. Its own way of building takes whatever a server sent, and ten times as long."""
    try:
        return kind.model_validate(answer)
    except ValueError:
        return kind.construct(**answer)


class Kind(Protocol):
    """Everything is plain values, but for what the build functions return."""

    def whole(self, pieces: Sequence[Entry]) -> dict[str, Any] | None:
        """What these pieces tell; None: not to the end."""

    def answer(self, entry: Entry) -> dict[str, Any] | None:
        """The whole answer of an entry; None: something of it was not recorded."""

    def pieces(self, entry: Entry, request: Entry) -> list[dict[str, Any]] | None:
        """What a stream says to this request; None: something of it was not recorded."""

    def build(self, answer: dict[str, Any]) -> Any: ...
    def build_piece(self, piece: dict[str, Any]) -> Any: ...


class _Chat:
    def whole(self, pieces: Sequence[Entry]) -> dict[str, Any] | None:
        return assemble(pieces)

    def answer(self, entry: Entry) -> dict[str, Any] | None:
        if "answer" in entry:
            return dict(entry["answer"])
        return assemble(entry["pieces"]) if has_usage(entry["pieces"]) else None  # callers read .usage

    def pieces(self, entry: Entry, request: Entry) -> list[dict[str, Any]] | None:
        chunks = entry["pieces"] if "pieces" in entry else take_apart(entry["answer"])
        options = request.get("stream_options")
        if not (isinstance(options, Mapping) and options.get("include_usage")):
            return without_usage(chunks)
        return list(chunks) if has_usage(chunks) else None

    def build(self, answer: dict[str, Any]) -> Any:
        from openai.types.chat import ChatCompletion

        return _built(ChatCompletion, answer)

    def build_piece(self, piece: dict[str, Any]) -> Any:
        from openai.types.chat import ChatCompletionChunk

        return _built(ChatCompletionChunk, piece)


class _Responses:
    def whole(self, pieces: Sequence[Entry]) -> dict[str, Any] | None:
        return response_of(pieces)

    def answer(self, entry: Entry) -> dict[str, Any] | None:
        return dict(entry["answer"]) if "answer" in entry else response_of(entry["pieces"])

    def pieces(self, entry: Entry, request: Entry) -> list[dict[str, Any]] | None:
        return list(entry["pieces"]) if "pieces" in entry else tell_response(entry["answer"])

    def build(self, answer: dict[str, Any]) -> Any:
        from openai.types.responses import Response

        return _built(Response, answer)

    def build_piece(self, piece: dict[str, Any]) -> Any:
        from openai._models import construct_type
        from openai.types.responses import ResponseStreamEvent

        return construct_type(type_=ResponseStreamEvent, value=piece)


CHAT: Kind = _Chat()
RESPONSES: Kind = _Responses()
