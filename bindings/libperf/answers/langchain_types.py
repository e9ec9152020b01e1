"""Messages, generations and documents of LangChain, and what nodes of LangGraph write, as plain values and back.

Each type is listed here by name, and made by its own constructor from its own fields: nothing in a stored value can
name another class, or call anything (LangChain's `loads` could: CVE-2025-68664). A subclass that somebody else wrote is
not listed, so it is not stored.
"""

from collections.abc import Callable
from typing import Any

from ..cache.types import register_type

__all__ = ["register", "register_langgraph"]


def register() -> None:
    """Let the cache keep LangChain's types. Imports langchain_core."""
    from langchain_core import documents, messages, outputs

    kinds = [*_messages(messages), messages.RemoveMessage, documents.Document]
    kinds += [outputs.Generation, outputs.GenerationChunk]
    for kind in kinds:
        register_type(kind, _fields, _maker(kind), name=f"langchain_core.{kind.__name__}")
    text = type(messages.AIMessage("").text)  # a class of its own since 1.0
    if text is not str:
        register_type(text, str.__str__, text, name="langchain_core.Text")
    for kind in (outputs.ChatGeneration, outputs.ChatGenerationChunk):
        register_type(kind, _fields_of_chat, _maker(kind), name=f"langchain_core.{kind.__name__}")


def _messages(module: Any) -> list[Any]:
    names = ("AIMessage", "HumanMessage", "SystemMessage", "ToolMessage", "FunctionMessage", "ChatMessage")
    return [getattr(module, name + part) for name in names for part in ("", "Chunk")]


def _fields(object_: Any) -> dict[str, Any]:
    """What was set of a pydantic object; the rest has its defaults again when it is made anew. A list or dict that is
    there by default may have been filled since."""
    given = object_.model_fields_set
    held = {name: value for name, value in object_.__dict__.items() if name in given or (_fillable(value) and value)}
    return {**held, **(object_.model_extra or {})}


def _fillable(value: object) -> bool:
    return isinstance(value, list | dict)


def _fields_of_chat(generation: Any) -> dict[str, Any]:
    """Its text is the message's."""
    return {name: value for name, value in _fields(generation).items() if name != "text"}


def _maker(kind: type) -> Callable[[Any], Any]:
    return lambda fields: kind(**fields)


def register_langgraph() -> None:
    """Let the cache keep what nodes of LangGraph write beside values. Imports LangGraph."""
    from langgraph import types

    register_type(types.Send, _parts_of_send, lambda parts: types.Send(**parts), name="langgraph.Send")
    overwrite: Any = getattr(types, "Overwrite", None)  # newer than 1.0
    if overwrite is not None:
        register_type(overwrite, lambda one: {"value": one.value}, _maker(overwrite), name="langgraph.Overwrite")


def _parts_of_send(send: Any) -> dict[str, Any]:
    if getattr(send, "timeout", None) is not None:
        raise TypeError("a Send with a timeout of its own")
    return {"node": send.node, "arg": send.arg}
