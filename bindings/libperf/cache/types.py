"""The types that values may have beside plain ones: each has a name, a way to something plain, and a way back."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import pathlib
import threading
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

from .forms import name_of

__all__ = ["extend", "register_later", "register_type", "revive"]

T = TypeVar("T")


class _Type(NamedTuple):
    cls: type
    name: str
    encode: Callable[[Any], object]
    decode: Callable[[Any], object]


_by_class: dict[type, _Type] = {}
_by_name: dict[str, _Type] = {}
_later: dict[str, Callable[[], object]] = {}
_loading = threading.RLock()


def register_type(
    cls: type[T],
    encode: Callable[[T], object] | None = None,
    decode: Callable[[Any], T] | None = None,
    *,
    name: str | None = None,
) -> type[T]:
    """Let values of exactly this class be stored on disk and in Redis, and be made again from what is found there.

    encode:  object -> something plain, or of registered types
    decode:  the other way. It is given what a tier held: treat it as foreign.
    name:    what the class is called in stored bytes; default: "module.Class". Renaming makes stored values misses.
    For a dataclass, a pydantic model, a NamedTuple or an Enum the class alone is enough: its fields are stored, and put
    back as they were without running its code (private attributes of a model get their defaults); values stored with
    other fields than the class has now are misses. Classes of its fields are registered on their own.
    Usable as a decorator.
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_type({cls!r}): not a class")
    if (encode is None) != (decode is None):
        raise TypeError(f"register_type({cls.__name__}): give both encode and decode, or neither")
    if encode is None or decode is None:
        encode, decode = _ways_of(cls)
    name = name or name_of(cls)
    before = _by_name.get(name)
    if before is not None and name_of(before.cls) != name_of(cls):
        raise ValueError(f"register_type({cls.__name__}): {name!r} is the name of {before.cls!r}")
    _by_class[cls] = _by_name[name] = _Type(cls, name, encode, decode)
    return cls


def register_later(prefix: str, load: Callable[[], object]) -> None:
    """Call `load` once, to register types, when one is met whose name begins with `prefix`, like "langchain_core."."""
    _later[prefix] = load


def extend(value: object) -> tuple[str, object] | None:
    """For the codec: what to store for what is not plain; None: it cannot be stored."""
    cls = type(value)
    found = _by_class.get(cls)
    if found is None and _load(name_of(cls)):
        found = _by_class.get(cls)
    return None if found is None else (found.name, found.encode(value))


def revive(name: str, plain: Any) -> object:
    """For the codec: the object again. LookupError: nobody registered it."""
    found = _by_name.get(name)
    if found is None and _load(name):
        found = _by_name.get(name)
    if found is None:
        raise LookupError(f"{name!r} is not a registered type")
    return found.decode(plain)


def _load(name: str) -> bool:
    """Register what belongs to that name. Who comes meanwhile waits, for to him the types would be unknown."""
    for prefix in [prefix for prefix in _later if name.startswith(prefix)]:
        with _loading:
            if load := _later.get(prefix):
                load()
                del _later[prefix]
        return True
    return False


# ---- one line: classes whose fields say everything ----


def _ways_of(cls: type) -> tuple[Callable[[Any], object], Callable[[Any], Any]]:
    if issubclass(cls, enum.Enum):
        return (lambda value: value.name), (lambda name: cls[name])
    if hasattr(cls, "__dataclass_fields__"):  # before pydantic, which makes dataclasses too
        return _dataclass_ways(cls)
    if hasattr(cls, "model_fields") and hasattr(cls, "__pydantic_validator__"):
        return _pydantic_ways(cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return tuple, (lambda fields: tuple.__new__(cls, _as_many(fields, cast(Any, cls)._fields)))
    raise TypeError(f"register_type({cls.__name__}): say how, with encode= and decode=")


def _as_many(found: Any, expected: Any) -> Any:
    if len(found) != len(expected):
        raise LookupError("stored with other fields")
    return found


def _same_names(found: Any, expected: frozenset[str]) -> Any:
    if found.keys() != expected:
        raise LookupError("stored with other fields")
    return found


def _dataclass_ways(cls: Any) -> tuple[Callable[[Any], object], Callable[[Any], Any]]:
    names = [name for name, field in cls.__dataclass_fields__.items() if field._field_type.name == "_FIELD"]
    expected = frozenset(names)

    def encode(value: Any) -> object:
        return {name: getattr(value, name) for name in names}

    def decode(fields: Any) -> object:
        made = object.__new__(cls)
        for name, value in _same_names(fields, expected).items():
            object.__setattr__(made, name, value)
        return made

    return encode, decode


_NONE = object()


def _default(attribute: Any) -> object:
    """Of a private attribute, which is not stored: it is often a client, or a lock."""
    value = attribute.get_default()
    return _NONE if type(value).__name__ == "PydanticUndefinedType" else value


def _pydantic_ways(cls: Any) -> tuple[Callable[[Any], object], Callable[[Any], Any]]:
    def encode(value: Any) -> object:
        return {
            "fields": dict(value.__dict__),
            "extra": value.__pydantic_extra__,
            "set": sorted(value.__pydantic_fields_set__),
        }

    def decode(parts: Any) -> object:
        made = cls.__new__(cls)
        _same_names(parts["fields"], frozenset(cls.model_fields))
        object.__setattr__(made, "__dict__", parts["fields"])
        object.__setattr__(made, "__pydantic_extra__", parts["extra"])
        object.__setattr__(made, "__pydantic_fields_set__", set(parts["set"]))
        private = {name: _default(attribute) for name, attribute in cls.__private_attributes__.items()}
        object.__setattr__(made, "__pydantic_private__", {k: v for k, v in private.items() if v is not _NONE} or None)
        return made

    return encode, decode


# ---- the standard library, and numpy ----


def _datetime(value: datetime.datetime) -> object:
    return value.replace(tzinfo=None).isoformat(), value.fold, _zone(value.tzinfo)


def _zone(zone: datetime.tzinfo | None) -> object:
    if zone is None or type(zone) in (datetime.timezone, zoneinfo.ZoneInfo):
        return zone
    raise ValueError(f"a time zone of type {type(zone).__name__}")


def _revive_datetime(parts: Any) -> datetime.datetime:
    text, fold, zone = parts
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def _revive_time(parts: Any) -> datetime.time:
    text, fold, zone = parts
    return datetime.time.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def _timezone(value: datetime.timezone) -> object:
    return value.utcoffset(None), value.tzname(None)


def _revive_timezone(parts: Any) -> datetime.timezone:
    offset, name = parts
    plain = datetime.timezone(offset)
    return plain if plain.tzname(None) == name else datetime.timezone(offset, name)


def _zone_key(value: zoneinfo.ZoneInfo) -> str:
    if value.key is None:
        raise ValueError("a time zone without a name")
    return value.key


def _array(parts: Any) -> array.array[Any]:
    typecode, items = parts
    return array.array(typecode, items) if items else array.array(typecode)


def _builtin(cls: type, name: str, encode: Callable[[Any], object], decode: Callable[[Any], object]) -> None:
    _by_class[cls] = _by_name[name] = _Type(cls, name, encode, decode)


_builtin(array.array, "array", lambda value: (value.typecode, value.tolist()), _array)
_builtin(bytearray, "bytearray", bytes, bytearray)
_builtin(collections.OrderedDict, "OrderedDict", lambda value: list(value.items()), collections.OrderedDict)
_builtin(collections.deque, "deque", lambda value: (list(value), value.maxlen), lambda parts: collections.deque(*parts))
_builtin(complex, "complex", lambda value: (value.real, value.imag), lambda parts: complex(*parts))
_builtin(datetime.date, "date", lambda value: value.isoformat(), datetime.date.fromisoformat)
_builtin(datetime.datetime, "datetime", _datetime, _revive_datetime)
_builtin(
    datetime.time,
    "time",
    lambda value: (value.replace(tzinfo=None).isoformat(), value.fold, _zone(value.tzinfo)),
    _revive_time,
)
_builtin(
    datetime.timedelta,
    "timedelta",
    lambda value: (value.days, value.seconds, value.microseconds),
    lambda parts: datetime.timedelta(*parts),
)
_builtin(datetime.timezone, "timezone", _timezone, _revive_timezone)
_builtin(zoneinfo.ZoneInfo, "ZoneInfo", _zone_key, zoneinfo.ZoneInfo)
_builtin(decimal.Decimal, "Decimal", str, decimal.Decimal)
_builtin(
    fractions.Fraction,
    "Fraction",
    lambda value: (value.numerator, value.denominator),
    lambda parts: fractions.Fraction(*parts),
)
_builtin(range, "range", lambda value: (value.start, value.stop, value.step), lambda parts: range(*parts))
_builtin(uuid.UUID, "UUID", lambda value: value.bytes, lambda raw: uuid.UUID(bytes=raw))
for _path in (pathlib.PosixPath, pathlib.PurePosixPath, pathlib.PureWindowsPath):
    _builtin(_path, _path.__name__, str, _path)


_NUMPY_KINDS = "biufcSUmM"  # numbers, text, dates: never objects


def _load_numpy() -> None:
    """Only where numpy is imported already, or an array was stored."""
    import numpy

    def encode(value: Any) -> object:
        if value.dtype.kind not in _NUMPY_KINDS:
            raise ValueError(f"numpy type {value.dtype}")
        return value.dtype.str, value.shape, value.tobytes()

    def decode(parts: Any) -> Any:
        text, shape, raw = parts
        dtype = numpy.dtype(text)
        if dtype.kind not in _NUMPY_KINDS:
            raise LookupError(f"numpy type {dtype}")
        return numpy.frombuffer(bytearray(raw), dtype).reshape(shape)

    def scalar(parts: Any) -> Any:
        return decode(parts)[()]

    _builtin(numpy.ndarray, "numpy.ndarray", encode, decode)
    for kind in {cls for cls in numpy.sctypeDict.values() if numpy.dtype(cls).kind in _NUMPY_KINDS}:
        _builtin(kind, f"numpy.{kind.__name__}", encode, scalar)


_later["numpy."] = _load_numpy


# ---- LangChain, LangGraph, OpenAI: only when one of theirs is met ----


def _load_langchain() -> None:
    from ..answers.langchain_types import register

    register()


def _load_langgraph() -> None:
    from ..answers.langchain_types import register_langgraph

    register_langgraph()


def _load_openai() -> None:
    from ..answers.openai_types import register

    register()


_later.update({"langchain_core.": _load_langchain, "langgraph.": _load_langgraph, "openai.": _load_openai})
