"""Answers of the OpenAI SDK as plain values and back: the JSON they came as, and the SDK's own way of making them of it."""

from collections.abc import Callable
from typing import Any

from ..cache.types import register_type

__all__ = ["register"]


def register() -> None:
    """Let the cache keep these types. Imports openai."""
    from openai.types import Completion, CreateEmbeddingResponse, Embedding, responses
    from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage

    kinds: list[Any] = [ChatCompletion, ChatCompletionChunk, ChatCompletionMessage, Completion]
    kinds += [CreateEmbeddingResponse, Embedding, responses.Response]
    for kind in kinds:
        register_type(kind, _json, _maker(kind), name=f"openai.{kind.__name__}")


def _json(answer: Any) -> Any:
    return answer.to_dict(mode="json")


def _maker(kind: Any) -> Callable[[Any], Any]:
    return lambda fields: kind.construct(**fields)
