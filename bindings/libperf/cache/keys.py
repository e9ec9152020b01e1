"""What a cached value is found by: the same bytes for the same thing, in every process.

A key is walked into bytes: the order of a dict means nothing, sets are sorted, and every type says which it is, so that
1, 1.0, True, "1" and b"1" are five keys. What has no plain form has one here (numpy arrays, pydantic models,
dataclasses, enums, dates, paths, ...) or is given one by register_key(). There is no fallback to repr() or pickle: an
object that happens to print alike must never be answered with another one's value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from inspect import Parameter, signature
from typing import Any, NamedTuple, TypeVar

from .._codec import Unencodable, call_key, canonical, hash, key
from .forms import extend, register

__all__ = [
    "Key",
    "Unencodable",
    "arguments_key",
    "label_of_namespace",
    "label_of_scope",
    "label_of_tag",
    "make_key",
    "register_key",
]

T = TypeVar("T")
Scope = str | bytes | int | None


class Key(NamedTuple):
    """What an entry is stored by."""

    full: bytes  # all of namespace, scope and key; above 256 bytes b"\xff" and the BLAKE2b-256 of them
    digest: bytes  # 16 bytes of it, to look up by; whoever finds something compares `full`


def make_key(namespace: str, scope: Scope, key_: object) -> Key:
    """The key of an object. Raises Unencodable (a TypeError), which says what in it has no canonical form.

    scope:  who may see the value, for example a tenant: part of every key, never of the payload
    """
    return key(Key, namespace, scope, key_, extend)


# ---- labels: what entries are invalidated by ----


def label_of_namespace(namespace: str) -> int:
    return hash(b"n\0" + namespace.encode("utf-8", "surrogatepass"))


def label_of_scope(namespace: str, scope: Scope) -> int:
    return hash(b"s\0" + namespace.encode("utf-8", "surrogatepass") + b"\0" + canonical(scope, extend))


def label_of_tag(tag: str) -> int:
    return hash(b"t\0" + tag.encode("utf-8", "surrogatepass"))


# ---- calls ----


def arguments_key(
    function: Callable[..., Any], ignore: Collection[str] = ()
) -> Callable[[str, Scope, tuple[Any, ...], dict[str, Any]], Key]:
    """Make what makes the keys of a function's calls: (namespace, scope, args, kwargs) -> Key.

    f(1, b=2), f(1, 2) and f(a=1, b=2) have one key. An argument that is left out is not the same as its default given:
    f(1) and f(1, None) have two keys, as with functools.lru_cache. The defaults themselves are part of the key of every
    call, so that changing one in the code does not find values of the old one.
    The `self` of a method is an argument like the others: its class needs a canonical form (a dataclass has one,
    register_key() gives one), or is ignored.
    ignore:  names of parameters that make no difference to the result
    """
    try:
        parameters = tuple(signature(function).parameters.values())
    except (TypeError, ValueError):  # some builtins have none
        parameters = ()
    mark = _mark_of_defaults(parameters)
    if ignore:
        return _keys_by_name(parameters, frozenset(ignore), mark)
    movable = tuple(p.name if p.kind is Parameter.POSITIONAL_OR_KEYWORD else None for p in parameters)

    def key_of_call(namespace: str, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Key:
        if not kwargs:
            return call_key(Key, namespace, scope, args, None, mark, extend)
        named, given = kwargs, list(args)
        for name in movable[len(args) :]:
            if name is None or name not in named:
                break
            if named is kwargs:
                named = dict(kwargs)
            given.append(named.pop(name))
        return call_key(Key, namespace, scope, tuple(given), named or None, mark, extend)

    return key_of_call


def _keys_by_name(
    parameters: tuple[Parameter, ...], ignore: frozenset[str], mark: int
) -> Callable[[str, Scope, tuple[Any, ...], dict[str, Any]], Key]:
    """Every argument under its parameter's name: so some can be left out wherever they stand."""
    if unknown := ignore - {p.name for p in parameters}:
        raise ValueError(f"ignore={sorted(unknown)}: the function has no such parameter")
    positional = [p.name for p in parameters if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind is Parameter.VAR_POSITIONAL), None)
    more = next((p.name for p in parameters if p.kind is Parameter.VAR_KEYWORD), None)
    names = {p.name for p in parameters if p.kind is not Parameter.POSITIONAL_ONLY}

    def key_of_call(namespace: str, scope: Scope, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Key:
        named = dict(zip(positional, args, strict=False))
        others = {name: value for name, value in kwargs.items() if name not in names}
        named.update((name, value) for name, value in kwargs.items() if name in names)
        for name in ignore:
            named.pop(name, None)
        beyond = () if rest in ignore else args[len(positional) :]
        return call_key(Key, namespace, scope, (*beyond, others if more not in ignore else {}), named, mark, extend)

    return key_of_call


def _mark_of_defaults(parameters: tuple[Parameter, ...]) -> int:
    """A number that changes with the defaults. Of one without a canonical form only its name counts."""
    forms = []
    for parameter in parameters:
        if parameter.default is not Parameter.empty:
            try:
                forms.append((parameter.name, canonical(parameter.default, extend)))
            except Unencodable:
                forms.append((parameter.name, b""))
    return hash(canonical(forms)) >> 1 if forms else 0


def register_key(cls: type[T], form: Callable[[T], object]) -> None:
    """Say what objects of a class, and of its subclasses, are the same by: `form` gives something that has a canonical
    form, for example a tuple of what matters. The class's own name is part of the key anyway."""
    register(cls, form)
