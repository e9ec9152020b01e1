"""What a caller gets of a value in memory: the object itself, or a copy that is his to change.

"none"     the object: fastest; whoever changes it changes it for all
"shallow"  of a dict, list, set, bytearray or deque a copy, of everything else the object: `found["x"] = 1` and
           `found.append()` do not reach the cache, changes deeper inside do
"deep"     a copy.deepcopy() of everything that can be changed
"""

import copy
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

from ..errors import InvalidError

__all__ = ["copied_types", "copier"]

_ATOMS = (str, int, float, bool, complex, bytes, type(None), type(Ellipsis), range)
_SHALLOW: dict[type, Callable[[Any], Any]] = {
    dict: dict.copy,
    list: list.copy,
    set: set.copy,
    bytearray: bytearray.copy,
    deque: deque.copy,
    OrderedDict: OrderedDict.copy,
    defaultdict: defaultdict.copy,
}
_DEEP: dict[type, Callable[[Any], Any] | None] = dict.fromkeys(_ATOMS)

Copier = Callable[[Any], Any]


def _shallow(value: Any) -> Copier | None:
    return _SHALLOW.get(type(value))


def _deep(value: Any) -> Copier | None:
    return _DEEP.get(type(value), copy.deepcopy)


def _none(value: Any) -> Copier | None:
    return None


_WAYS = {"none": _none, "shallow": _shallow, "deep": _deep}


def copier(way: str) -> Callable[[Any], Copier | None]:
    """A function that says how a value is copied; None: not at all."""
    try:
        return _WAYS[way]
    except (KeyError, TypeError):
        raise InvalidError(f'copy={way!r}: use one of "none", "shallow", "deep"') from None


def copied_types(way: str) -> frozenset[type] | None:
    """The types that are copied; None: not known beforehand."""
    return {"none": frozenset[type](), "shallow": frozenset(_SHALLOW)}.get(way)
