"""Which values are answers of models, and whether they may be kept: for caches that are handed any value.

A function that asks a model and returns what the SDK gave it is cached like any other. What it returns is looked at
here: an answer that was cut off is no more worth keeping than an error.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .rules import are_pure, refused_answer, refused_reason

__all__ = ["refused_generation", "refused_message", "storable", "storable_stream"]

_SDKS = frozenset({"anthropic", "langchain_core", "openai"})
_ENDS = ("finish_reason", "stop_reason", "finishReason", "stopReason", "done_reason", "status")


def storable(value: Any, pure_tools: bool | Collection[str] = False) -> str | None:
    """Why this value is not to be kept; None: it may be, for it is a complete answer, or no answer at all.

    Looks at objects of the SDKs of OpenAI and Anthropic, at messages and generations of LangChain, and at the JSON of a
    response as a dict. For any other value it costs about as much as looking at its type.
    """
    kind = type(value)
    if kind is dict:
        is_answer = value.get("object") in ("chat.completion", "response") or value.get("type") == "message"
        return refused_answer(value, pure_tools) if is_answer else None
    root = kind.__module__.partition(".")[0]
    if root not in _SDKS:
        return None
    if root == "langchain_core":
        return _of_langchain(value, pure_tools)
    if _is_chunk(value) or not (hasattr(value, "choices") or hasattr(value, "stop_reason") or hasattr(value, "output")):
        return None  # embeddings, models, chunks
    return refused_answer(_as_json(value), pure_tools)


def storable_stream(items: Sequence[Any], pure_tools: bool | Collection[str] = False) -> str | None:
    """The same of what was streamed, to its end: chunks and events of OpenAI's SDK as the answer that they make up, of
    others each by itself."""
    from .openai_answers import CHAT, RESPONSES

    chunks = [item for item in items if _is_chunk(item)]
    events = [item for item in items if _is_event(item)]
    for pieces, kind in ((chunks, CHAT), (events, RESPONSES)):
        if pieces:
            answer = kind.whole([piece if isinstance(piece, dict) else _as_json(piece) for piece in pieces])
            reason = "unfinished" if answer is None else refused_answer(answer, pure_tools)
            if reason is not None:
                return reason
    reasons = (storable(item, pure_tools) for item in items if not (_is_chunk(item) or _is_event(item)))
    return next((reason for reason in reasons if reason is not None), None)


def _is_chunk(value: Any) -> bool:
    what = value.get("object") if isinstance(value, dict) else getattr(value, "object", None)
    return isinstance(what, str) and what == "chat.completion.chunk"


def _is_event(value: Any) -> bool:
    what = None if isinstance(value, dict) else getattr(value, "type", None)
    return isinstance(what, str) and what.startswith("response.")


def _as_json(value: Any) -> dict[str, Any]:
    return value.model_dump(mode="json", exclude_unset=True, warnings=False)  # type: ignore[no-any-return]


def _of_langchain(value: Any, pure_tools: bool | Collection[str]) -> str | None:
    if getattr(value, "type", None) in ("ai", "AIMessageChunk"):
        return refused_message(value, {}, pure_tools)
    generations = getattr(value, "generations", None)
    if generations is None:
        return refused_generation(value, pure_tools) if hasattr(value, "generation_info") else None
    for one in generations:  # of a ChatResult, or lists of them, of an LLMResult
        for generation in one if isinstance(one, list) else (one,):
            reason = refused_generation(generation, pure_tools)
            if reason is not None:
                return reason
    return None


def refused_generation(generation: Any, pure_tools: bool | Collection[str] = False) -> str | None:
    """The same of a generation of LangChain."""
    return refused_message(getattr(generation, "message", None), generation.generation_info or {}, pure_tools)


def refused_message(message: Any, info: Mapping[str, Any], pure_tools: bool | Collection[str] = False) -> str | None:
    """The same of a message of LangChain, or None where there is only text.  info: what is known of it beside."""
    told = {**(getattr(message, "response_metadata", None) or {}), **info}
    for name in _ENDS:
        reason = refused_reason(told.get(name))
        if reason is not None:
            return reason
    details = told.get("incomplete_details")
    if isinstance(details, dict) and refused_reason(details.get("reason")):
        return refused_reason(details["reason"])
    if told.get("error"):
        return "error"
    if message is None:
        return None
    more = message.additional_kwargs
    if more.get("refusal"):
        return "filtered"
    calls = [*(getattr(message, "tool_calls", None) or ()), *(getattr(message, "invalid_tool_calls", None) or ())]
    asked = bool(calls or more.get("tool_calls") or more.get("function_call"))
    return "tools" if asked and not are_pure([str(call.get("name")) for call in calls], pure_tools) else None
