"""What a cache hands out and does not keep: answers of models that are no success, and what a factory calls Unkept.

That costs values which are no answers a look at their type. Nothing is imported for them.
"""

from collections.abc import Collection, Iterable
from typing import Any

__all__ = ["Unkept", "refused", "refused_stream"]

# as in answers.storable, which is imported for the first of them
_SDKS = frozenset({"anthropic", "langchain_core", "openai"})
_PLAIN = frozenset({bool, bytes, float, frozenset, int, list, set, str, tuple, type(None)})
_OBJECTS = frozenset({"chat.completion", "chat.completion.chunk", "response"})


class Unkept:
    """What a factory returns that has something to give, but nothing to keep: all who wait get the value."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def refused(value: Any, pure_tools: bool | Collection[str] = False) -> str | None:
    """Why a value is not to be kept: it is a model's answer, and "truncated", "filtered", … ; None: it may be."""
    if not _may_be_answer(value):
        return None
    from ..answers.storable import storable

    try:
        return storable(value, pure_tools)
    except Exception:  # of another version of the SDK: what it says nobody knows
        return "unreadable"


def refused_stream(items: Iterable[Any], pure_tools: bool | Collection[str] = False) -> str | None:
    """The same of what a generator yielded, to its end."""
    answers = [item for item in items if _may_be_answer(item)]
    if not answers:
        return None
    from ..answers.storable import storable_stream

    try:
        return storable_stream(answers, pure_tools)
    except Exception:
        return "unreadable"


def _may_be_answer(value: Any) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return False
    if kind is dict:  # as JSON
        what, form = value.get("object"), value.get("type")
        return (type(what) is str and what in _OBJECTS) or (type(form) is str and form == "message")
    module = kind.__module__
    return type(module) is str and module.partition(".")[0] in _SDKS
