"""Keys: the same for the same thing in every process, and never the same for two things that a function could tell
apart."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import hashlib
import itertools
import math
import os
import pathlib
import re
import subprocess
import sys
import types
import uuid
import zoneinfo
from typing import Any, NamedTuple

import pytest

from libperf import _codec
from libperf._core import ffi, lib
from libperf.cache.keys import (
    Key,
    Unencodable,
    label_of_namespace,
    label_of_scope,
    label_of_tag,
    make_key,
    register_key,
)


def key(thing: object) -> Key:
    return make_key("test", None, thing)


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Word(enum.StrEnum):
    RED = "1"


class Flags(enum.Flag):
    A = 1
    B = 2


class Point(NamedTuple):
    x: int
    y: int


class Place(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Config:
    model: str
    limits: list[int]
    cache: object = dataclasses.field(default=None, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    model: str


class Text(str):
    pass


class Opaque:
    pass


# ---- what is different ----

NOON = datetime.datetime(2026, 1, 1, 12)
DIFFERENT: list[Any] = [
    None, False, True, 0, 1, -1, 0.0, -0.0, 1.0, math.nan, math.inf, "1", b"1", "", b"", "\u00e9", "e\u0301", "\ud800", "None",
    2**63, 2**64, -(2**63), -(2**63) - 1, 1j, decimal.Decimal("1"), decimal.Decimal("1.0"), fractions.Fraction(1),
    [], (), {}, set(), frozenset(), [1], (1,), {1}, frozenset([1]), {1: None}, {"1": None}, [[1]], [1, 1], {1: 2}, {2: 1},
    [None], [[]], [()], ((),), {"a": 1, "b": None}, {"a": 1}, [1, [2]], [[1], 2], [1, 2], range(1), range(2), range(0, 2, 2),
    bytearray(b"1"), memoryview(b"1"), array.array("b", [49]), array.array("B", [49]), ..., NotImplemented,
    Colour.RED, Colour.GREEN, Word.RED, Flags.A, Flags.A | Flags.B, Point(1, 2), Place(1, 2), (1, 2), Text("1"),
    Config("m", [1]), Config("m", [2]), Slotted("m"), {"model": "m"}, collections.OrderedDict(a=1, b=2),
    collections.OrderedDict(b=2, a=1), {"a": 1, "b": 2}, collections.deque([1]), collections.defaultdict(list, {1: 2}),
    types.MappingProxyType({1: 2}), NOON, NOON.date(), NOON.time(), NOON.replace(tzinfo=datetime.UTC), NOON.replace(fold=1),
    NOON.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Vienna")), NOON.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    datetime.timedelta(1), datetime.timedelta(seconds=1), datetime.UTC, zoneinfo.ZoneInfo("Europe/Vienna"),
    uuid.UUID(int=1), pathlib.PurePosixPath("1"), pathlib.Path("1"), pathlib.PureWindowsPath("1"), re.compile("1"),
    re.compile("1", re.IGNORECASE), re.compile(b"1"), slice(1), slice(1, 2), int, str, Point, collections.OrderedDict,
    "x" * 300, "x" * 301, ["x" * 300], [b"x" * 300],
]  # fmt: skip


def test_whatever_can_be_told_apart_has_a_key_of_its_own() -> None:
    """Types, signs, orders that mean something, what is nested how."""
    keys = [key(thing) for thing in DIFFERENT]
    pairs = itertools.combinations(range(len(keys)), 2)
    assert [(DIFFERENT[a], DIFFERENT[b]) for a, b in pairs if keys[a].full == keys[b].full] == []
    assert len({k.digest for k in keys}) == len(keys)


def test_whatever_is_the_same_has_one_key() -> None:
    """The order of dicts and sets, the object it is, and which NaN, mean nothing."""
    assert key({"a": 1, "b": {"c": [1], "d": None}}) == key({"b": {"d": None, "c": [1]}, "a": 1})
    assert key({"b", "a", 1, None}) == key({None, 1, "a", "b"})
    assert key({i: str(i) for i in range(1000)}) == key({i: str(i) for i in reversed(range(1000))})
    assert key(math.nan) == key(-math.nan)
    assert key(Config("m", [1], cache=Opaque())) == key(Config("m", [1]))
    assert key("".join(["a", "b"])) == key("ab")
    assert key(NOON) == key(datetime.datetime.fromisoformat("2026-01-01T12:00:00"))


def test_a_key_is_the_same_in_every_process() -> None:
    """Hash randomisation moves sets and dicts about; nothing of it is in a key."""
    program = (
        "from libperf.cache.keys import make_key, label_of_scope;"
        "print(make_key('n', 't', {'b': {'x', 'y', 'z', 1.5}, 'a': [None, b'1', 2**70]}).full.hex(), label_of_scope('n', 't'))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in range(4)
    }
    assert len(seen) == 1


# ---- what a key is made of ----


def test_a_short_key_is_the_canonical_bytes() -> None:
    """(namespace, scope, key), and its XXH3-128."""
    short = make_key("n", "s", "k")
    assert short.full == b"\x73\x41n\x41s\x41k" == _codec.canonical(("n", "s", "k"))
    digest = ffi.new("uint8_t[16]")
    lib.perf_digest(short.full, len(short.full), digest)
    assert short.digest == bytes(digest)


@pytest.mark.parametrize("length", [240, 247, 248, 249, 250, 1000, 100_000])
def test_a_long_key_is_its_fingerprint(length: int) -> None:
    """Above 256 bytes, BLAKE2b takes their place; no canonical form begins like it."""
    canonical = _codec.canonical(("n", None, "k" * length))
    full = make_key("n", None, "k" * length).full
    if len(canonical) <= 256:
        assert full == canonical
    else:
        assert full == b"\xff" + hashlib.blake2b(canonical, digest_size=32).digest()


def test_scopes_and_namespaces_are_apart() -> None:
    """No text in a key makes it look like another scope's or namespace's."""
    keys = {
        make_key(namespace, scope, thing)
        for namespace in ("a", "ab", "")
        for scope in (None, "a", b"a", "", 1, 0, "1")
        for thing in ("a", "", ("a", None))
    }
    assert len(keys) == 3 * 7 * 3


def test_labels() -> None:
    """Namespaces, scopes and tags of one name have labels of their own; 64 bits."""
    labels = [
        label_of_namespace("a"), label_of_tag("a"), label_of_scope("a", None), label_of_scope("a", "a"),
        label_of_scope("a", b"a"), label_of_scope("a", 1), label_of_scope("a", "1"), label_of_namespace("aa"),
    ]  # fmt: skip
    assert len(set(labels)) == len(labels)
    assert all(0 <= label < 2**64 for label in labels)
    assert label_of_namespace("a") == lib.perf_hash(b"n\0a", 3)


# ---- what has none ----


def test_errors_say_where() -> None:
    """By the path to what has no canonical form."""
    with pytest.raises(Unencodable, match=re.escape("key['messages'][1]['client']: <class") + ".*Opaque.*pass key="):
        key({"messages": ["a", {"client": Opaque()}]})
    with pytest.raises(Unencodable, match=re.escape("key[0].model: <class")):
        key([Config(Opaque(), [])])  # type: ignore[arg-type]
    with pytest.raises(Unencodable, match=r"^scope: <class"):
        make_key("n", Opaque(), 1)  # type: ignore[arg-type]
    with pytest.raises(Unencodable, match=re.escape("key{}: <class")):
        key({Opaque()})
    with pytest.raises(Unencodable, match=r"key.Opaque.: <class"):
        key({Opaque(): 1})


@pytest.mark.parametrize("thing", [Opaque(), lambda: 1, len, iter([]), (x for x in ""), os, object(), open, [].append])
def test_what_has_no_canonical_form(thing: object) -> None:
    """Functions, iterators, modules: that two of them look alike means nothing."""
    with pytest.raises(Unencodable):
        key(thing)
    assert issubclass(Unencodable, TypeError)


def test_a_class_of_this_program_only_has_none() -> None:
    """Another one may have its name tomorrow."""

    class Local:
        pass

    with pytest.raises(Unencodable, match="only this program knows"):
        key(Local)


def test_what_holds_itself() -> None:
    """Is said so, and nothing overflows."""
    holds_itself: list[Any] = []
    holds_itself.append({"a": (holds_itself,)})
    with pytest.raises(Unencodable, match="it holds itself"):
        key(holds_itself)
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(Unencodable, match="nested too deep"):
        key(deep)


def test_register_key() -> None:
    """A class, and its subclasses, are what their form says."""

    class Client:
        def __init__(self, url: str) -> None:
            self.url = url

    class Other(Client):
        pass

    register_key(Client, lambda client: client.url)
    assert key(Client("a")) == key(Client("a")) != key(Client("b"))
    assert key(Client("a")) != key(Other("a")) == key(Other("a"))
    with pytest.raises(TypeError, match="not a class"):
        register_key("Client", lambda client: client.url)  # type: ignore[arg-type]


def test_a_form_that_raises() -> None:
    """Its error is the cause; what interrupts goes through as it is."""

    class Raises:
        error: BaseException

    def form(value: Raises) -> object:
        raise value.error

    register_key(Raises, form)
    raises = Raises()
    raises.error = KeyError("k")
    with pytest.raises(Unencodable, match=r"key\[0\].*KeyError\('k'\)") as caught:
        key([raises])
    assert caught.value.__cause__ is raises.error
    raises.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        key([raises])


def test_a_form_that_changes_what_is_walked() -> None:
    """Is noticed, and nothing is read that is gone."""

    class Changes:
        def __init__(self, change: Any) -> None:
            self.change = change

    register_key(Changes, lambda value: value.change())
    for container, put in (
        ([], lambda c, x: c.append(x)),
        ({}, lambda c, x: c.__setitem__(x, x)),
        (set(), lambda c, x: c.add(x)),
    ):
        container: Any
        put(container, Changes(container.clear))
        for i in range(5):
            put(container, i)
        with pytest.raises((Unencodable, RuntimeError)):
            key(container)
    grows: list[Any] = []
    grows.append(Changes(lambda: grows.extend([1] * 1000)))
    with pytest.raises(Unencodable, match="changed meanwhile"):
        key(grows)


# ---- other people's types ----


def test_numpy() -> None:
    """Arrays by type, shape and content, however they lie in memory; scalars are not Python's."""
    np = pytest.importorskip("numpy")
    a = np.arange(6)
    things = [
        a,
        a.astype("f8"),
        a.reshape(2, 3),
        a.reshape(3, 2),
        a[::-1],
        np.float64(1),
        np.float32(1),
        np.int64(1),
        1,
        1.0,
    ]
    assert len({key(thing) for thing in things}) == len(things)
    assert key(a.reshape(2, 3)) == key(np.asfortranarray(a.reshape(2, 3))) == key(np.arange(12)[::2].reshape(2, 3) // 2)
    with pytest.raises(Unencodable, match="array of objects"):
        key(np.array([Opaque()]))


def test_pydantic() -> None:
    """Models by their class and fields; a field that was left out is not the same as its default."""
    pydantic = pytest.importorskip("pydantic")

    class Request(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        model: str
        temperature: float | None = None

    class Answer(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        model: str
        temperature: float | None = None

    assert key(Request(model="m")) == key(Request(model="m"))
    keys = {
        key(thing)
        for thing in (
            Request(model="m"),
            Request(model="n"),
            Request(model="m", temperature=None),
            Request(model="m", temperature=0),
            Answer(model="m"),
        )
    }
    assert len(keys) == 5
