"""The names of OpenTelemetry's conventions for generative AI."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libperf.exports import conventions
from libperf.names import INPUT_TOKENS, OUTPUT_TOKENS, Kind

PAGE = Path(__file__).parents[2] / "docs/exports/conventions.md"


@pytest.mark.parametrize(
    ("kind", "name", "given", "expected"),
    [
        (
            Kind.LLM,
            "plan",
            {"model": "gpt-4o", "prompt_tokens": 3, "finish_reason": "stop", "mood": "good"},
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "gpt-4o",
                "gen_ai.provider.name": "openai",
                "gen_ai.usage.input_tokens": 3,
                "gen_ai.response.finish_reasons": ["stop"],
                "mood": "good",
            },
        ),
        (
            Kind.EMBEDDING,
            "embed",
            {"gen_ai.request.model": "own-model"},
            {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": "own-model"},
        ),
        (Kind.TOOL, "add", {}, {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "add"}),
        (Kind.GRAPH, "agent", {}, {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "agent"}),
        (Kind.RETRIEVER, "docs", {}, {"gen_ai.operation.name": "retrieval"}),
        (Kind.SPAN, "load", {"model": "x", "tokens": 1}, {"model": "x", "tokens": 1}),
        (Kind.NODE, "plan", {"model": "x"}, {"model": "x"}),
    ],
    ids=lambda value: str(value)[:20],
)
def test_attributes(kind: Kind, name: str, given: dict[str, object], expected: dict[str, object]) -> None:
    assert conventions.attributes(kind, name, given) == expected


def test_the_programs_own_word_stands() -> None:
    """What it set under the conventional name is neither overwritten by an alias nor by a guess."""
    given = {"model": "short", "gen_ai.request.model": "gpt-4o-2024", "gen_ai.provider.name": "azure.ai.openai"}
    found = conventions.attributes(Kind.LLM, "plan", given)
    assert found["gen_ai.request.model"] == "gpt-4o-2024"
    assert found["gen_ai.provider.name"] == "azure.ai.openai"
    assert "model" not in found


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o-mini", "openai"),
        ("openai/gpt-4o", "openai"),
        ("Claude-Sonnet-4", "anthropic"),
        ("models/gemini-2.5-pro", "gcp.gen_ai"),
        ("my-own", None),
        ("", None),
        (12, None),
    ],
)
def test_who_makes_a_model(model: object, provider: str | None) -> None:
    assert conventions.provider_of(model) == provider


def test_the_core_counts_tokens_under_these_names() -> None:
    assert {INPUT_TOKENS, OUTPUT_TOKENS} <= set(conventions.ALIASES.values())


def test_the_page_prints_the_table() -> None:
    """Every row of the module is a row of the document, and the other way round."""
    text = PAGE.read_text()
    rows = {tuple(re.findall(r"`([^`]+)`", row)) for row in re.findall(r"^\| `.*$", text, re.MULTILINE)}
    kinds = {
        (
            kind.name.lower(),
            each.name,
            each.span_kind,
            f"{each.name} {{{each.target}}}",
            *([each.holds_name] if each.holds_name else []),
        )
        for kind, each in conventions.OPERATIONS.items()
    }
    assert rows == kinds | set(conventions.ALIASES.items()) | {(f"{k}…", v) for k, v in conventions.PROVIDERS.items()}
