"""What a cached value is found by: the same bytes for the same thing, in every process.

A key is walked into bytes: the order of a dict means nothing, sets are sorted, and every type says which it is, so that
1, 1.0, True, "1" and b"1" are five keys. What has no plain form has one here (numpy arrays, pydantic models,
dataclasses, enums, dates, paths, ...) or is given one by register_key(). There is no fallback to repr() or pickle: an
object that happens to print alike must never be answered with another one's value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from .._codec import Unencodable, canonical, hash, key
from .forms import extend, register

__all__ = [
    "Key",
    "Unencodable",
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


def register_key(cls: type[T], form: Callable[[T], object]) -> None:
    """Say what objects of a class, and of its subclasses, are the same by: `form` gives something that has a canonical
    form, for example a tuple of what matters. The class's own name is part of the key anyway."""
    register(cls, form)
