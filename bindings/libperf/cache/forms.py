"""Canonical forms of what is not plain: (name of the type, something plain). Two objects are one key exactly when their
forms are equal; so a form leaves out nothing that a function could tell apart."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import re
import sys
import types
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, cast

__all__ = ["extend", "name_of", "register"]

Form = Callable[[Any], object]


def name_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# ---- types of the standard library: exactly these, a subclass may know more ----


def _datetime(value: datetime.datetime) -> object:
    return value.replace(tzinfo=None).isoformat(), value.fold, _zone(value)


def _zone(value: datetime.datetime | datetime.time) -> object:
    return None if value.tzinfo is None else (str(value.tzinfo), str(value.utcoffset()))


def _class(value: type) -> object:
    if "<locals>" in value.__qualname__ or value.__module__ == "__main__":
        raise ValueError("a class that only this program knows")
    return name_of(value)


_EXACT: dict[type, Form] = {
    array.array: lambda value: (value.typecode, value.tobytes()),
    bytearray: bytes,
    collections.OrderedDict: lambda value: list(value.items()),
    collections.defaultdict: dict,
    collections.deque: list,
    complex: lambda value: (value.real, value.imag),
    datetime.date: lambda value: value.isoformat(),
    datetime.datetime: _datetime,
    datetime.time: lambda value: (value.replace(tzinfo=None).isoformat(), value.fold, _zone(value)),
    datetime.timedelta: lambda value: (value.days, value.seconds, value.microseconds),
    datetime.timezone: str,
    decimal.Decimal: str,
    fractions.Fraction: lambda value: (value.numerator, value.denominator),
    memoryview: lambda value: (value.format, value.shape, value.tobytes()),
    pathlib.PosixPath: str,
    pathlib.PurePosixPath: str,
    pathlib.PureWindowsPath: str,
    pathlib.WindowsPath: str,
    range: lambda value: (value.start, value.stop, value.step),
    re.Pattern: lambda value: (value.pattern, value.flags),
    slice: lambda value: (value.start, value.stop, value.step),
    types.EllipsisType: lambda value: None,
    types.MappingProxyType: dict,
    types.NotImplementedType: lambda value: None,
    uuid.UUID: lambda value: value.bytes,
    zoneinfo.ZoneInfo: lambda value: _named_zone(value),
}


def _named_zone(value: zoneinfo.ZoneInfo) -> object:
    if value.key is None:
        raise ValueError("a time zone without a name")
    return value.key


# ---- kinds of classes ----


def _enum(value: enum.Enum) -> object:
    return value.name if value.name is not None else value.value


def _dataclass(value: Any) -> object:
    """The fields that its == compares, as a dict: errors then say .field"""
    return {name: getattr(value, name) for name, field in type(value).__dataclass_fields__.items() if _counts(field)}


def _counts(field: Any) -> bool:
    return bool(field.compare) and field._field_type.name == "_FIELD"


def _pydantic(value: Any) -> object:
    """Its fields, and which of them were given: a request's omitted field is not the same as its default."""
    fields = dict(value.__dict__)
    if extra := getattr(value, "__pydantic_extra__", None):
        fields.update(extra)
    given = getattr(value, "__pydantic_fields_set__", None)  # version 2
    fields["__fields_set__"] = set(getattr(value, "__fields_set__", ()) if given is None else given)
    return fields


def _numpy_array(value: Any) -> object:
    if value.dtype.hasobject:
        raise ValueError("an array of objects")
    return value.dtype.descr if value.dtype.fields else value.dtype.str, value.shape, value.tobytes()


def _numpy_scalar(value: Any) -> object:
    if value.dtype.hasobject:
        raise ValueError("a record of objects")
    return value.dtype.str, value.tobytes()


# A subclass of a plain type: what it is as that type, and what it knows beyond.
_PLAIN: tuple[tuple[type, Form], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, lambda value: bytes.__getitem__(value, slice(None))),
    (tuple, lambda value: tuple(tuple.__iter__(value))),
    (list, lambda value: list(list.__iter__(value))),
    (dict, lambda value: list(dict.items(value))),  # subclasses have an order on purpose
    (frozenset, lambda value: frozenset(frozenset.__iter__(value))),
    (set, lambda value: set(set.__iter__(value))),
)


def _plain(base: Form) -> Form:
    def form(value: Any) -> object:
        return base(value), getattr(value, "__dict__", None) or None

    return form


def _is_pydantic(cls: type) -> bool:
    return any(base.__name__ == "BaseModel" and base.__module__.startswith("pydantic") for base in cls.__mro__)


def _numpy_form(cls: type) -> Form | None:
    numpy = cast(Any, sys.modules.get("numpy"))
    if numpy is None or cls.__module__.partition(".")[0] != "numpy":
        return None
    if cls is numpy.ndarray:
        return _numpy_array
    return _numpy_scalar if issubclass(cls, numpy.generic) else None


def _kind(cls: type) -> Form | None:
    if issubclass(cls, enum.Enum):
        return _enum
    if issubclass(cls, type):
        return _class
    if numpy_form := _numpy_form(cls):
        return numpy_form
    if "pydantic" in sys.modules and _is_pydantic(cls):
        return _pydantic
    if hasattr(cls, "__dataclass_fields__"):
        return _dataclass
    return next((_plain(form) for base, form in _PLAIN if issubclass(cls, base)), None)


_registered: dict[type, Form] = {}


def register(cls: type, form: Form) -> None:
    if not isinstance(cls, type):
        raise TypeError(f"register_key({cls!r}): not a class")
    _registered[cls] = form


def extend(value: object) -> tuple[str, object] | None:
    """For the codec: the form of what is not plain; None: it has none."""
    cls = type(value)
    form = _EXACT.get(cls)
    if _registered:
        form = next((_registered[base] for base in cls.__mro__ if base in _registered), form)
    form = form or _kind(cls)
    return None if form is None else (name_of(cls), form(value))
