"""What `@libperf.trace` makes of a function where the accelerator does the work.

Each wrapper is a real function of the same kind as the one it wraps, so whatever looks at it, or at the coroutine or
generator that it makes, finds what it expects: frames, `cr_await`, `ag_running`, warnings. All it does is hand on what it
is given to `run`, of a `libperf._speed.Traced`; what that does is written in tracing.py, in Python.
"""

import types
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from .handles import speed

__all__ = ["FORMS"]

Run = Callable[[tuple[Any, ...], dict[str, Any]], Any]  # (args, kwargs)

FUNCTION, LEAF, COROUTINE, GENERATOR, ASYNC_GENERATOR = range(5)  # speed_kind
END: Any = getattr(speed, "END", None)  # of an async generator


def _function(run: Run) -> Any:
    def traced(*args: Any, **kwargs: Any) -> Any:
        return run(args, kwargs)

    assert speed is not None
    speed.set_fast_call(traced)  # from Python 3.12 on its frame is not even made
    return traced


def _coroutine(run: Run) -> Any:
    async def traced(*args: Any, **kwargs: Any) -> Any:
        running = run(args, kwargs)
        while True:
            try:
                return await running
            except GeneratorExit as error:
                if not running.take(error):
                    raise

    return traced


def _iterable_coroutine(run: Run) -> Any:
    return types.coroutine(_generator(run))


def _generator(run: Run) -> Any:
    def traced(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        running = run(args, kwargs)
        while True:
            try:
                return (yield from running)
            except GeneratorExit as error:
                if not running.take(error):
                    raise

    return traced


def _async_generator(run: Run) -> Any:
    async def traced(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        running = run(args, kwargs)
        while (item := await running) is not END:
            try:
                running.sent((yield item))
            except BaseException as error:
                running.raised(error)
            item = None  # it is the consumer's now

    return traced


# form -> what is made of `run`, and its kind
FORMS: dict[str, tuple[Callable[[Run], Any], int]] = {
    "function": (_function, FUNCTION),
    "leaf": (_function, LEAF),
    "coroutine": (_coroutine, COROUTINE),
    "iterable coroutine": (_iterable_coroutine, COROUTINE),
    "generator": (_generator, GENERATOR),
    "async generator": (_async_generator, ASYNC_GENERATOR),
}
