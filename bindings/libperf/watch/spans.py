"""libperf's own spans: events are labelled with the one that is current."""

from typing import Any

from .. import _scheduler, context, handles, tracing
from .calls import watch_runs
from .patch import Patches


def watch_spans(patches: Patches) -> None:
    """Where coroutines, generators and wrapped functions change the current span, an event says so."""
    for module in (context, tracing):
        patches.set(module, "switch_current", _scheduler.switch_current)
    if handles.speed is not None:
        patches.set(handles.speed.hooks, "switch_current", _scheduler.switch_current)


def watch_langchain(patches: Patches) -> None:
    """LangChain's handles become other spans."""
    from .. import langchain

    def make(original: Any) -> Any:
        def put_back(self: Any) -> None:
            original(self)
            _scheduler.forget_handle()

        return put_back

    patches.wrap(langchain._Run, "put_back", "self", make)
    watch_runs(patches, langchain.Handler)
