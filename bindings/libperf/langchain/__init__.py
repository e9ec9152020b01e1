"""Spans for LangChain and LangGraph: one callback handler, seen by every run without a `config=` in user code.

Runs are matched by `run_id` and `parent_run_id`, never by what happens to be current. A node or tool also becomes the
current span while it runs, so that `@libperf.trace` functions inside it have it as their parent. Only what a user would
name gets a span: graphs (runs without a parent), nodes, models, tools, retrievers; the chains in between hand their
parent on. Imported by libperf.instrument once langchain_core has been imported, never before.
"""

import functools
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any
from uuid import UUID

from langchain_core.callbacks.base import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook

from .. import handles
from ..context import get_current, put_back, set_current
from ..instrument import switch_on_if_asked
from ..names import INPUT_TOKENS, OUTPUT_TOKENS, Kind, intern, key
from ..spans import OK, end_with_error
from ..task import begin_in_task

if TYPE_CHECKING:
    from .cache import LLMCache
    from .embeddings import BatchedEmbeddings

RUNS_MAX = 100_000  # runs whose end never came (a stream that nobody finished) are forgotten, oldest first
MODEL = "gen_ai.request.model"
FINISH = "gen_ai.response.finish_reasons"


def running_task() -> Any:
    """The asyncio task that runs now, or None."""
    asyncio = sys.modules.get("asyncio")
    current_task = getattr(asyncio, "current_task", None)  # another thread may be just importing it
    return current_task() if asyncio and current_task and asyncio._get_running_loop() else None


class _Run:
    """A run that is going on: its span, or the span that its children are to have as their parent."""

    __slots__ = ("current", "handle", "is_span", "outer", "place", "task", "when_done")

    def __init__(self, handle: Any, is_span: bool) -> None:
        self.handle = handle
        self.is_span = is_span
        self.place: str | None = None  # of LangGraph: a node's or task's execution; what runs inside repeats it
        self.current: Any = None  # the handle's copy that is current; None: we did not make it current
        self.outer: Any = None  # what was current before
        self.task: Any = None
        self.when_done: Any = None

    def make_current(self, outer: Any) -> None:
        self.current, self.outer = handles.copy(self.handle), outer
        set_current(self.current)

    def put_back(self) -> None:
        """Make current what was current before. LangChain tells the end of async work in a task of its own, where the
        context of the start is out of reach: so the copy itself becomes what was current before."""
        if self.current is not None:
            put_back(self.handle, self.outer)
            if running_task():
                handles.become(self.current, self.outer)

    def watch(self, when_done: Callable[[Any], None]) -> None:
        """LangChain does not tell the end of models and tools that are cancelled; their task does."""
        if task := running_task():
            self.task, self.when_done = task, when_done
            task.add_done_callback(when_done)

    def unwatch(self) -> None:
        if self.task:
            self.task.remove_done_callback(self.when_done)


class Handler(BaseCallbackHandler):
    """The one handler of this process. Sync and inline: it runs where the work runs, in its thread and context."""

    run_inline = True
    raise_error = False

    def __init__(self) -> None:
        self._runs: OrderedDict[UUID, _Run] = OrderedDict()
        self._lock = threading.Lock()

    # ---- bookkeeping ----

    def _begin(
        self,
        run_id: UUID,
        parent_run_id: UUID | None,
        kind: Kind | None,
        name: str,
        *,
        current: bool = False,
        place: str | None = None,
    ) -> Any:
        """Begin a span of this kind; None: no span of its own, children get its parent."""
        with self._lock:
            parent = self._runs.get(parent_run_id) if parent_run_id else None
        ambient = get_current()
        above = parent.handle if parent else ambient
        # A traced function between the node and this run is newer than the node and in its trace: it is the parent.
        if ambient.start_ticks > above.start_ticks and ambient.trace_lo == above.trace_lo:
            above = ambient
        if kind is None:
            run = _Run(above, False)
        else:
            run = _Run(begin_in_task(intern(kind, name), above), True)
            if current:
                run.make_current(ambient)
            if kind not in (Kind.NODE, Kind.GRAPH):
                run.watch(functools.partial(self._task_done, run_id))
        run.place = place
        with self._lock:
            self._runs[run_id] = run
            forgotten = self._runs.popitem(last=False)[1] if len(self._runs) > RUNS_MAX else None
        if forgotten and forgotten.is_span:
            forgotten.unwatch()
            end_with_error(forgotten.handle, GeneratorExit())
        return run.handle

    def _end(self, run_id: UUID, error: BaseException | None = None) -> None:
        with self._lock:
            run = self._runs.pop(run_id, None)
        if run is None or not run.is_span:
            return
        run.unwatch()
        run.put_back()
        if error is None or any(cls.__name__ == "GraphBubbleUp" for cls in type(error).__mro__):
            # not an error: how LangGraph interrupts and hands over
            handles.end_as(run.handle, OK, 0)
        else:
            end_with_error(run.handle, error)

    def _task_done(self, run_id: UUID, task: Any) -> None:
        if task.cancelled():
            self._end(run_id, GeneratorExit())

    # ---- chains: graphs and nodes ----

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = kwargs.get("name") or _name(serialized) or "chain"
        metadata = metadata or {}
        place = metadata.get("langgraph_checkpoint_ns")
        with self._lock:
            parent = self._runs.get(parent_run_id) if parent_run_id else None
        # What runs inside a node repeats its metadata, often its name too (a sub-graph, a runnable): the first is it.
        is_node = metadata.get("langgraph_node") == name and (parent is None or parent.place != place)
        if is_node and name != "__start__":  # that one only routes
            self._begin(run_id, parent_run_id, Kind.NODE, name, current=True, place=place)
        elif parent_run_id is None:
            self._begin(run_id, None, Kind.GRAPH, name, place=place)
        else:
            self._begin(run_id, parent_run_id, None, name, place=place)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error)

    # ---- models ----

    def on_chat_model_start(
        self,
        serialized: dict[str, Any] | None,
        messages: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        metadata = metadata or {}
        parameters = kwargs.get("invocation_params") or {}
        model = metadata.get("ls_model_name") or parameters.get("model") or parameters.get("model_name")
        node = metadata.get("langgraph_node")
        name = str(node or kwargs.get("name") or _name(serialized) or model or "llm")
        handle = self._begin(run_id, parent_run_id, Kind.LLM, name)
        if model:
            handles.set_name(handle, key(MODEL), intern(Kind.TEXT, str(model)))

    def on_llm_start(self, serialized: dict[str, Any] | None, prompts: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self.on_chat_model_start(serialized, prompts, run_id=run_id, **kwargs)

    def on_llm_end(self, response: Any, *, run_id: UUID, **kwargs: Any) -> None:
        with self._lock:
            run = self._runs.get(run_id)
        if run:
            for name, tokens in _usage(response):
                handles.set_int(run.handle, key(name), tokens)
        self._end(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error)

    # ---- tools, retrievers ----

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        name = kwargs.get("name") or _name(serialized) or "tool"
        self._begin(run_id, parent_run_id, Kind.TOOL, name, current=True)

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error)

    def on_retriever_start(
        self,
        serialized: dict[str, Any] | None,
        query: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        name = kwargs.get("name") or _name(serialized) or "retriever"
        self._begin(run_id, parent_run_id, Kind.RETRIEVER, name, current=True)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._end(run_id, error)


def _name(serialized: dict[str, Any] | None) -> str | None:
    if not serialized:
        return None
    path = serialized.get("id")
    return serialized.get("name") or (path[-1] if path else None)


def _usage(response: Any) -> list[tuple[str, int]]:
    """Tokens of an answer: from the messages' usage metadata, else from what the provider's client reports."""
    counts = {INPUT_TOKENS: 0, OUTPUT_TOKENS: 0}
    for generations in getattr(response, "generations", None) or ():
        for generation in generations:
            usage = getattr(getattr(generation, "message", None), "usage_metadata", None) or {}
            counts[INPUT_TOKENS] += usage.get("input_tokens", 0)
            counts[OUTPUT_TOKENS] += usage.get("output_tokens", 0)
    if not any(counts.values()):
        usage = (getattr(response, "llm_output", None) or {}).get("token_usage") or {}
        counts[INPUT_TOKENS] = usage.get("prompt_tokens") or 0
        counts[OUTPUT_TOKENS] = usage.get("completion_tokens") or 0
    return [(name, count) for name, count in counts.items() if count]


class _Switch:
    """What LangChain asks for a handler before each run: has a context variable's get(), and can be off."""

    def __init__(self) -> None:
        self.handler = Handler()
        self.on = False
        self.registered = False

    def get(self) -> Handler | None:
        return self.handler if self.on else None


_switch = _Switch()


def switch_on() -> None:
    """Trace every run that starts from now on, in every thread and context."""
    if not _switch.registered:
        _switch.registered = True  # there is no way to take a hook back; off, it costs one call that returns None
        register_configure_hook(_switch, inheritable=True, handle_class=Handler)  # type: ignore[arg-type]
    _switch.on = True


def switch_off() -> None:
    """Trace no run that starts from now on; those that are going on are finished."""
    _switch.on = False


def handler() -> Handler:
    """The handler itself, for `config={"callbacks": [libperf.langchain.handler()]}`."""
    return _switch.handler


# A program that only traces imports neither.
_LATER = {"BatchedEmbeddings": "embeddings", "LLMCache": "cache"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'libperf.langchain' has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


__all__ = ["BatchedEmbeddings", "Handler", "LLMCache", "handler", "switch_off", "switch_on"]

switch_on_if_asked(__name__)
