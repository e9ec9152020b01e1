"""OpenTelemetry's semantic conventions for generative AI: what libperf's kinds and attributes are called there.

One table for every exporter; docs/exports/conventions.md prints it. After the conventions of their own repository
(open-telemetry/semantic-conventions-genai, 2026, all of them in status "Development"). Content (prompts, answers,
arguments) is never recorded, so none of the attributes that hold it is here.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..names import Kind

__all__ = ["ALIASES", "LISTS", "OPERATIONS", "OPERATION_NAME", "PROVIDERS", "Operation", "attributes", "provider_of"]

OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"


class Operation(NamedTuple):
    """What a kind of span is called."""

    name: str  # gen_ai.operation.name
    span_kind: str  # of OpenTelemetry: "CLIENT" waits for another program, "INTERNAL" does not
    holds_name: str  # the attribute that libperf's own name of the span belongs to; empty: none
    target: str  # the span is to be called "{operation} {this attribute}"


# Kinds that are not here (function, node, request) have no counterpart: they are exported as INTERNAL spans.
OPERATIONS: dict[Kind, Operation] = {
    Kind.LLM: Operation("chat", "CLIENT", "", REQUEST_MODEL),
    Kind.EMBEDDING: Operation("embeddings", "CLIENT", "", REQUEST_MODEL),
    Kind.RETRIEVER: Operation("retrieval", "CLIENT", "", "gen_ai.data_source.id"),
    Kind.TOOL: Operation("execute_tool", "INTERNAL", "gen_ai.tool.name", "gen_ai.tool.name"),
    Kind.GRAPH: Operation("invoke_workflow", "INTERNAL", "gen_ai.workflow.name", "gen_ai.workflow.name"),
}

# What programs like to call an attribute of a span of these kinds, and what it is called by the conventions.
ALIASES: dict[str, str] = {
    "model": REQUEST_MODEL,
    "provider": PROVIDER_NAME,
    "temperature": "gen_ai.request.temperature",
    "max_tokens": "gen_ai.request.max_tokens",
    "input_tokens": "gen_ai.usage.input_tokens",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "finish_reason": "gen_ai.response.finish_reasons",
}

# Attributes whose value is a list of texts; libperf keeps one text.
LISTS = frozenset({"gen_ai.response.finish_reasons"})

# gen_ai.provider.name is required, and a program rarely says it: by the beginning of the model's name.
PROVIDERS: dict[str, str] = {
    "gpt-": "openai",
    "chatgpt-": "openai",
    "o1": "openai",
    "o3": "openai",
    "o4": "openai",
    "text-embedding-3": "openai",
    "text-embedding-ada": "openai",
    "claude-": "anthropic",
    "gemini-": "gcp.gen_ai",
    "command-": "cohere",
    "mistral-": "mistral_ai",
    "deepseek-": "deepseek",
    "grok-": "x_ai",
    "sonar": "perplexity",
}


def provider_of(model: object) -> str | None:
    """Who makes a model, by its name; None: not known. Whose service it was asked of, the name does not say."""
    name = str(model).rpartition("/")[2].lower()
    return next((provider for start, provider in PROVIDERS.items() if name.startswith(start)), None)


def attributes(kind: Kind, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a span under the names of the conventions; others as they are. A program's own word stands:
    what it has set under the conventional name is not overwritten by an alias or a guess."""
    operation = OPERATIONS.get(kind)
    if operation is None:
        return dict(given)
    found: dict[str, Any] = {OPERATION_NAME: operation.name}
    if operation.holds_name:
        found[operation.holds_name] = name
    for key, value in given.items():
        conventional = ALIASES.get(key, key)
        if conventional == key or conventional not in given:
            found[conventional] = [value] if conventional in LISTS else value
    if REQUEST_MODEL in found and PROVIDER_NAME not in found and (provider := provider_of(found[REQUEST_MODEL])):
        found[PROVIDER_NAME] = provider
    return found
