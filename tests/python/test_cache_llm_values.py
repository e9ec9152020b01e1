"""storable(): values that are a model's answers are kept only when they are complete; other values are not looked at."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation, LLMResult

from libperf.answers.storable import storable
from libperf.testing import MockLLM

ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Tell me about tides"}]}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def test_objects_of_openai(llm: MockLLM) -> None:
    """Whole, cut off, and asking for a tool; embeddings and single chunks are values like others."""
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=llm.base_url, api_key="x")
    create = client.chat.completions.create
    assert storable(create(**ASK)) is None
    assert storable(create(**ASK, max_tokens=2)) == "truncated"
    called = create(**ASK, tools=[TOOL], tool_choice="required")
    assert storable(called) == "tools"
    assert storable(called, pure_tools=["weather"]) is None
    assert storable(called.to_dict()) == "tools"
    assert storable(client.responses.create(model="m", input="a")) is None
    assert storable(client.responses.create(model="m", input="a", max_output_tokens=1)) == "truncated"
    assert storable(client.embeddings.create(model="m", input="a")) is None
    assert storable(client.models.list().data[0]) is None


def test_objects_of_anthropic() -> None:
    """The SDK's own message, where it is installed."""
    types = pytest.importorskip("anthropic").types
    said = {
        "id": "1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hi"}],
    }
    usage = {"input_tokens": 1, "output_tokens": 1}
    for stop, reason in (("end_turn", None), ("max_tokens", "truncated"), ("refusal", "filtered")):
        told = {**said, "usage": usage, "stop_reason": stop, "stop_sequence": None}
        assert storable(types.Message.model_validate(told)) == storable(told) == reason


def test_objects_of_langchain() -> None:
    """Messages, generations, results of one or of many prompts."""
    good = AIMessage("Hi", response_metadata={"finish_reason": "stop"})
    cut = AIMessage("Hi", response_metadata={"finish_reason": "length"})
    calls = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
    for message, reason in ((good, None), (cut, "truncated"), (calls, "tools")):
        generation = ChatGeneration(message=message)
        assert storable(message) == storable(generation) == reason
        assert storable(ChatResult(generations=[ChatGeneration(message=good), generation])) == reason
        assert storable(LLMResult(generations=[[ChatGeneration(message=good)], [generation]])) == reason
    assert storable(Generation(text="Hi", generation_info={"finish_reason": "length"})) == "truncated"
    assert storable(HumanMessage("Hi")) is None


def test_other_values() -> None:
    """Whatever they look like."""
    values: list[Any] = [
        None,
        1,
        "length",
        [cut for cut in "abc"],
        {"finish_reason": "length"},
        {"choices": []},
        object(),
    ]
    assert [storable(value) for value in values] == [None] * len(values)
