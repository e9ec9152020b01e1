"""Which span is current: a context variable that holds an immutable handle, and ways to carry it into threads.

The rule that everything here keeps: whoever makes a span current puts back what was current before *in the same
context*, and puts it back by value. No token is kept, so nothing breaks when an async generator is closed in another
task, or a thread ends a span that another thread began.
"""

import functools
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

from . import handles

__all__ = ["wrap"]

P = ParamSpec("P")
R = TypeVar("R")

NO_SPAN: Any = handles.NO_SPAN  # a handle never changes, so one can be a parent in many threads at once

_current: ContextVar[Any] = ContextVar("libperf_span", default=NO_SPAN)
current_span_variable = _current  # for C, which reads it itself
get_current: Callable[[], Any] = _current.get
set_current: Callable[[Any], Any] = _current.set
# The same where no span begins or ends at that moment; a profiler replaces it, to know whose time it was until then.
switch_current = set_current
if handles.speed is not None:
    handles.speed.remember(variable=_current)


def current_of(context: Any) -> Any:
    """The span that is current in another context."""
    return context.get(_current, NO_SPAN)


def put_back(handle: Any, outer: Any) -> None:
    """Make `outer` current again, unless this is another context than the one in which `handle` became current."""
    if get_current().id == handle.id:  # it may be a copy
        set_current(outer)


def wrap(function: Callable[P, R]) -> Callable[P, R]:
    """Bind a function to the span that is current now: for threads, which start without one.

    >>> threading.Thread(target=libperf.wrap(work)).start()

    The result may be called any number of times, from several threads at once.
    """
    span = get_current()

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        outer = get_current()
        switch_current(span)
        try:
            return function(*args, **kwargs)
        finally:
            switch_current(outer)

    return wrapped
