"""The codec's extension: it leaves nothing behind, and weighs what it is given."""

from __future__ import annotations

import array
import gc
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from libperf import _codec
from libperf._codec import decode, encode
from libperf.cache.keys import make_key
from libperf.cache.values import weigh


class Opaque:
    pass


class Answer:
    def __init__(self, text: str) -> None:
        self.text = text


# ---- no leaks ----


def references(work: Callable[[], object], *objects: object) -> list[int]:
    """How many references to each are left behind by a hundred runs."""
    work()
    before = [sys.getrefcount(thing) for thing in objects]
    for _ in range(100):
        work()
    after = [sys.getrefcount(thing) for thing in objects]
    return [b - a for a, b in zip(before, after, strict=True)]


def swallow(work: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        with pytest.raises((TypeError, ValueError, LookupError, RuntimeError)):
            work()

    return run


def test_nothing_keeps_a_reference() -> None:
    """After successes and after errors at any place."""
    text, opaque = "a text that is its own" + str(id(gc)), Opaque()
    value = {text: [text, (text, {text}, frozenset([text]))], (text,): 2**70}
    bad = [value, {text: {1: opaque}}, text]
    raw = encode(value)

    def raises(name: str, plain: object) -> object:
        raise RuntimeError

    typed = encode([text, opaque], lambda thing: (text, value) if thing is opaque else None)
    works: list[Callable[[], object]] = [
        lambda: encode(value),
        lambda: _codec.canonical(value),
        lambda: decode(raw),
        lambda: make_key("n", None, value),
        lambda: weigh(bad),
        lambda: decode(typed, lambda name, plain: opaque),
        swallow(lambda: encode(bad)),
        swallow(lambda: _codec.canonical(bad)),
        swallow(lambda: _codec.canonical(bad, lambda thing: (text, {text: raises}))),
        swallow(lambda: encode(bad, lambda thing: text)),  # type: ignore[arg-type, return-value]
        swallow(lambda: decode(typed, raises)),
        swallow(lambda: decode(typed)),
        swallow(lambda: decode(raw[:-1])),
    ]
    for number, work in enumerate(works):
        assert references(work, text, opaque, value, raises) == [0] * 4, number


STRETCHES = """
import contextlib, gc, tracemalloc
from libperf._codec import decode, encode
from libperf.cache.keys import Unencodable, make_key

class Opaque:
    pass

value = {"messages": [{"role": "user", "content": "x" * 300, "n": 2**80}] * 5, "é": {1.5, 2.5}}
raw = encode(value)

def work():
    for _ in range(1000):
        decode(raw)
        make_key("n", "s", value)
        with contextlib.suppress(Unencodable):
            encode([value, Opaque()])

work()
gc.collect()
tracemalloc.start()
work()
for _ in range(5):
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(3):
        work()
    gc.collect()
    print(tracemalloc.get_traced_memory()[0] - before)
"""


def test_memory_stays_where_it_is(run: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Thousands of values, keys and errors, and not a byte more than before, in a process where nobody else allocates.
    The interpreter's free lists grow now and then, by some kilobytes; what is left behind grows in every stretch."""
    done = run(STRETCHES)
    assert done.returncode == 0, done.stderr
    grown = [int(line) for line in done.stdout.split()]
    assert len(grown) == 5 and min(grown) < 1024, grown


# ---- weigh ----


def deep_size(value: Any) -> int:
    size = sys.getsizeof(value)
    if isinstance(value, dict):
        size += sum(deep_size(key) + deep_size(item) for key, item in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        size += sum(map(deep_size, value))
    elif hasattr(value, "__dict__"):
        size += deep_size(vars(value))
    return size


@pytest.mark.parametrize(
    "value",
    [
        "x" * 1000, "é" * 1000, b"x" * 1000, 2**1000, [1.5] * 10_000, ["x" * i for i in range(1000)],
        {str(i): "y" * 50 for i in range(500)}, {i * 1.5 for i in range(300)}, [[["x" * 100] * 10] * 10] * 10, Answer("a" * 500),
        bytearray(5000), array.array("d", range(1000)),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_weight_is_about_the_size(value: object) -> None:
    """Within a fifth of what sys.getsizeof() adds up to, though only some of it is looked at."""
    assert abs(weigh(value) - deep_size(value)) < 0.2 * deep_size(value) + 64


def test_weighing_ends() -> None:
    """However much there is, whatever holds itself, and whatever raises."""

    class Raises:
        def __sizeof__(self) -> int:
            raise RuntimeError

        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            raise RuntimeError

    holds_itself: list[Any] = []
    holds_itself.extend([holds_itself] * 100)
    looks: list[Any] = [0]

    class Counts:
        def __sizeof__(self) -> int:
            looks[0] += 1
            return 100

    assert weigh(holds_itself) > 0 and weigh(Raises()) > 0
    assert weigh([[Counts()] * 1000] * 1000) > 10**7 and looks[0] <= 3000


def test_weighing_what_takes_itself_apart() -> None:
    """A __sizeof__() that empties the list that it is in."""
    things: list[Any] = []

    class Empties:
        def __sizeof__(self) -> int:
            things.clear()
            return 1

    things.extend([Empties()] * 100)
    assert weigh(things) > 0
