"""`@libperf.batched`: a function of lists, to which single items can be submitted."""

import functools
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from .._batcher import BatchFuture
from ..tracing import _is_method, _name_of
from .maps import BatchMap
from .priority import Priority
from .processor import BatchProcessor, _driver_for
from .settings import Settings
from .stats import BatchStats

__all__ = ["Batched", "batched"]

T = TypeVar("T")
R = TypeVar("R")


ABOVE_CLASSMETHOD = "@libperf.batched goes above @classmethod, not below it: {} would be called without its class"


class Batched(Generic[T, R]):
    """What `@libperf.batched` makes of a function. Called, it is the function: `f(["a", "b"])`; and it has `submit`, `map`,
    `amap`, `start`, `close`, `aclose`, `get_stats` and `share` of a BatchProcessor, which is `f.processor`.

    As a method each instance has a processor of its own, which lives as long as the instance.
    """

    __wrapped__: Callable[..., Any]

    def __init__(self, function: Callable[..., Any], settings: Settings, of_class: bool = False) -> None:
        functools.update_wrapper(self, function)
        self._settings = settings
        self._of_class = of_class
        self._place = f"_libperf_batched {getattr(function, '__qualname__', '')}"  # in an instance
        if inspect.iscoroutinefunction(function) and hasattr(inspect, "markcoroutinefunction"):
            inspect.markcoroutinefunction(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    if TYPE_CHECKING:
        processor: BatchProcessor[T, R]

        def submit(
            self,
            data: T,
            priority: int = Priority.NORMAL,
            timeout: float | None = None,
            *,
            queue_timeout: float | None = None,
            tenant: object = None,
        ) -> BatchFuture[R]: ...
        def map(
            self,
            items: Iterable[T],
            priority: int = Priority.NORMAL,
            timeout: float | None = None,
            *,
            queue_timeout: float | None = None,
            tenant: object = None,
            return_exceptions: bool = False,
        ) -> BatchMap[R]: ...
        async def amap(
            self,
            items: AsyncIterable[T] | Iterable[T],
            priority: int = Priority.NORMAL,
            timeout: float | None = None,  # noqa: ASYNC109 - of each item
            *,
            queue_timeout: float | None = None,
            tenant: object = None,
            return_exceptions: bool = False,
        ) -> list[R]: ...
        async def start(self) -> None: ...
        def close(self, drain: bool = True, timeout: float | None = 30.0) -> bool: ...
        async def aclose(self, drain: bool = True, timeout: float | None = 30.0) -> bool: ...  # noqa: ASYNC109
        def get_stats(self) -> BatchStats: ...
        def share(self, tenant: object, share: float) -> None: ...

    else:

        def __getattr__(self, name: str) -> Any:
            """What is asked for the first time: the processor is made when somebody needs it."""
            if name == "processor":
                value = BatchProcessor._of(self.__wrapped__, self._settings)
            elif name in OF_PROCESSOR:
                value = getattr(self.processor, name)
            else:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return self.__dict__.setdefault(name, value)  # another thread may have been faster

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if self._of_class:
            instance = owner if owner is not None else type(instance)
        elif instance is None:
            return self
        elif instance is owner:  # Python before 3.13; since then it is the call that says so
            raise TypeError(ABOVE_CLASSMETHOD.format(_name_of(self.__wrapped__)))
        own = getattr(instance, "__dict__", {}).get(self._place)
        if isinstance(own, _Own) and own.owner is instance:
            return own.batched
        return self._bind(instance)

    def _bind(self, instance: Any) -> Any:
        made = _Own(instance, Batched(self.__wrapped__.__get__(instance), self._settings))
        if isinstance(instance, type):
            setattr(instance, self._place, made)
            return made.batched
        if not hasattr(instance, "__dict__"):
            raise TypeError(
                f"@libperf.batched: objects of {type(instance).__qualname__} have no __dict__ in which a processor of their "
                "own could be kept; leave out its __slots__, or decorate a function of the module"
            )
        kept = instance.__dict__
        if getattr(kept.get(self._place), "owner", None) is not instance:
            kept.pop(self._place, None)  # of the object that this one is a copy of
        return kept.setdefault(self._place, made).batched

    def __repr__(self) -> str:
        return f"<libperf.batched {_name_of(self.__wrapped__)}>"

    def __reduce__(self) -> Any:
        return self.__wrapped__.__qualname__  # as functions are pickled: by name


OF_PROCESSOR = frozenset({"aclose", "amap", "close", "get_stats", "map", "share", "start", "submit"})


class _Own:
    """An instance's own processor, in the instance. A copy of the instance does not get it."""

    def __init__(self, owner: Any = None, batched: Any = None) -> None:
        self.owner = owner
        self.batched = batched

    def __reduce__(self) -> Any:
        return _Own, ()


@overload
def batched(function: Callable[[list[T]], Awaitable[Iterable[R]]], /) -> Batched[T, R]: ...
@overload
def batched(function: Callable[[list[T]], Iterable[R]], /) -> Batched[T, R]: ...
@overload
def batched(function: Callable[..., Any], /) -> Batched[Any, Any]: ...
@overload
def batched(
    *,
    min_batch_size: int = 1,
    max_batch_size: int = 10,
    max_wait_time: float = 0.1,
    max_batch_weight: int | None = None,
    weigher: Callable[[Any], float] | None = None,
    oversize: str = "alone",
    concurrency: int | str = 1,
    max_queue: int = 10_000,
    max_queue_weight: int | None = None,
    on_full: str = "block",
    isolate: str = "fail_all",
    mode: str = "deadline",
    target_latency: float | None = None,
    timeout: float | None = None,
    queue_timeout: float | None = None,
    process_timeout: float | None = None,
    call_price: float | None = None,
    deduplicate: bool | Callable[[Any], object] = False,
    name: str | None = None,
    clock: Callable[[], int] | None = None,
) -> Callable[[Callable[..., Any]], Batched[Any, Any]]: ...
def batched(function: Any = None, /, **settings: Any) -> Any:
    """Submit single items to a function of lists.

    >>> @libperf.batched(max_batch_size=10, max_wait_time=0.1)
    ... async def process_items(items: list[str]) -> list[str]: ...
    >>> result = await process_items.submit("hello")
    >>> results = await process_items.map(items, priority=libperf.Priority.LOW)

    For `def` and `async def`, functions and methods; the settings are those of BatchProcessor. Above @classmethod and
    @staticmethod.
    """
    if function is not None and not callable(function) and not _is_method(function):
        raise TypeError(
            f"batched({function!r}): everything but the function is given by name, max_batch_size=10 for one"
        )
    checked = Settings(**settings)
    return _decorate(function, checked) if function is not None else functools.partial(_decorate, settings=checked)


def _decorate(function: Any, settings: Settings) -> Any:
    if isinstance(function, staticmethod):
        return staticmethod(_decorate(function.__func__, settings))
    of_class = isinstance(function, classmethod)
    if of_class:
        function = function.__func__
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"@libperf.batched is for functions and methods, not for {function!r}: decorate its methods")
    _driver_for(function)  # whether it can be done, now and not with the first item
    settings.config()
    return Batched(function, settings, of_class)
