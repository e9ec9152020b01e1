"""Values: what was stored comes back equal and of the same types, and foreign bytes revive nothing."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import math
import pathlib
import random
import re
import tracemalloc
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from libperf import _codec
from libperf._codec import Undecodable, decode, encode
from libperf.cache.keys import label_of_namespace, label_of_tag, make_key
from libperf.cache.types import extend, revive
from libperf.cache.values import NEVER, Found, Unencodable, Values, register_later, register_type

KEY = make_key("test", None, "key")
LABELS = (label_of_namespace("test"), label_of_tag("t"))


@pytest.fixture
def values() -> Values:
    return Values(compression_threshold=None)


def pack(values: Values, value: object, **more: Any) -> bytes:
    return values.pack(value, KEY, **{"labels": LABELS, "created_ms": 1_700_000_000_000} | more)


def round_trip(value: object) -> Any:
    values = Values(compression_threshold=None)
    found = values.unpack(pack(values, value))
    assert found is not None
    return found.value


def same(a: object, b: object) -> bool:
    """Equal, and of the same types all the way down; NaN is NaN."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return math.copysign(1, a) == math.copysign(1, b) and (a == b or (a != a and b != b))  # type: ignore[arg-type]
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))  # type: ignore[arg-type]
    if isinstance(a, dict):
        return list(map(type, a)) == list(map(type, b)) and same(list(a.items()), list(b.items()))  # type: ignore[call-overload]
    return a == b


class Colour(enum.Enum):
    RED = 1
    GREEN = 2


class Point(NamedTuple):
    x: int
    y: object


@dataclasses.dataclass
class Answer:
    text: str
    parts: list[Any] = dataclasses.field(default_factory=list)
    length: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        self.length = len(self.text)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int


class Opaque:
    pass


NOON = datetime.datetime(2026, 1, 1, 12, 30, 0, 123456)
VALUES: list[Any] = [
    None, False, True, 0, -1, 11, 12, 255, 256, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**63) - 1, 2**71, -(2**71),
    2**1000, -(3**700), 0.0, -0.0, 1.5, math.inf, math.nan, 5e-324, "", "a", "é", "\U0001f600", "\ud800", "a\0b", "x" * 70_000,
    b"", b"\0\xff", bytes(300), [], [1], [[[]]], (), (1, "a"), {}, {"a": 1, 2: "b", None: [], (1, 2): {}}, {"b": 1, "a": 2},
    set(), {1, "a"}, frozenset(), frozenset({1, 2}), {frozenset(): 1}, [None] * 1000, list(range(5000)),
    bytearray(b"abc"), 1 + 2j, decimal.Decimal("1.10"), decimal.Decimal("NaN"), fractions.Fraction(1, 3), range(1, 10, 2),
    NOON, NOON.replace(tzinfo=datetime.UTC), NOON.replace(tzinfo=zoneinfo.ZoneInfo("Europe/Vienna"), fold=1),
    NOON.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=-3.5), "here")), NOON.date(), NOON.time(),
    NOON.timetz().replace(tzinfo=datetime.UTC), datetime.timedelta(-1, 5, 7), datetime.UTC, zoneinfo.ZoneInfo("Asia/Tokyo"),
    datetime.datetime.max, datetime.datetime.min, uuid.UUID(int=5), pathlib.Path("a/b"), pathlib.PurePosixPath("/x"),
    pathlib.PureWindowsPath("c:/x"), array.array("d", [1.5, 2.5]), array.array("i"), collections.OrderedDict(b=1, a=2),
    collections.deque([1, 2], 5),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}-{str(value)[:20]!r}")
def test_it_comes_back(value: object) -> None:
    """Equal, of the same type, in the same order."""
    if isinstance(value, decimal.Decimal) and value.is_nan():
        assert round_trip(value).is_nan()
        return
    back = round_trip(value)
    assert same(value, back)
    if isinstance(value, collections.OrderedDict):
        assert list(value) == list(back)
    if isinstance(value, (datetime.datetime, datetime.time)):
        assert (value.fold, str(value.tzinfo), repr(value)) == (back.fold, str(back.tzinfo), repr(back))
    if isinstance(value, collections.deque):
        assert value.maxlen == back.maxlen


def test_all_of_it_at_once() -> None:
    """Inside of each other, with one's references shared: they come back as copies."""
    shared = [1]
    assert same(round_trip([shared, shared, {"a": VALUES[:40]}]), [[1], [1], {"a": VALUES[:40]}])


# ---- entries ----


def test_an_entry_says_what_it_was_given(values: Values) -> None:
    entry = pack(values, {"a": 1}, fresh_ms=5, expires_ms=6, compute_us=7, flags=1)
    assert values.unpack(entry) == Found({"a": 1}, 1_700_000_000_000, 5, 6, 7, LABELS, 1)
    found = values.unpack(pack(values, None, compute_us=2**40))
    assert found == Found(None, 1_700_000_000_000, NEVER, NEVER, 2**32 - 1, LABELS, 0)


def test_wrong_arguments_of_entries(values: Values) -> None:
    with pytest.raises(OverflowError):
        pack(values, 1, created_ms=-1)
    with pytest.raises(ValueError, match="33 labels"):
        pack(values, 1, labels=[1] * 33)
    with pytest.raises(TypeError):
        pack(values, 1, labels=["a"])


def test_a_damaged_entry_is_a_miss(values: Values) -> None:
    """Any byte of it, any length of it; and it is counted."""
    entry = pack(values, {"a": [1, "text", 2.5]})
    for i in range(len(entry)):
        assert values.unpack(entry[:i] + bytes([entry[i] ^ 1]) + entry[i + 1 :]) is None
        assert values.unpack(entry[:i]) is None
    assert values.unpack(entry + b"x") is None
    assert values.stats()["damaged"] == 2 * len(entry) + 1


def test_an_entry_of_another_world_is_a_miss(values: Values) -> None:
    """Compressed in a way that is not known, or too large: nothing is reserved for it."""

    def made(method: int, raw_size: int, value: bytes = b"\x10") -> bytes:
        return _codec.entry_pack(KEY.full, value, LABELS, 1, 2, 3, 4, 0, method, 0, raw_size)

    assert values.unpack(made(0, 1)) is not None
    tracemalloc.start()
    try:
        assert values.unpack(made(9, 1)) is None
        assert values.unpack(made(1, 2**32 - 1)) is None
        assert values.unpack(made(0, 1, b"\xff")) is None
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert (values.damaged, values.unreadable) == (0, 3)


# ---- types ----


def test_an_unknown_type_is_not_stored(values: Values) -> None:
    """The error says where it is, and what to do."""
    with pytest.raises(
        Unencodable, match=re.escape("value['messages'][3]['client']: <class") + ".*Opaque.*register_type"
    ):
        pack(values, {"messages": [1, 2, 3, {"client": Opaque()}]})
    with pytest.raises(TypeError):
        pack(values, lambda: 1)


def test_a_subclass_is_another_type(values: Values) -> None:
    """It would come back as something less."""

    class Text(str):
        pass

    class Many(dict[str, int]):
        pass

    for thing in (
        Text("a"),
        Many(a=1),
        collections.Counter("a"),
        collections.defaultdict(list),
        Point(1, 2),
        Colour.RED,
    ):
        with pytest.raises(Unencodable):
            pack(values, [thing])


def test_one_line_is_enough_for_some(values: Values) -> None:
    """Dataclasses, NamedTuples and enums; a dataclass's code is not run."""
    for cls in (Answer, Frozen, Point, Colour):
        assert register_type(cls) is cls
    answer = Answer("four", [Frozen(1), Point(1, Colour.GREEN)])
    answer.length = 77
    back = round_trip(answer)
    assert back == answer and back.length == 77 and type(back.parts[1]) is Point
    with pytest.raises(TypeError, match="say how"):
        register_type(Opaque)
    with pytest.raises(TypeError, match="both"):
        register_type(Opaque, encode=str)
    with pytest.raises(TypeError, match="not a class"):
        register_type("Opaque")  # type: ignore[arg-type]


def test_errors_inside_a_registered_type_say_its_fields(values: Values) -> None:
    register_type(Answer)
    with pytest.raises(Unencodable, match=re.escape("value[0].parts[1]: <class")):
        pack(values, [Answer("a", [1, Opaque()])])


def test_pydantic_models() -> None:
    """With what was given and what was not, extras, private attributes; their validators do not run again."""
    pydantic = pytest.importorskip("pydantic")
    runs = []

    class Inner(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        x: int

    class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        model_config = pydantic.ConfigDict(extra="allow")
        inner: Inner = pydantic.Field(alias="Inner")
        when: datetime.datetime | None = None
        tags: list[str] = pydantic.Field(default_factory=list)
        _private: int = pydantic.PrivateAttr(default=5)

        @pydantic.field_validator("tags")
        @classmethod
        def seen(cls, tags: list[str]) -> list[str]:
            runs.append(tags)
            return tags

    model = Model(Inner=Inner(x=1), when=NOON, extra=[1])
    model.tags.append("a")
    register_type(Model)
    with pytest.raises(Unencodable, match=re.escape("value.fields['inner']: <class")):
        round_trip(model)
    register_type(Inner)
    back = round_trip(model)
    assert back == model and back.model_fields_set == model.model_fields_set and back.tags == ["a"]
    assert back.extra == [1] and back._private == 5 and type(back.inner) is Inner
    assert runs == []


def test_fields_that_changed_are_a_miss(values: Values) -> None:
    """A value of an older version of a class is not made into a half one."""

    def version(fields: list[str]) -> Any:
        return dataclasses.make_dataclass("Versioned", [(name, int) for name in fields])

    old, new = version(["a", "b"]), version(["a", "c"])
    register_type(old, name="test.Versioned")
    entry = pack(values, old(1, 2))
    register_type(new, name="test.Versioned")
    assert values.unpack(entry) is None and values.unreadable == 1


def test_an_unregistered_name_is_a_miss(values: Values) -> None:
    """Whatever it is called: nothing is imported, looked up or called."""
    for name in ("os.system", "builtins.eval", "subprocess.Popen", "", "test_cache_values.Opaque"):
        raw = encode(Opaque(), lambda value, name=name: (name, ["true"]))
        entry = _codec.entry_pack(KEY.full, raw, LABELS, 1, 2, 3, 4, 0, 0, 0, len(raw))
        assert values.unpack(entry) is None
    assert values.unreadable == 5


def test_a_decoder_that_raises_is_a_miss(values: Values) -> None:
    class Raises:
        pass

    def decoder(plain: object) -> Raises:
        raise RuntimeError(plain)

    register_type(Raises, lambda value: 1, decoder, name="test.Raises")
    assert values.unpack(pack(values, Raises())) is None
    assert values.unreadable == 1


def test_names_belong_to_one_class() -> None:
    class First:
        pass

    class Second:
        pass

    ways: tuple[Callable[[Any], object], Callable[[Any], Any]] = (lambda value: None, lambda plain: None)
    register_type(First, *ways, name="test.Name")
    register_type(First, *ways, name="test.Name")
    with pytest.raises(ValueError, match=r"test\.Name"):
        register_type(Second, *ways, name="test.Name")


def test_register_later(values: Values) -> None:
    """Types are registered when one of them is met: going out, or coming back."""

    class Late:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Late)

    def load() -> None:
        loads.append(1)
        register_type(Late, lambda value: None, lambda plain: Late(), name="late.Late")

    loads: list[int] = []
    register_later(Late.__module__ + ".test_register_later", load)
    entry = pack(values, [Late(), Late()])
    found = values.unpack(entry)
    assert found is not None and found.value == [Late(), Late()] and loads == [1]
    register_later("later.", load)
    assert values.unpack(entry) and loads == [1]


def test_numpy_arrays(values: Values) -> None:
    """Of numbers, dates and text, never of objects; they are one's own and can be written to."""
    np = pytest.importorskip("numpy")
    for array_ in (
        np.arange(6).reshape(2, 3),
        np.zeros((0, 3), "f4"),
        np.array(["a", "bc"]),
        np.array("2026", "M8[D]"),
    ):
        back = round_trip(array_)
        assert back.dtype == array_.dtype and back.shape == array_.shape and (back == array_).all()
    back[...] = 0
    assert round_trip(np.float32(1.5)) == np.float32(1.5) and type(round_trip(np.int16(1))) is np.int16
    with pytest.raises(Unencodable):
        pack(values, np.array([object()]))
    raw = encode(Opaque(), lambda value: ("numpy.ndarray", ("O", (1,), bytes(8))))
    assert values.unpack(_codec.entry_pack(KEY.full, raw, LABELS, 1, 2, 3, 4, 0, 0, 0, len(raw))) is None


# ---- any value, any bytes ----


def any_scalar(rng: random.Random) -> Any:
    return rng.choice(
        [
            lambda: None,
            lambda: rng.random() < 0.5,
            lambda: rng.randrange(-20, 20),
            lambda: rng.getrandbits(rng.randrange(1, 90)) * rng.choice((1, -1)),
            rng.random,
            lambda: rng.choice(("", "role", "content", "é", "\ud800", "x" * 40, "user")),
            lambda: rng.randbytes(rng.randrange(20)),
            lambda: uuid.UUID(int=rng.getrandbits(128)),
            lambda: NOON + datetime.timedelta(seconds=rng.randrange(10**6)),
        ]
    )()


def any_value(rng: random.Random, depth: int = 4) -> Any:
    kind = rng.randrange(9) if depth else 0
    size = rng.randrange(5)
    if kind < 3:
        return any_scalar(rng)
    if kind < 5:
        return [any_value(rng, depth - 1) for _ in range(size)]
    if kind == 5:
        return tuple(any_value(rng, depth - 1) for _ in range(size))
    if kind < 8:
        return {any_scalar(rng): any_value(rng, depth - 1) for _ in range(size)}
    return rng.choice((set, frozenset))(any_scalar(rng) for _ in range(size))


def test_a_hundred_thousand_values_come_back() -> None:
    """What comes back is the same, and makes the same bytes again; as a key, in whatever order it was built."""
    rng = random.Random(1)
    for _ in range(100_000):
        value = any_value(rng)
        raw = encode(value, extend)
        back = decode(raw, revive)
        assert same(value, back)
        assert encode(back, extend) == raw
        if isinstance(value, dict):
            items = list(value.items())
            rng.shuffle(items)
            assert _codec.canonical(dict(items), extend) == _codec.canonical(value, extend)


def test_changed_bytes_are_a_value_or_an_error() -> None:
    """Never a crash, never another exception than those of decoders."""
    rng = random.Random(2)
    good = 0
    for _ in range(3000):
        raw = bytearray(encode(any_value(rng), extend))
        for _ in range(10):
            changed = bytearray(raw)
            for _ in range(rng.randrange(1, 4)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            if rng.random() < 0.2:
                changed = changed[: rng.randrange(len(changed) + 1)]
            try:
                encode(decode(changed, revive), extend)
                good += 1
            except (ValueError, TypeError, LookupError, ArithmeticError):
                pass
    assert good > 100


def test_foreign_bytes_take_no_memory() -> None:
    """A length is believed only as far as there are bytes; a megabyte of empty sets is too much all the same."""
    tracemalloc.start()
    try:
        for raw in (
            b"\x6e\xff\xff\xff\x7f",
            b"\x8f" + b"\xff" * 8,
            b"\x5e\xff\xff\xff\x7f" + bytes(100),
            b"\x69" * 100_000,
        ):
            with pytest.raises(Undecodable):
                decode(raw)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    sets = b"\x6e" + (1 << 20).to_bytes(4, "little") + b"\x90" * (1 << 20)
    with pytest.raises(Undecodable, match="memory"):
        decode(sets, None, 0, 64 << 20)


def test_unhashable_keys_and_bad_text() -> None:
    for raw in (b"\x81\x60\x00", b"\x91\x60", b"\xa1\x80", b"\x41\xff", b"\x81\x41\xff\x00", b"\xb1\xff\x00"):
        with pytest.raises(Undecodable):
            decode(raw, lambda name, plain: plain)
    with pytest.raises(Undecodable, match="nothing revives"):
        decode(b"\xb1T\x00")
