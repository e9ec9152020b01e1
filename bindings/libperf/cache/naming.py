"""What a cached function is called, and which code it is."""

import functools
from pathlib import Path
from types import CodeType
from typing import Any

from .._codec import canonical, hash

__all__ = ["name_of", "namespace_of"]


def name_of(function: Any) -> str:
    """Module and name, for reports."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{getattr(function, '__module__', None) or type(function).__module__}.{name}"


def namespace_of(function: Any) -> str:
    """The name, and a digest of the code: what yesterday's code returned, or that of another program whose file is
    `__main__` as well, is not found by today's. Functions that it calls do not count."""
    name = name_of(function)
    while (inner := getattr(function, "__wrapped__", None) or getattr(function, "func", None)) is not None:
        function = inner
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return name
    place = str(Path(code.co_filename).resolve()) if function.__module__ == "__main__" else ""
    return f"{name}@{hash(canonical((place, _form(code)))):016x}"


def _form(constant: object) -> object:
    """What of code makes a difference to what it does: not its lines, nor the names of its variables."""
    if isinstance(constant, CodeType):
        return (constant.co_code, constant.co_names, tuple(map(_form, constant.co_consts)))
    if isinstance(constant, tuple | frozenset):
        return tuple(sorted(map(repr, constant))) if isinstance(constant, frozenset) else tuple(map(_form, constant))
    return constant if isinstance(constant, (str, bytes, int, float, type(None))) else repr(constant)
