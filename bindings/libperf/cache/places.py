"""Where a key lies in memory, and what else an operation knows of its key."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from .keys import Key, make_key

__all__ = ["PLAIN_IN_TUPLES", "Ask", "place_of"]

# one that is looked up in memory by itself; the types are exact, so 1, 1.0 and True stay three keys
PLAIN = (str, int)
PLAIN_IN_TUPLES = frozenset((str, int, bytes, type(None)))


class _Itself:
    """An argument without a canonical form, `self` for one: it is its own key, in memory only."""

    __slots__ = ("_hash", "_object")

    def __init__(self, object_: object) -> None:
        self._object = object_
        self._hash = hash(object_)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Itself)
            and type(other._object) is type(self._object)
            and (other._object is self._object or bool(other._object == self._object))
        )


@dataclass(frozen=True, slots=True)
class _Parts:
    """The place of a tuple of which some parts are their own keys."""

    scope: Any
    parts: tuple[Any, ...]


def place_of(key: Any, namespace: str, scope: Any, *, alone: bool, shared: bool) -> Any:
    """What the memory tier looks a key up by: two keys have one place only if they are the same key.

    alone:  the scope is the only one, so plain keys are their own places
    shared: tiers have it as well, so it needs a canonical form
    """
    kind = type(key)
    if alone and (kind in PLAIN or (kind is tuple and all(type(part) in PLAIN_IN_TUPLES for part in key))):
        return key
    try:
        return make_key(namespace, scope, key).full
    except TypeError:
        if shared or kind is not tuple:
            raise
        return _Parts(None if alone else scope, tuple(map(_part_of, key)))


def _part_of(part: object) -> Any:
    if type(part) in PLAIN_IN_TUPLES:
        return part
    try:
        return make_key("", None, part)
    except TypeError:
        if isinstance(part, Hashable) and not isinstance(part, (tuple, frozenset)):
            return _Itself(part)
        raise


class Ask:
    """One key that is looked for or stored: where it lies in memory, and what else is known of it."""

    __slots__ = ("_full", "_namespace", "key", "labels", "place", "scope", "ttl")

    def __init__(
        self, namespace: str, key: object, place: Any, scope: Any, labels: tuple[int, ...], ttl: float | None
    ) -> None:
        self._namespace = namespace
        self._full: Key | None = None
        self.key = key
        self.place = place
        self.scope = scope
        self.labels = labels
        self.ttl = ttl

    @property
    def full(self) -> Key:
        if self._full is None:
            self._full = make_key(self._namespace, self.scope, self.key)
        return self._full
