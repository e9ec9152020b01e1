"""Embeddings, one by one: of a request for many, what is known already, and what must be asked for."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["Inputs"]


class Inputs:
    """One request for embeddings, as its texts (or lists of tokens): each has an entry of its own in the cache.

    request:  the body, with its `input` settled
    key_of:   the key of one input, among those of requests that are alike in all the rest
    """

    def __init__(self, request: Mapping[str, Any], key_of: Callable[[object], str]) -> None:
        given = request["input"]
        self._is_one = isinstance(given, str) or (len(given) > 0 and isinstance(given[0], int))
        self._items = [_item(one) for one in ([given] if self._is_one else given)]
        self._request = request
        self.keys = [key_of(item) for item in self._items]
        self._known: dict[int, Any] = {}

    def fill(self, found: Mapping[str, Any]) -> None:
        """Take what the cache has, by key."""
        for at, key in enumerate(self.keys):
            vector = vector_of(found.get(key))
            if vector is not None:
                self._known[at] = vector

    def missing(self) -> tuple[dict[str, Any], list[int]] | None:
        """The request for what is not known, each input once, and the places they have; None: all is known."""
        first: dict[Any, int] = {}
        for at, item in enumerate(self._items):
            if at not in self._known:
                first.setdefault(item, at)
        if not first:
            return None
        wanted: Any = [item if isinstance(item, str) else list(item) for item in first]
        return {**self._request, "input": wanted[0] if self._is_one else wanted}, list(first.values())

    def learn(self, answer: Any, places: list[int]) -> dict[str, bytes] | None:
        """Take the vectors that came, and say what to keep by key; None: it was not one for each input."""
        vectors = sorted(answer.data or (), key=lambda one: one.index)
        if [one.index for one in vectors] != list(range(len(places))):
            return None
        told = {self._items[at]: one.embedding for at, one in zip(places, vectors, strict=True)}
        for at, item in enumerate(self._items):
            if at not in self._known:
                self._known[at] = told[item]
        return {self.keys[at]: bytes_of(self._known[at]) for at in places}

    def answer(self, usage: Mapping[str, int] | None, model: str) -> dict[str, Any]:
        """The whole answer as the API gives it.  usage: of what was asked for now; None: nothing was."""
        data = [
            {"object": "embedding", "index": at, "embedding": _own(self._known[at])} for at in range(len(self._items))
        ]
        return {
            "object": "list",
            "data": data,
            "model": model,
            "usage": usage or {"prompt_tokens": 0, "total_tokens": 0},
        }


def _item(given: Any) -> Any:
    return given if isinstance(given, str) else tuple(given)


def _own(vector: Any) -> Any:
    """Equal inputs do not share a list."""
    return vector if isinstance(vector, str) else list(vector)


def bytes_of(vector: str | Sequence[float]) -> bytes:
    """A vector as single floats, where that is what they are; else as doubles; else the text that was asked for."""
    if isinstance(vector, str):
        return b"s" + vector.encode()
    doubles = array("d", vector)
    singles = array("f", doubles)
    return b"f" + singles.tobytes() if singles.tolist() == doubles.tolist() else b"d" + doubles.tobytes()


def vector_of(entry: Any) -> Any:
    """None: nothing there, or nothing of ours."""
    if not isinstance(entry, bytes) or len(entry) < 2:
        return None
    if entry[:1] == b"s":
        return entry[1:].decode()
    if entry[:1] not in (b"f", b"d"):
        return None
    vector = array(entry[:1].decode())
    if (len(entry) - 1) % vector.itemsize:
        return None
    vector.frombytes(entry[1:])
    return vector.tolist()
