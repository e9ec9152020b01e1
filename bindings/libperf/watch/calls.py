"""Calls that are made again: what a traced function, a model or a tool is called with, as 64 bits of a digest.

Nothing of the arguments is kept. Where they have no canonical form, or are too much to look at, there is no digest, and
the call counts as one of which nothing is known. Generators have none: what they give is not one value.
"""

import contextlib
import functools
import threading
from pathlib import Path
from typing import Any

from .. import tracing
from .._core import lib
from .._scheduler import emit
from ..names import TEXT, intern
from .patch import Patches

CALL: int = lib.PERF_EVENT_CALL


class _Here(threading.local):
    span = 0  # that this thread began last


_here = _Here()


# ---- traced functions: their `begin` and `function` are ours meanwhile ----


def watch_calls(patches: Patches) -> None:
    patches.set(tracing, "watch_function", _watch)
    for known in list(tracing.traced_functions):
        if traced := known():
            _watch(traced)


def leave_alone() -> None:
    """Give them back what they were."""
    for known in list(tracing.traced_functions):
        if traced := known():
            parts = tracing.parts_of(traced)
            for name in ("begin", "function"):
                if original := getattr(getattr(parts, name), "_libperf_original", None):
                    setattr(parts, name, original)


def _watch(traced: Any) -> None:
    parts = tracing.parts_of(traced)
    if not hasattr(parts.begin, "_libperf_original"):
        parts.begin = _watched_begin(parts.begin)
        parts.function = _watched_function(parts.function)


def _watched_begin(original: Any) -> Any:
    """Between this and the call itself there is nothing of the user's."""

    def begin(number: int, parent: Any) -> Any:
        handle = original(number, parent)
        _here.span = handle.id
        return handle

    begin._libperf_original = original  # type: ignore[attr-defined]
    return begin


def _watched_function(original: Any) -> Any:
    from .digest import digest_of_arguments

    key_of: Any = None
    place = 0

    def function(*args: Any, **kwargs: Any) -> Any:
        nonlocal key_of, place
        span = _here.span
        try:
            if key_of is None:
                key_of, place = digest_of_arguments(original), _place_of(original)
            digest = key_of(args, kwargs)
        except Exception:  # of the user's own classes; or there is no form
            digest = None
        if digest is not None:
            emit(CALL, span, digest, place)
        return original(*args, **kwargs)

    function._libperf_original = original  # type: ignore[attr-defined]
    return function


def _place_of(function: Any) -> int:
    """ "agent.py:12" as a name; 0: it is not written in Python."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    if code is None:
        return 0
    return intern(TEXT, f"{code.co_filename.removeprefix(f'{Path.cwd()}/')}:{code.co_firstlineno}")


# ---- LangChain: models, tools, retrievers ----


def watch_runs(patches: Patches, handler: Any) -> None:
    """What they are asked. The run has its span when the original has returned."""
    from .digest import digest_of_messages, digest_of_text

    def watch(name: str, digest_of: Any) -> None:
        def make(original: Any) -> Any:
            def start(self: Any, serialized: Any, asked: Any, **kwargs: Any) -> Any:
                result = original(self, serialized, asked, **kwargs)
                with contextlib.suppress(Exception):  # messages of a kind that we do not know
                    run = self._runs.get(kwargs.get("run_id"))
                    digest = digest_of(asked, kwargs)
                    if run is not None and run.is_span and digest is not None:
                        emit(CALL, run.handle.id, digest)
                return result

            return start

        patches.wrap(handler, name, None, make)

    watch("on_chat_model_start", digest_of_messages)
    watch("on_tool_start", digest_of_text)
    watch("on_retriever_start", digest_of_text)
