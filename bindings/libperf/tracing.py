"""`@libperf.trace`: times every call of a function, whatever kind of function it is.

Four kinds, four loops: `def`, `async def`, generator, async generator. What is traced stays what it was: `inspect`
sees the same kind, name, signature and docstring. Coroutines and generators make their span current only while they
run: it is set before each resume and what was current before is put back after it, so two of them never see each
other's, and no token ever crosses a context.
"""

import functools
import types
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, TypeVar, overload

from ._core import lib
from .context import get_current, set_current
from .names import Kind, intern
from .slow import Slow
from .spans import OK, end_with_error, set_attribute
from .task import task_id

__all__ = ["trace"]

F = TypeVar("F", bound=Callable[..., Any])

CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR = 0x20, 0x80, 0x200  # as in `inspect`, which is slow to import


@overload
def trace(function: F, /) -> F: ...
@overload
def trace(
    name: str | None = None,
    /,
    *,
    operation: str | None = None,
    tags: dict[str, object] | None = None,
    slow: float | None = None,
    kind: str | Kind = Kind.SPAN,
) -> Callable[[F], F]: ...
def trace(
    what: Any = None,
    /,
    *,
    operation: str | None = None,
    tags: dict[str, object] | None = None,
    slow: float | None = None,
    kind: str | Kind = Kind.SPAN,
) -> Any:
    """Time every call of a function or method.

    >>> @libperf.trace
    ... def load(): ...
    >>> @libperf.trace("fetch_user", tags={"service": "user-api"}, slow=1.0)
    ... async def fetch(user): ...

    name, operation: what the report calls it (one of the two); default: the function's own name
    tags:            attributes of every call
    slow:            seconds; a call that takes longer is logged and listed by `libperf.slow_calls()`
    kind:            "span", "llm", "tool", "node", "graph", "retriever", "embedding" or "request"
    A generator's latency is the time inside it: while it waits at a `yield` for its consumer, the clock stands.
    """
    if what is not None and operation is not None:
        raise TypeError(f"trace() got a name twice: {what!r} and operation={operation!r}")
    kind = Kind.parse(kind)
    name = operation if what is None or callable(what) or _is_method(what) else what
    if name is not None and not isinstance(name, str):
        raise TypeError(f"trace({what!r}): expected a function or a name (str), got {type(what).__name__}")
    if what is None or isinstance(what, str):
        return functools.partial(_decorate, name=name, tags=tags, slow=slow, kind=kind)
    return _decorate(what, name=None, tags=tags, slow=slow, kind=kind)


def _is_method(what: object) -> bool:
    return isinstance(what, (classmethod, staticmethod))


def _decorate(function: Any, *, name: str | None, tags: dict[str, object] | None, slow: Any, kind: Kind) -> Any:
    if _is_method(function):
        return type(function)(_decorate(function.__func__, name=name, tags=tags, slow=slow, kind=kind))
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"@libperf.trace is for functions and methods, not for {function!r}: decorate its methods")
    number = intern(kind, name or _name_of(function))
    after = Slow(name or _name_of(function), slow) if slow is not None else None
    flags = _code_flags(function)
    if flags & (CO_COROUTINE | CO_ASYNC_GENERATOR):
        wrap = _trace_coroutine if flags & CO_COROUTINE else _trace_async_generator
        begin = _begin_in_task
    else:
        wrap = _trace_generator if flags & CO_GENERATOR else _trace_function
        begin = lib.perf_span_begin  # takes the parent's task
    traced = wrap(function, number, _with_tags(begin, tags) if tags else begin, after)
    return functools.wraps(function)(traced)


def _name_of(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]


def _code_flags(function: Any) -> int:
    """What kind of function it is, also behind functools.partial and for objects with a __call__."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:  # an object with a __call__
        code = getattr(type(function).__dict__.get("__call__"), "__code__", None)
    return code.co_flags if code else 0


Begin = Callable[[int, Any], Any]  # (name's number, parent's handle) -> handle


def _begin_in_task(number: int, parent: Any) -> Any:
    """For what runs in asyncio: looks which task that is. What it calls inherits it."""
    return lib.perf_span_begin_at(number, parent, task_id(), lib.perf_clock_ticks())


def _with_tags(begin: Begin, tags: dict[str, object]) -> Begin:
    fixed = dict(tags)

    def begin_with_tags(number: int, parent: Any) -> Any:
        handle = begin(number, parent)
        for name, value in fixed.items():
            set_attribute(handle, name, value)
        return handle

    return begin_with_tags


def _trace_function(function: Callable[..., Any], number: int, begin: Begin, after: Slow | None) -> Any:
    get, put, end = get_current, set_current, lib.perf_span_end  # local names: looking them up would cost as much

    def traced(*args: Any, **kwargs: Any) -> Any:
        outer = get()
        handle = begin(number, outer)
        put(handle)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            put(outer)
            ns = end_with_error(handle, error)
            if after:
                after(handle, ns)
            raise
        put(outer)
        ns = end(handle)
        if after:
            after(handle, ns)
        return result

    return traced


class _Inside:
    """One run of a coroutine or generator: its span, and what is current inside it while it is suspended."""

    __slots__ = ("current", "handle", "paused")

    def __init__(self, number: int, begin: Begin) -> None:
        self.handle = self.current = begin(number, get_current())
        self.paused = 0  # ticks

    def end(self, error: BaseException | None, after: Slow | None) -> None:
        paused_ns = lib.perf_clock_duration_ns(self.paused) if self.paused else 0
        if error is None:
            ns = lib.perf_span_end_as(self.handle, OK, paused_ns)
        else:
            ns = end_with_error(self.handle, error, paused_ns)
        if after:
            after(self.handle, ns)


@types.coroutine
def _resume(awaitable: Any, inside: _Inside) -> Generator[Any, Any, Any]:
    """Await a coroutine, or one step of an async generator, with its own current span around each resume."""
    send = awaitable.send
    sent: Any = None
    error: BaseException | None = None
    thrown: BaseException | None = None
    while True:
        outer = get_current()
        set_current(inside.current)
        try:
            if error is None:
                yielded = send(sent)
            else:
                thrown, error = error, None
                yielded = awaitable.throw(thrown)
        except StopIteration as stop:
            return stop.value
        finally:
            inside.current = get_current()
            set_current(outer)
            thrown = None  # or the exception would hold this frame, and the frame the exception
        try:
            sent = yield yielded
        except GeneratorExit:
            outer = get_current()
            set_current(inside.current)
            try:
                awaitable.close()
            finally:
                set_current(outer)
            raise
        except BaseException as raised:
            error = raised


def _trace_coroutine(function: Callable[..., Any], number: int, begin: Begin, after: Slow | None) -> Any:
    async def traced(*args: Any, **kwargs: Any) -> Any:
        inside = _Inside(number, begin)
        try:
            result = await _resume(function(*args, **kwargs), inside)
        except BaseException as error:
            inside.end(error, after)
            raise
        inside.end(None, after)
        return result

    return traced


def _trace_generator(function: Callable[..., Any], number: int, begin: Begin, after: Slow | None) -> Any:
    ticks = lib.perf_clock_ticks

    def traced(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        generator = function(*args, **kwargs)
        inside = _Inside(number, begin)
        sent: Any = None
        error: BaseException | None = None
        thrown: BaseException | None = None
        try:
            while True:
                outer = get_current()
                set_current(inside.current)
                try:
                    if error is None:
                        item = generator.send(sent)
                    else:
                        thrown, error = error, None
                        item = generator.throw(thrown)
                except StopIteration as stop:
                    inside.end(None, after)
                    return stop.value
                finally:
                    inside.current = get_current()
                    set_current(outer)
                    thrown = None
                since = ticks()
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as raised:
                    error = raised
                finally:
                    inside.paused += ticks() - since
        except GeneratorExit:
            outer = get_current()
            set_current(inside.current)
            try:
                generator.close()
            finally:
                set_current(outer)
                inside.end(None, after)  # the consumer had enough: no error
            raise
        except BaseException as raised:
            inside.end(raised, after)
            raise

    return traced


def _trace_async_generator(function: Callable[..., Any], number: int, begin: Begin, after: Slow | None) -> Any:
    ticks = lib.perf_clock_ticks

    async def traced(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        generator = function(*args, **kwargs)
        inside = _Inside(number, begin)
        step = generator.asend(None)
        try:
            while True:
                try:
                    item = await _resume(step, inside)
                except StopAsyncIteration:
                    break
                since = ticks()
                try:
                    sent = yield item
                except GeneratorExit:
                    raise
                except BaseException as raised:
                    step = generator.athrow(raised)
                else:
                    step = generator.asend(sent)
                finally:
                    inside.paused += ticks() - since
        except GeneratorExit:
            try:
                await _resume(generator.aclose(), inside)
            finally:
                inside.end(None, after)
            raise
        except BaseException as error:
            inside.end(error, after)
            raise
        inside.end(None, after)

    return traced
