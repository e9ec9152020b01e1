"""Help for testing agents: a model server with known answers, latencies and faults, an event loop in virtual time, and
a test that fails when something has become slower.

MockLLM needs nothing but the standard library, and nothing of the rest of the package.
"""

from typing import TYPE_CHECKING, Any

from .json_check import SchemaError, first_problem
from .json_schema import schema_value
from .latency import Latency
from .mock_llm import MockLLM
from .records import RequestRecord, Summary
from .request import Message, MockRequest, Tool
from .script import Reply, ScriptError, load_replies
from .text import count_tokens

if TYPE_CHECKING:
    from .regression import assert_no_regression
    from .virtual_loop import VirtualLoop, run_virtual, virtual_time, work

__all__ = [
    "Latency",
    "Message",
    "MockLLM",
    "MockRequest",
    "Reply",
    "RequestRecord",
    "SchemaError",
    "ScriptError",
    "Summary",
    "Tool",
    "VirtualLoop",
    "assert_no_regression",
    "count_tokens",
    "first_problem",
    "load_replies",
    "run_virtual",
    "schema_value",
    "virtual_time",
    "work",
]


def __getattr__(name: str) -> Any:
    if name == "assert_no_regression":
        from .regression import assert_no_regression  # the C core

        return assert_no_regression
    if name not in ("VirtualLoop", "run_virtual", "virtual_time", "work"):
        raise AttributeError(f"module 'libperf.testing' has no attribute {name!r}")
    from . import virtual_loop  # asyncio and the C core

    return getattr(virtual_loop, name)
