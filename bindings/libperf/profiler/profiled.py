"""`@libperf.profile`: how often a function and those that it calls run, and how long, by exact counts.

From Python 3.12 on by events of `sys.monitoring` that are switched on in the code of these functions alone; the rest of
the program costs nothing more. What a function calls is found out as it is called: functions, methods, classes'
__init__ and __new__. What C code calls (a key of sorted(), say) counts as time of who called that. On Python 3.11 by a
profile function, set in each thread while a profiled function runs in it.

A call that ends by an exception is taken to end at the next event of its caller. Results lie in the segment as counters,
written some five times a second; `libperf report` and `Profiler.get_report()` show them.
"""

import atexit
import functools
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from types import CodeType, FunctionType, MethodType
from typing import Any, TypeVar, overload

from .. import _sampler
from ..errors import StartedError

__all__ = ["profile"]

F = TypeVar("F", bound=Callable[..., Any])

OWN = __file__.rpartition("/profiler/")[0] + "/"  # our own code is not what anybody looks for
OFTEN = 8  # the same function called from one place so often: nobody else is expected there
GENERATOR, COROUTINE, ASYNC_GENERATOR = 0x20, 0x80, 0x200

_lock = threading.Lock()
_tool = -1  # our number among the tools of sys.monitoring
_is_ready = False


@overload
def profile(function: F, /) -> F: ...
@overload
def profile(*, enable_cpu: bool = True, enable_memory: bool = False) -> Callable[[F], F]: ...
def profile(function: Any = None, /, *, enable_cpu: bool = True, enable_memory: bool = False) -> Any:
    """Profile a function, and what it calls, each time it runs.

    >>> @libperf.profile
    ... def parse(text): ...
    >>> @libperf.profile(enable_cpu=True, enable_memory=True)
    ... async def plan(goal): ...

    enable_cpu:     count calls and time of the function and of those below it
    enable_memory:  trace the function (as @libperf.trace) and count what is allocated in it
    For def, async def and generators. StartedError: another profiler has the place that is needed.
    """
    if not enable_cpu and not enable_memory:
        raise ValueError("@libperf.profile(enable_cpu=False, enable_memory=False) would do nothing: enable one of them")
    if function is None:
        return functools.partial(_profile, enable_cpu=enable_cpu, enable_memory=enable_memory)
    return _profile(function, enable_cpu=enable_cpu, enable_memory=enable_memory)


def _profile(function: Any, *, enable_cpu: bool, enable_memory: bool) -> Any:
    if isinstance(function, (classmethod, staticmethod)):
        inner = _profile(function.__func__, enable_cpu=enable_cpu, enable_memory=enable_memory)
        return type(function)(inner)
    code = _code_of(function)
    if code is None or isinstance(function, type):
        raise TypeError(f"@libperf.profile is for Python functions and methods, not for {function!r}")
    if enable_cpu:
        _prepare()
        function = _watch_code(code, function)
    if enable_memory:
        from ..memory import start_counting
        from ..tracing import trace

        with suppress(StartedError):
            start_counting()
        function = trace(function)
    return function


def _code_of(function: Any) -> CodeType | None:
    """Of what runs when it is called; None: not Python."""
    for _ in range(10):  # decorators upon decorators
        if isinstance(function, FunctionType):
            return function.__code__
        if isinstance(function, MethodType):
            function = function.__func__
        elif isinstance(function, functools.partial):
            function = function.func
        else:
            break
    return None


def _prepare() -> None:
    global _is_ready
    with _lock:
        if _is_ready:
            return
        if sys.version_info >= (3, 12):
            _take_place()
        elif (other := sys.getprofile()) is not None:
            raise StartedError(
                f"@libperf.profile cannot measure beside another profiler ({other!r}): stop that one first, Python 3.11 "
                "has room for one"
            )
        atexit.register(_sampler.calls_flush)
        _is_ready = True


# ---- Python 3.12 and later ----

if sys.version_info >= (3, 12):
    EVENTS = sys.monitoring.events
    LOCAL = EVENTS.PY_START | EVENTS.PY_RESUME | EVENTS.PY_RETURN | EVENTS.PY_YIELD | EVENTS.CALL
    DISABLE = sys.monitoring.DISABLE
    PLACES = (3, 4, sys.monitoring.PROFILER_ID)  # the last is the one that cProfile wants

    def _take_place() -> None:
        global _tool
        for place in PLACES:
            try:
                sys.monitoring.use_tool_id(place, "libperf")
            except ValueError:
                continue
            _tool = place
            break
        else:
            others = sorted(str(sys.monitoring.get_tool(place)) for place in PLACES)
            raise StartedError(
                f"@libperf.profile finds no free place in sys.monitoring ({', '.join(others)} have them): stop one of "
                "those profilers first"
            )
        for event, heard in (
            (EVENTS.PY_START, _sampler.calls_begin),
            (EVENTS.PY_RESUME, _sampler.calls_resume),
            (EVENTS.PY_RETURN, _sampler.calls_end),
            (EVENTS.PY_YIELD, _sampler.calls_end),
            (EVENTS.CALL, _heard_call),
        ):
            sys.monitoring.register_callback(_tool, event, heard)

    # (code, offset of the call) -> how often only functions that are known were called there
    _seen: dict[tuple[CodeType, int], int] = {}

    def _heard_call(code: CodeType, offset: int, callee: Any, first: Any) -> Any:
        """Somebody whom we watch calls. A place that brings nothing new is not heard of any more."""
        new = False
        for target in _targets(callee):
            if not target.co_filename.startswith(OWN) and _sampler.calls_add(target, False):
                sys.monitoring.set_local_events(_tool, target, LOCAL)
                new = True
        times = 0 if new else _seen.get((code, offset), 0) + 1
        if times >= OFTEN or (not new and not _may_vary(callee)):
            _seen.pop((code, offset), None)
            return DISABLE
        _seen[code, offset] = times
        return None

    def _targets(callee: Any) -> list[CodeType]:
        if isinstance(callee, type):
            found = [_code_of(vars(base).get(name)) for name in ("__new__", "__init__") for base in callee.__mro__[:1]]
        else:
            found = [_code_of(callee) or _code_of(vars(type(callee)).get("__call__"))]
        return [code for code in found if code is not None]

    def _may_vary(callee: Any) -> bool:
        """Whether another function may be called at the same place: a builtin hardly takes turns with one of Python."""
        return isinstance(callee, (FunctionType, MethodType, type, functools.partial))

    def _watch_code(code: CodeType, function: Any) -> Any:
        """The function stays as it is."""
        if not _sampler.calls_add(code, True) and code not in (row[0] for row in _sampler.calls_read()):
            warnings.warn(
                f"@libperf.profile: {code.co_qualname} is one function too many, it is not measured", stacklevel=4
            )
            return function
        sys.monitoring.set_local_events(_tool, code, LOCAL)
        return function

else:

    def _take_place() -> None: ...

    def _watch_code(code: CodeType, function: Any) -> Any:
        """A wrapper that sets the profile function while it runs."""
        _sampler.calls_add(code, True)
        if code.co_flags & COROUTINE:

            @functools.wraps(function)
            async def wrapped(*args: Any, **kwargs: Any) -> Any:
                return await _Driven(function(*args, **kwargs))

        elif code.co_flags & (GENERATOR | ASYNC_GENERATOR):
            raise TypeError(
                f"@libperf.profile: {code.co_qualname} is a generator; Python 3.12 is needed to profile those"
            )
        else:

            @functools.wraps(function)
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                if not _begin():
                    return function(*args, **kwargs)
                try:
                    return function(*args, **kwargs)
                finally:
                    _sampler.calls_switch(False)

        return wrapped

    def _begin() -> bool:
        """Whether it is ours to switch off again."""
        if _sampler.calls_switch(True):
            return True
        if sys.getprofile() is not None and not _told:
            _told.append(True)
            warnings.warn(
                "@libperf.profile: another profiler is at work, calls are not measured meanwhile", stacklevel=3
            )
        return False

    _told: list[bool] = []

    class _Driven:
        """Awaits a coroutine, with the profile function set while it runs."""

        def __init__(self, coroutine: Any) -> None:
            self.coroutine = coroutine

        def __await__(self) -> Any:
            step, value = self.coroutine.send, None
            while True:
                ours = _begin()
                try:
                    yielded = step(value)
                except StopIteration as stop:
                    return stop.value
                finally:
                    if ours:
                        _sampler.calls_switch(False)
                try:
                    value = yield yielded
                    step = self.coroutine.send
                except GeneratorExit:
                    self.coroutine.close()
                    raise
                except BaseException as raised:
                    step, value = self.coroutine.throw, raised
