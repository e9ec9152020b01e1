"""@libperf.trace: every kind of function stays what it was, and every call of it is counted."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import traceback
import types
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import pytest

import libperf
from support_tracing import Boom

# ---- ways to write it ----


def test_a_bare_decorator_counts_calls(seen: Any) -> None:
    """`@trace` without parentheses records each call under the function's own name."""

    @libperf.trace
    def bare_decorator() -> int:
        return 1

    assert [bare_decorator(), bare_decorator()] == [1, 1]
    assert seen.totals("bare_decorator").count == 2


def test_parentheses_without_arguments_are_the_same(seen: Any) -> None:
    """`@trace()` names the span after the function."""

    @libperf.trace()
    def empty_parentheses() -> int:
        return 1

    empty_parentheses()
    assert seen.totals("empty_parentheses").count == 1


def test_a_name_can_be_given(seen: Any, name: str) -> None:
    """`@trace("name")` uses that name."""
    libperf.trace(name)(lambda: 0)()
    assert seen.totals(name).count == 1


def test_operation_is_another_word_for_the_name(seen: Any, name: str) -> None:
    """`@trace(operation=...)` uses that name."""
    libperf.trace(operation=name)(lambda: 0)()
    assert seen.totals(name).count == 1


def test_tags_are_attributes_of_every_call(seen: Any, name: str) -> None:
    """Each of two calls carries the tags."""
    function = libperf.trace(name, tags={"service": "user-api", "version": 2})(lambda: 0)
    function()
    function()
    assert [span.attributes for span in seen.spans(name)] == [{"service": "user-api", "version": 2}] * 2


def test_tags_are_those_of_the_decoration(seen: Any, name: str) -> None:
    """Changing the dictionary afterwards changes nothing."""
    tags: dict[str, object] = {"a": 1}
    function = libperf.trace(name, tags=tags)(lambda: 0)
    tags["b"] = 2
    function()
    assert seen.span(name).attributes == {"a": 1}


@pytest.mark.parametrize("kind", [kind for kind in libperf.Kind if kind.is_operation])
def test_a_kind_can_be_given_by_its_word(seen: Any, name: str, kind: libperf.Kind) -> None:
    """`kind="llm"` and the like are what readers see."""
    libperf.trace(name, kind=kind.name.lower())(lambda: 0)()
    assert seen.span(name).kind == kind


def test_a_kind_can_be_given_as_kind(seen: Any, name: str) -> None:
    """`kind=Kind.TOOL` is what readers see."""
    libperf.trace(name, kind=libperf.Kind.TOOL)(lambda: 0)()
    assert seen.span(name).kind == libperf.Kind.TOOL


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        (lambda: libperf.trace(5), TypeError, "trace(5)"),
        (lambda: libperf.trace("a", operation="b"), TypeError, "'a' and operation='b'"),
        (lambda: libperf.trace(operation=7), TypeError, "expected a function or a name"),
        (lambda: libperf.trace(kind="database"), ValueError, "kind='database'"),
        (lambda: libperf.trace(kind=libperf.Kind.COUNTER), ValueError, "Kind.COUNTER"),
        (lambda: libperf.trace(kind=None), ValueError, "kind=None"),
        (lambda: libperf.trace(tags="abc"), TypeError, "tags='abc'"),
        (lambda: libperf.trace(tags={1: 2})(len), TypeError, "not 1"),
        (lambda: libperf.trace(slow="soon")(len), ValueError, "slow='soon'"),
        (lambda: libperf.trace(slow=-1)(len), ValueError, "slow=-1"),
        (lambda: libperf.trace(slow=float("nan"))(len), ValueError, "slow=nan"),
        (lambda: libperf.trace(Boom), TypeError, "Boom"),
        (lambda: libperf.trace("x")(Boom), TypeError, "Boom"),
        (lambda: libperf.trace("x")(3), TypeError, "not for 3"),
        (lambda: libperf.trace(property(len)), TypeError, "property"),
    ],
)
def test_wrong_use_names_what_was_wrong(wrong: Callable[[], Any], error: type[Exception], named: str) -> None:
    """A wrong argument raises when decorating, and the message holds the value."""
    with pytest.raises(error) as raised:
        wrong()
    assert named in str(raised.value)


# ---- kinds of functions ----


def test_a_method_gets_its_instance(seen: Any) -> None:
    """A traced method is bound, and named with its class."""

    class Holder:
        @libperf.trace
        def method_of(self, more: int) -> tuple[object, int]:
            return self, more

    holder = Holder()
    assert holder.method_of(3) == (holder, 3)
    assert seen.totals("Holder.method_of").count == 1


@pytest.mark.parametrize("outside", [True, False])
def test_a_classmethod_stays_one(seen: Any, name: str, outside: bool) -> None:
    """@trace works above and below @classmethod."""

    class Holder:
        def function(cls) -> type:
            return cls

        made = libperf.trace(name)(classmethod(function)) if outside else classmethod(libperf.trace(name)(function))

    assert [Holder.made(), Holder().made()] == [Holder, Holder]
    assert seen.totals(name).count == 2


@pytest.mark.parametrize("outside", [True, False])
def test_a_staticmethod_stays_one(seen: Any, name: str, outside: bool) -> None:
    """@trace works above and below @staticmethod."""

    class Holder:
        def function(value: int) -> int:  # type: ignore[misc]
            return value

        made = libperf.trace(name)(staticmethod(function)) if outside else staticmethod(libperf.trace(name)(function))

    assert [Holder.made(1), Holder().made(2)] == [1, 2]
    assert seen.totals(name).count == 2


def test_a_property_is_traced_inside(seen: Any, name: str) -> None:
    """@property over @trace works."""

    class Holder:
        @property
        @libperf.trace(name)
        def value(self) -> int:
            return 4

    assert Holder().value == 4
    assert seen.totals(name).count == 1


def test_a_partial_is_named_after_its_function(seen: Any) -> None:
    """functools.partial has no name of its own."""

    def partial_inner(a: int, b: int) -> int:
        return a + b

    assert libperf.trace(functools.partial(functools.partial(partial_inner, 1), 2))() == 3
    assert seen.totals("partial_inner").count == 1


def test_a_partial_of_a_coroutine_function_is_awaited(seen: Any, name: str) -> None:
    """The span of a partial of `async def` ends when it has run, not when it was called."""

    async def double(value: int) -> int:
        await asyncio.sleep(0)
        return value * 2

    coroutine = libperf.trace(name)(functools.partial(double, 4))()
    assert seen.totals(name).count == 0
    assert asyncio.run(coroutine) == 8
    assert seen.totals(name).count == 1


class Called:
    """An object with a __call__."""

    def __call__(self, value: int) -> int:
        return value + 1


class Awaited:
    """An object with an async __call__."""

    async def __call__(self, value: int) -> int:
        await asyncio.sleep(0)
        return value + 1


def test_a_callable_object_is_named_after_its_class(seen: Any) -> None:
    """An object with a __call__ can be traced."""
    assert libperf.trace(Called())(1) == 2
    assert seen.totals("Called").count == 1


def test_a_callable_object_may_be_async(seen: Any, name: str) -> None:
    """An object with an async __call__ is timed until it has been awaited."""
    coroutine = libperf.trace(name)(Awaited())(1)
    assert seen.totals(name).count == 0
    assert asyncio.run(coroutine) == 2
    assert seen.totals(name).count == 1


def test_a_lambda_has_a_name_too(seen: Any) -> None:
    """A lambda is recorded as <lambda>."""
    before = seen.totals("<lambda>").count
    libperf.trace(lambda: 0)()
    assert seen.totals("<lambda>").count == before + 1


def test_a_builtin_can_be_traced(seen: Any, name: str) -> None:
    """A function without Python code is a plain function."""
    assert libperf.trace(name)(sorted)([2, 1], reverse=False) == [1, 2]
    assert seen.totals(name).count == 1


def test_what_types_coroutine_made_can_be_awaited(seen: Any, name: str) -> None:
    """A generator that is a coroutine stays both."""

    @libperf.trace(name)
    @types.coroutine
    def old_style() -> Generator[None, None, int]:
        yield
        return 5

    async def main() -> int:
        return await old_style()

    assert inspect.isgeneratorfunction(old_style)
    assert asyncio.run(main()) == 5
    assert "paused_ns" not in seen.span(name).attributes


# ---- what inspect and pickle say ----


def plain_function(a: int, /, b: str = "x", *rest: int, c: float = 1.0, **more: int) -> str:
    """Doc of plain_function."""
    return f"{a}{b}{rest}{c}{more}"


async def coroutine_function(a: int, b: str = "y") -> str:
    """Doc of coroutine_function."""
    return f"{a}{b}"


def generator_function(a: int, *, b: str = "z") -> Generator[str, None, None]:
    """Doc of generator_function."""
    yield f"{a}{b}"


async def async_generator_function(a: int) -> AsyncGenerator[int, None]:
    """Doc of async_generator_function."""
    yield a


KINDS = [plain_function, coroutine_function, generator_function, async_generator_function]


@libperf.trace
def pickled(a: int) -> int:
    return a + 1


@pytest.mark.parametrize("function", KINDS)
@pytest.mark.parametrize(
    "question",
    [
        inspect.isfunction,
        inspect.isroutine,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        inspect.signature,
        inspect.getdoc,
        inspect.getmodule,
        inspect.getsource,
        inspect.get_annotations,
        asyncio.iscoroutinefunction,
        lambda function: function.__name__,
        lambda function: function.__qualname__,
    ],
)
def test_inspect_sees_what_it_saw_before(function: Callable[..., Any], question: Callable[[Any], Any]) -> None:
    """Kind, signature, name, documentation, source and annotations are those of the undecorated function."""
    assert question(libperf.trace(function)) == question(function)


def test_a_traced_function_pickles_as_before() -> None:
    """A module's function is found again by its name."""
    assert pickle.loads(pickle.dumps(pickled)) is pickled


def test_the_original_can_be_had() -> None:
    """__wrapped__ is the undecorated function."""
    assert libperf.trace(plain_function).__wrapped__ is plain_function


def test_attributes_of_the_function_are_kept() -> None:
    """What others have set on the function is there on the traced one."""

    def function() -> None: ...

    function.marker = 7  # type: ignore[attr-defined]
    assert libperf.trace(function).marker == 7  # type: ignore[attr-defined]


# ---- exceptions ----


def test_an_exception_goes_on_as_the_same_object() -> None:
    """What the caller catches is what was raised."""
    boom = Boom("secret")

    @libperf.trace
    def raises() -> None:
        raise boom

    with pytest.raises(Boom) as raised:
        raises()
    assert raised.value is boom


def test_an_exception_is_counted_by_its_class_only(seen: Any, name: str) -> None:
    """error.type names the class, and nothing holds the message."""

    @libperf.trace(name)
    def raises() -> None:
        raise Boom("secret")

    with pytest.raises(Boom):
        raises()
    assert seen.counts(name) == (1, 1, 0)
    assert seen.span(name).attributes == {"error.type": "support_tracing.Boom"}


def test_a_builtin_exception_has_a_short_name(seen: Any, name: str) -> None:
    """error.type of a built-in exception has no module."""
    with pytest.raises(ZeroDivisionError):
        libperf.trace(name)(lambda: 1 // 0)()
    assert seen.span(name).attributes == {"error.type": "ZeroDivisionError"}


def test_the_traceback_ends_where_it_was_raised() -> None:
    """The last entry is the user's line, and libperf adds one frame before it, at most."""

    @libperf.trace
    def raises_here() -> None:
        raise Boom

    with pytest.raises(Boom) as raised:
        raises_here()
    names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)][1:]
    assert names in (["traced", "raises_here"], ["raises_here"])


def test_an_exception_has_no_strange_context() -> None:
    """Neither __cause__ nor __context__ is set on the way."""

    async def raises() -> None:
        await asyncio.sleep(0)
        raise Boom

    with pytest.raises(Boom) as raised:
        asyncio.run(libperf.trace(raises)())
    assert (raised.value.__cause__, raised.value.__context__) == (None, None)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_base_exceptions_pass_through(seen: Any, name: str, error: type[BaseException]) -> None:
    """Also what is no Exception ends the span, and goes on."""

    def raises() -> None:
        raise error

    with pytest.raises(error):
        libperf.trace(name)(raises)()
    assert seen.counts(name) == (1, 1, 0)
    assert not libperf.current_span()


@pytest.mark.parametrize("make", ["function", "coroutine", "generator", "async generator"])
def test_the_current_span_is_put_back_after_an_exception(make: str) -> None:
    """Whatever kind of function raised, what was current before is current again."""

    def function() -> None:
        raise Boom

    async def coroutine() -> None:
        raise Boom

    def generator() -> Generator[None, None, None]:
        raise Boom
        yield

    async def async_generator() -> AsyncGenerator[None, None]:
        raise Boom
        yield

    async def main() -> str:
        with libperf.span("outer") as outer, pytest.raises(Boom):
            if make == "function":
                libperf.trace(function)()
            elif make == "coroutine":
                await libperf.trace(coroutine)()
            elif make == "generator":
                next(libperf.trace(generator)())
            else:
                await anext(libperf.trace(async_generator)())
        assert libperf.current_span().id != outer.id
        with libperf.span("again") as outer:
            return "same" if libperf.current_span().id == outer.id else "other"

    assert asyncio.run(main()) == "same"


def test_recursion_nests(seen: Any, name: str) -> None:
    """Each level is the parent of the next."""

    @libperf.trace(name)
    def down(levels: int) -> int:
        return down(levels - 1) + 1 if levels else 0

    assert down(50) == 50
    spans = seen.spans(name)
    assert [span.parent for span in spans[1:]] == [span.id for span in spans[:-1]]
