"""A thread pool whose work runs in the submitter's context."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class ContextExecutor(ThreadPoolExecutor):
    """`concurrent.futures.ThreadPoolExecutor`, but each piece of work sees the context variables of whoever submitted
    it, the current span among them. Works with `loop.run_in_executor` too.
    """

    def submit(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        context = copy_context()
        return super().submit(lambda: context.run(function, *args, **kwargs))
