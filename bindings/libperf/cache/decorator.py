"""`@libperf.cached`: keeps what a function returned, for whatever kind of function.

`def` and `async def` return what was kept. What generators and async generators yielded is kept once they have come to
their end by themselves, and is yielded again; of those that were left early, were sent something, or yielded more than
STREAM_MAX items nothing is kept. Nor are answers of models that were cut off or filtered, or that ask for tools.
"""

import functools
from collections.abc import AsyncGenerator, Callable, Generator
from contextvars import ContextVar
from typing import Any, TypeVar, cast, overload

from ..errors import InvalidError
from ..tracing import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_ITERABLE_COROUTINE, _code_flags, _is_method
from . import walk
from .flow import MISSING, Flow
from .naming import name_of, namespace_of
from .places import Ask
from .tiered import DEFAULT, TieredCache
from .wrapper import make_wrapper

__all__ = ["cached"]

F = TypeVar("F", bound=Callable[..., Any])

STREAM_MAX = 100_000  # items of a generator


@overload
def cached(function: F, /) -> F: ...
@overload
def cached(
    *,
    ttl: float | None = None,
    key: Callable[..., object] | None = None,
    scope: Any = None,
    tags: Any = (),
    max_size: int | None = 1000,
    max_bytes: int | str | None = None,
    cache: TieredCache | None = None,
    name: str | None = None,
    **settings: Any,
) -> Callable[[F], F]: ...
def cached(
    function: Any = None,
    /,
    *,
    ttl: float | None = None,
    key: Callable[..., object] | None = None,
    scope: Any = None,
    tags: Any = (),
    max_size: int | None = 1000,
    max_bytes: int | str | None = None,
    cache: TieredCache | None = None,
    name: str | None = None,
    **settings: Any,
) -> Any:
    """Keep what a function returns for the same arguments.

    >>> @libperf.cached(ttl=3600)
    ... def load(user): ...
    >>> @libperf.cached(ttl=3600, disk=True, redis="redis://…", key=lambda request: request.id, scope=tenant_id)
    ... async def answer(request): ...

    ttl:       seconds; None: for ever
    key:       called with the arguments, returns what the call is known by; default: all arguments. f(1, b=2) and
               f(a=1, b=2) are one call. An argument without a canonical form (`self` for one) is known by itself, as
               functools.lru_cache does it, which keeps it alive, and only in memory: shared tiers need key=
    scope:     whose values these are: a value, a ContextVar, or a callable of the arguments; "public" for everybody.
               Required with redis=, which others share
    tags:      texts for cache.invalidate(tag=), or a callable of the arguments that returns them
    max_size:  entries in memory; max_bytes: bytes in memory, see TieredCache
    cache:     a TieredCache to keep it in, instead of one of its own; its settings count
    name:      what reports call it, and the namespace of its keys. Default: the function's module and name, and as
               namespace a digest of its code as well, so that other code does not find what this one returned;
               functions that it calls do not count: for these give it a name, "load-2" for one
    settings:  as of TieredCache: disk, redis, stale_ttl, stale_if_error, negative_ttl, jitter, beta, strict, copy, …

    The function keeps its kind, name, signature and docstring, and gets `.cache` (the TieredCache), `.cache_info()`,
    `.cache_clear()`, `.cache_key(*args, **kwargs)`: what `.cache` knows the call by; and `.__wrapped__`.
    """
    if function is not None and not callable(function) and not _is_method(function):
        raise TypeError(f"cached({function!r}): everything but the function is given by name, ttl=3600 for one")
    if cache is not None and settings:
        raise InvalidError(f"cached(cache=…) takes the cache's settings; leave out {', '.join(settings)}")
    if settings.get("redis") is not None and scope is None:
        raise InvalidError('cached(redis=…) shares values: say whose with scope=, a tenant\'s id, or scope="public"')
    ways = _Ways(ttl, key, scope, tags, max_size, max_bytes, cache, name, settings)
    return ways.decorate if function is None else ways.decorate(function)


class _Ways:
    """What @cached was told."""

    def __init__(
        self,
        ttl: float | None,
        key: Callable[..., object] | None,
        scope: Any,
        tags: Any,
        max_size: int | None,
        max_bytes: int | str | None,
        cache: TieredCache | None,
        name: str | None,
        settings: dict[str, Any],
    ) -> None:
        self.key = key
        self.tags = tags
        self.cache = cache
        self.scope = scope
        self.name = name
        self.ttl = ttl
        self.settings = {"local_max_size": max_size, "max_bytes": max_bytes, "ttl": ttl, **settings}

    def decorate(self, function: Any) -> Any:
        if _is_method(function):
            return type(function)(self.decorate(function.__func__))
        if isinstance(function, type) or not callable(function):
            raise TypeError(f"@libperf.cached is for functions and methods, not for {function!r}: decorate its methods")
        return _Cached(self, function).wrapper


class _Cached:
    """One function and its cache."""

    def __init__(self, ways: _Ways, function: Any) -> None:
        self.function = function
        self.key_function = ways.key
        self.tags = ways.tags
        self.name = ways.name or name_of(function)
        self.namespace = ways.name or namespace_of(function)
        self.scope_of = _scope_of(ways.scope)
        own_scope = None if self.scope_of is not None else ways.scope
        self.shared = ways.cache is not None
        self.cache = (
            ways.cache
            if ways.cache is not None
            else TieredCache(namespace=self.namespace, name=self.name, scope=own_scope, **ways.settings)
        )
        self.scope = own_scope if self.shared else None
        self.ttl = ways.ttl if self.shared and ways.ttl is not None else DEFAULT
        self.flow: Flow = self.cache._flow
        self.plain = not self.shared and self.scope_of is None and not self.tags  # the key is all there is to a call
        if not self.shared and not callable(self.tags):
            self.cache._ask("", None, self.tags)  # whether they are tags, now and not in the first call
        self.wrapper = cast(Any, functools.wraps(function)(self._wrapper(_code_flags(function))))
        self.wrapper.cache = self.cache
        self.wrapper.cache_info = self.cache.cache_info
        self.wrapper.cache_clear = self._clear
        self.wrapper.cache_key = make_wrapper(
            function, None, lambda key, args, kwargs: self._full_key(key), awaits=False, key_function=self.key_function
        )

    def _wrapper(self, flags: int) -> Any:
        flow = self.flow if not self.shared and self.scope_of is None else None
        if flags & CO_ITERABLE_COROUTINE:
            raise TypeError(f"@libperf.cached: {self.name} is a generator made a coroutine; write it as `async def`")
        if flags & (CO_COROUTINE | CO_ASYNC_GENERATOR):
            from . import async_walk  # noqa: F401 - now, not in the first call

        if flags & CO_COROUTINE:
            return make_wrapper(self.function, flow, self._acall, awaits=True, key_function=self.key_function)
        if flags & (CO_GENERATOR | CO_ASYNC_GENERATOR):
            ask = make_wrapper(self.function, None, self._ask, awaits=False, key_function=self.key_function)
            stream = _stream if flags & CO_GENERATOR else _async_stream
            return stream(self.function, self.flow, ask)
        return make_wrapper(self.function, flow, self._call, awaits=False, key_function=self.key_function)

    def _full_key(self, key: object) -> object:
        return (self.namespace, key) if self.shared else key

    def _ask(self, key: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Ask:
        if self.plain:
            return self.cache._ask(key, None, (), DEFAULT)
        scope = self.scope if self.scope_of is None else self.scope_of(args, kwargs)
        tags = self.tags(*args, **kwargs) if callable(self.tags) else self.tags
        if self.shared:
            tags = (*tags, f"function {self.namespace}")
        return self.cache._ask(self._full_key(key), scope, tags, self.ttl)

    def _call(self, key: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        function = self.function
        return walk.obtain(self.flow, self._ask(key, args, kwargs), lambda: function(*args, **kwargs))

    async def _acall(self, key: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from .async_walk import aobtain

        function = self.function
        return await aobtain(self.flow, self._ask(key, args, kwargs), lambda: function(*args, **kwargs))

    def _clear(self) -> None:
        if self.shared:
            self.cache.invalidate(tag=f"function {self.namespace}")
        else:
            self.cache.clear()


def _scope_of(scope: Any) -> Callable[[tuple[Any, ...], dict[str, Any]], Any] | None:
    """A function of the call; None: the scope is a value."""
    if isinstance(scope, ContextVar):

        def of_context(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return _given(scope.get(None), scope)

        return of_context
    if callable(scope):
        return lambda args, kwargs: _given(scope(*args, **kwargs), scope)
    return None


def _given(found: Any, scope: Any) -> Any:
    if found is None:
        raise InvalidError(f'scope={scope!r} gave None: whose value is it? ("public" for everybody)')
    return found


# ---- generators ----


class _Kept(tuple[Any, ...]):
    """What a generator yielded; the last one is what it returned. It never changes, so it is never copied."""


def _stream(function: Any, flow: Flow, ask_of: Callable[..., Ask]) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        ask = ask_of(*args, **kwargs)
        found = walk.find(flow, ask)
        if found is not MISSING:
            yield from found[:-1]
            return found[-1]
        begun_ms, start_ns = flow.begin_ms(), flow.clock.monotonic_ns()
        items: list[Any] | None = []
        epoch = flow.epoch
        generator = function(*args, **kwargs)
        step, value = generator.send, None
        while True:
            try:
                item = step(value)
            except StopIteration as stop:
                if items is not None and flow.epoch == epoch:
                    flow.streamed(ask, (*items, stop.value), begun_ms, flow.clock.monotonic_ns() - start_ns)
                return stop.value
            if items is not None:
                items.append(item)
            try:
                value = yield item
                step = generator.send
            except GeneratorExit:
                generator.close()
                raise
            except BaseException as raised:
                items, step, value = None, generator.throw, raised
            if items is not None and (value is not None or len(items) >= STREAM_MAX):
                items = None
            del item

    return wrapper


def _async_stream(function: Any, flow: Flow, ask_of: Callable[..., Ask]) -> Any:
    from .async_walk import afind

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        ask = ask_of(*args, **kwargs)
        found = await afind(flow, ask)
        if found is not MISSING:
            for item in found[:-1]:
                yield item
            return
        begun_ms, start_ns = flow.begin_ms(), flow.clock.monotonic_ns()
        items: list[Any] | None = []
        epoch = flow.epoch
        generator = function(*args, **kwargs)
        step = generator.asend(None)
        try:
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    break
                if items is not None:
                    items.append(item)
                try:
                    value = yield item
                    step = generator.asend(value)
                except GeneratorExit:
                    raise
                except BaseException as raised:
                    items, value = None, None
                    step = generator.athrow(raised)
                if items is not None and (value is not None or len(items) >= STREAM_MAX):
                    items = None
                del item
        finally:
            await generator.aclose()
        if items is not None and flow.epoch == epoch:
            flow.streamed(ask, (*items, None), begun_ms, flow.clock.monotonic_ns() - start_ns)

    return wrapper
