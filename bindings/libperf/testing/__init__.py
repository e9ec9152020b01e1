"""Help for testing agents: MockLLM, an OpenAI-compatible server with known answers, latencies and faults.

Needs nothing but the standard library, and nothing of the rest of the package.
"""

from .json_check import SchemaError, first_problem
from .json_schema import schema_value
from .latency import Latency
from .mock_llm import MockLLM
from .records import RequestRecord, Summary
from .request import Message, MockRequest, Tool
from .script import Reply, ScriptError, load_replies
from .text import count_tokens

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
    "count_tokens",
    "first_problem",
    "load_replies",
    "schema_value",
]
