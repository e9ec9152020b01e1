"""64 bits for what something is called with: equal for equal calls. Imported when there is something to be looked at."""

import weakref
from collections.abc import Callable
from typing import Any

from .._codec import canonical, hash
from ..cache.forms import extend

LIMIT = 32 << 10  # bytes of texts, and sixteen for each thing: of more there is no digest
THING = 16
MODELS = ("__dataclass_fields__", "__pydantic_fields__")  # what has a form made of what is in it

_Digest = Callable[[tuple[Any, ...], dict[str, Any]], int | None]


def digest_of_arguments(function: Any) -> _Digest:
    """Make what makes the digests of a function's calls, as the keys of a cache are made of them.

    The object a method belongs to counts by its value, if that has a canonical form, else as that one object: another
    one's answers may be different. A call without arguments has no digest: that it is the same question nobody knows.
    """
    method = is_method(function)
    names = names_of(function)

    def digest(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
        if kwargs:
            args, kwargs = in_order(names, args, kwargs)
        elif len(args) <= method:
            return None
        if not is_small((args, kwargs)):
            return None
        try:
            return hash(canonical((args, kwargs), extend))
        except TypeError:
            if not (method and args):
                raise
            return hash(canonical((number_of(args[0]), args[1:], kwargs), extend))

    return digest


def names_of(function: Any) -> tuple[str, ...]:
    """Of the parameters that can be given by their place. (`inspect` would know more, and takes long to import.)"""
    code = getattr(function, "__code__", None)
    return code.co_varnames[: code.co_argcount] if code else ()


def in_order(
    names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same call with as much as possible by its place: f(1, b=2) is f(1, 2)."""
    moved = []
    for name in names[len(args) :]:
        if name not in kwargs:
            break
        moved.append(name)
    left = {name: value for name, value in kwargs.items() if name not in moved}
    return (*args, *[kwargs[name] for name in moved]), left


def is_method(function: Any) -> bool:
    """As far as one can tell from a function: it lies in a class, and has a `self`."""
    owner = getattr(function, "__qualname__", "").rpartition(".")[0]
    code = getattr(function, "__code__", None)
    is_first = code is not None and code.co_argcount > 0 and code.co_varnames[0] in ("self", "cls")
    return is_first and bool(owner) and not owner.endswith("<locals>")


# ---- one object among all ----


class _Number(weakref.ref[Any]):
    __slots__ = ("key", "number")

    key: int
    number: int


_numbers: dict[int, _Number] = {}
_newest = 0


def number_of(thing: object) -> tuple[str, int]:
    """A number that no other object has or will have. TypeError: it cannot be told when it is gone."""
    global _newest
    key = id(thing)
    known = _numbers.get(key)
    if known is None or known() is not thing:
        known = _Number(thing, _forget)
        _newest += 1
        known.key, known.number = key, _newest
        _numbers[key] = known
    return "object", known.number


def _forget(gone: _Number) -> None:
    if _numbers.get(gone.key) is gone:
        del _numbers[gone.key]


# ---- how much there is to look at ----


def is_small(value: object) -> bool:
    """Whether a canonical form of it is soon made."""
    left, todo = LIMIT, [value]
    while todo and left > 0:
        value = todo.pop()
        left -= THING
        if isinstance(value, (str, bytes, bytearray, memoryview)):
            left -= len(value)
        elif isinstance(value, dict):
            if len(value) > left:
                return False
            todo += value
            todo += value.values()
        elif isinstance(value, (list, tuple, set, frozenset)):
            if len(value) > left:
                return False
            todo += value
        elif isinstance(value, int):
            left -= value.bit_length() >> 3
        elif (size := getattr(value, "nbytes", None)) is not None:  # an array
            left -= size
        elif any(hasattr(type(value), name) for name in MODELS):
            todo.append(getattr(value, "__dict__", None))
    return left > 0


# ---- what LangChain says ----

# of a message, what a model is sent; its id, say, is new each time
SENT = ("type", "content", "name", "tool_calls", "tool_call_id", "additional_kwargs")


def digest_of_messages(asked: Any, kwargs: dict[str, Any]) -> int | None:
    """Of a model's call: the messages or prompts, the model, and how it is called."""
    messages = [[_sent(one) for one in many] if isinstance(many, list) else many for many in asked]
    metadata = kwargs.get("metadata") or {}
    how = kwargs.get("invocation_params"), kwargs.get("options"), metadata.get("ls_model_name")
    return _digest((messages, how))


def _sent(message: Any) -> Any:
    return [getattr(message, name, None) for name in SENT] if hasattr(message, "content") else message


def digest_of_text(asked: Any, kwargs: dict[str, Any]) -> int | None:
    """Of a tool's or retriever's call."""
    return _digest(str(asked))


def _digest(value: Any) -> int | None:
    if not is_small(value):
        return None
    return hash(canonical(value, extend))
