"""MockLLM under the official OpenAI client: sync, async, streams, tools, structured output, embeddings, responses."""

from __future__ import annotations

import asyncio
import base64
import json
import math
from typing import TYPE_CHECKING, Any, Literal

import pytest

from libperf.testing import MockLLM, Reply

openai = pytest.importorskip("openai")
if TYPE_CHECKING:
    import pydantic
else:
    pydantic = pytest.importorskip("pydantic")

QUESTION: list[Any] = [{"role": "user", "content": "What is the weather in Paris for 3 people?"}]


def _tool(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "function", "function": {"name": name, "description": "A tool.", "parameters": schema}}


WEATHER = _tool("weather", {"city": {"type": "string"}, "unit": {"enum": ["celsius", "kelvin"]}})
SUM = _tool("add", {"a": {"type": "integer"}, "b": {"type": "integer"}})
TOOLS: list[Any] = [WEATHER, SUM]


def client_for(llm: MockLLM, **more: Any) -> Any:
    return openai.OpenAI(base_url=llm.base_url, api_key="mock", **{"max_retries": 0, **more})


def test_a_chat_completion() -> None:
    """A plain question gets text, usage and a stop."""
    with MockLLM() as llm:
        answer = client_for(llm).chat.completions.create(model="m", messages=QUESTION)
        assert answer.choices[0].message.content
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
        assert answer.model == "m"


def test_the_async_client() -> None:
    """The async client works under `async with`, and parallel calls each take their own latency."""

    async def run() -> None:
        async with MockLLM(latency=0.01) as llm, openai.AsyncOpenAI(base_url=llm.base_url, api_key="x") as client:
            create = client.chat.completions.create
            answers = await asyncio.gather(
                *(create(model="m", messages=QUESTION, temperature=n / 10) for n in range(8))
            )
            assert all(answer.choices[0].message.content for answer in answers)
            stream = await create(model="m", messages=QUESTION, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            assert text
            assert all(record.served is not None and record.served >= 0.01 for record in llm.requests)

    asyncio.run(run())


def test_the_stream_helper_rebuilds_the_answer() -> None:
    """The client's own stream helper ends with the same message as a whole answer, with usage."""
    with MockLLM() as llm:
        client = client_for(llm)
        whole = client.chat.completions.create(model="m", messages=QUESTION)
        with client.chat.completions.stream(
            model="m", messages=QUESTION, stream_options={"include_usage": True}
        ) as stream:
            stream.until_done()
            streamed = stream.get_final_completion()
        assert streamed.choices[0].message.content == whole.choices[0].message.content
        assert streamed.usage.total_tokens == whole.usage.total_tokens


def test_tools_are_called_for_the_rounds_asked() -> None:
    """Tool calls are answered `tool_rounds` times after a user message, then text follows; a new question resets."""
    with MockLLM(tool_rounds=2, parallel_tool_calls=3) as llm:
        client = client_for(llm)
        messages = list(QUESTION)
        finishes = []
        for _ in range(3):
            choice = client.chat.completions.create(model="m", messages=messages, tools=TOOLS).choices[0]
            finishes.append(choice.finish_reason)
            messages.append(choice.message.to_dict())
            for call in choice.message.tool_calls or ():
                arguments = json.loads(call.function.arguments)
                assert arguments.keys() == ({"city", "unit"} if call.function.name == "weather" else {"a", "b"})
                messages.append({"role": "tool", "tool_call_id": call.id, "content": "done"})
        assert finishes == ["tool_calls", "tool_calls", "stop"]
        assert sum(m["role"] == "tool" for m in messages) == 6
        assert len({m["tool_call_id"] for m in messages if m["role"] == "tool"}) == 6
        messages.append({"role": "user", "content": "And tomorrow?"})
        again = client.chat.completions.create(model="m", messages=messages, tools=TOOLS)
        assert again.choices[0].finish_reason == "tool_calls"


def test_tool_choice_is_honoured() -> None:
    """none, required, a named function, allowed tools and `parallel_tool_calls` decide who is called."""
    with MockLLM(tool_rounds=0, parallel_tool_calls=4) as llm:
        client = client_for(llm)

        def calls(**more: Any) -> list[str]:
            choice = client.chat.completions.create(model="m", messages=QUESTION, tools=TOOLS, **more).choices[0]
            return [call.function.name for call in choice.message.tool_calls or ()]

        assert calls() == calls(tool_choice="auto") == calls(tool_choice="none") == []
        assert sorted(calls(tool_choice="required")) == ["add", "add", "weather", "weather"]
        assert calls(tool_choice={"type": "function", "function": {"name": "add"}}) == ["add"]
        assert len(calls(tool_choice="required", parallel_tool_calls=False)) == 1
        allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "weather"}}]}
        assert set(calls(tool_choice={"type": "allowed_tools", "allowed_tools": allowed})) == {"weather"}


def test_tool_calls_are_streamed() -> None:
    """Streamed tool calls add up to the same calls as the whole answer, with usage of all their tokens."""
    with MockLLM(parallel_tool_calls=2) as llm:
        client = client_for(llm)
        whole = client.chat.completions.create(model="m", messages=QUESTION, tools=TOOLS)
        with client.chat.completions.stream(
            model="m", messages=QUESTION, tools=TOOLS, stream_options={"include_usage": True}
        ) as stream:
            stream.until_done()
            streamed = stream.get_final_completion()
        wanted = [(c.id, c.function.name, c.function.arguments) for c in whole.choices[0].message.tool_calls]
        got = [(c.id, c.function.name, c.function.arguments) for c in streamed.choices[0].message.tool_calls]
        assert got == wanted
        assert streamed.choices[0].finish_reason == "tool_calls"
        assert streamed.usage.completion_tokens == whole.usage.completion_tokens


def test_scripted_tool_calls() -> None:
    """A reply's tool calls are sent as written, then the next reply answers the tool's result."""
    replies = [
        Reply(match="weather", tool_calls=[("weather", {"city": "Oslo", "unit": "kelvin"})]),
        Reply("It is 280 K.", match=lambda request: request.messages[-1].role == "tool"),
    ]
    with MockLLM(replies=replies) as llm:
        client = client_for(llm)
        message = client.chat.completions.create(model="m", messages=QUESTION, tools=TOOLS).choices[0].message
        assert json.loads(message.tool_calls[0].function.arguments) == {"city": "Oslo", "unit": "kelvin"}
        result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "280"}
        final = client.chat.completions.create(model="m", messages=[*QUESTION, message.to_dict(), result], tools=TOOLS)
        assert final.choices[0].message.content == "It is 280 K."


def test_old_functions_and_custom_tools() -> None:
    """The older `functions` spelling and free-text tools are answered in kind, whole and streamed."""
    with MockLLM() as llm:
        client = client_for(llm)
        old = {"functions": [SUM["function"]], "function_call": {"name": "add"}}
        call = client.chat.completions.create(model="m", messages=QUESTION, **old).choices[0].message.function_call
        assert json.loads(call.arguments).keys() == {"a", "b"}
        chunks = list(client.chat.completions.create(model="m", messages=QUESTION, stream=True, **old))
        pieces = [c.choices[0].delta.function_call.arguments for c in chunks if c.choices[0].delta.function_call]
        assert "".join(pieces) == call.arguments
        custom: list[Any] = [{"type": "custom", "custom": {"name": "shell"}}]
        answer = client.chat.completions.create(model="m", messages=QUESTION, tools=custom)
        assert answer.choices[0].message.tool_calls[0].custom.input


class Stop(pydantic.BaseModel):
    kind: Literal["stop"]
    name: str
    minutes: float


class Leg(pydantic.BaseModel):
    kind: Literal["leg"]
    towards: str
    after: list[Stop | Leg]


class Trip(pydantic.BaseModel):
    title: str
    stops: list[Stop]
    first: Leg
    note: str | None


def test_structured_output_is_parsed() -> None:
    """`parse` returns an instance of the model, for nested, optional and recursive models."""
    with MockLLM() as llm:
        client = client_for(llm)
        for number in range(10):
            answer = client.chat.completions.parse(
                model="m", messages=[{"role": "user", "content": f"Plan trip {number}"}], response_format=Trip
            )
            assert isinstance(answer.choices[0].message.parsed, Trip)
        with client.chat.completions.stream(model="m", messages=QUESTION, response_format=Trip) as stream:
            stream.until_done()
            assert isinstance(stream.get_final_completion().choices[0].message.parsed, Trip)


def test_truncated_structured_output_is_a_length_error() -> None:
    """Structured output cut by `max_tokens` is reported by the client as too long."""
    with MockLLM() as llm, pytest.raises(openai.LengthFinishReasonError):
        client_for(llm).chat.completions.parse(model="m", messages=QUESTION, response_format=Trip, max_tokens=3)


def test_json_mode() -> None:
    """`json_object` answers with a JSON object."""
    with MockLLM() as llm:
        answer = client_for(llm).chat.completions.create(
            model="m", messages=QUESTION, response_format={"type": "json_object"}
        )
        assert isinstance(json.loads(answer.choices[0].message.content), dict)


def test_embeddings() -> None:
    """Vectors have unit length, depend on the text alone, and shorten to their scaled beginning."""
    with MockLLM(embedding_dimensions=64) as llm:
        create = client_for(llm).embeddings.create
        first, second, again = (item.embedding for item in create(model="e", input=["a cat", "a dog", "a cat"]).data)
        assert len(first) == 64
        assert first == again != second
        assert math.hypot(*first) == pytest.approx(1, abs=1e-5)
        plain = create(model="other", input="a cat", encoding_format="float").data[0].embedding
        assert plain == pytest.approx(first, abs=1e-6)
        short = create(model="e", input="a cat", dimensions=8).data[0].embedding
        scale = math.hypot(*first[:8])
        assert short == pytest.approx([component / scale for component in first[:8]], abs=1e-5)
        answer = create(model="e", input=[[1, 2, 3], [4]])
        assert len(answer.data) == 2
        assert answer.usage.prompt_tokens == 4
        raw = create(model="e", input="a cat", encoding_format="base64").data[0].embedding
        assert len(base64.b64decode(raw)) == 4 * 64
        refused: list[dict[str, Any]] = [
            {"input": ""},
            {"input": []},
            {"input": "a", "dimensions": 0},
            {"input": "a", "encoding_format": "hex"},
        ]
        for bad in refused:
            with pytest.raises(openai.BadRequestError):
                create(model="e", **bad)


def test_text_completions_and_models() -> None:
    """The legacy completions endpoint answers whole and streamed, and models are listed."""
    with MockLLM() as llm:
        client = client_for(llm)
        whole = client.completions.create(model="m", prompt="Once upon a time").choices[0].text
        chunks = client.completions.create(model="m", prompt="Once upon a time", stream=True)
        assert "".join(chunk.choices[0].text for chunk in chunks) == whole
        assert [model.id for model in client.models.list()] == ["mock-llm", "mock-embedding"]
        assert client.models.retrieve("any").id == "any"


# -- errors -------------------------------------------------------------------------------------------------------


def test_the_client_retries_after_a_limit() -> None:
    """The client's own retry honours the wait told with a 429 and then succeeds."""
    with MockLLM(replies=[Reply(status=429, times=2)], retry_after=0.01) as llm:
        answer = client_for(llm, max_retries=3).chat.completions.create(model="m", messages=QUESTION)
        assert answer.choices[0].message.content
        assert [record.status for record in llm.requests] == [429, 429, 200]
        first, second, _ = llm.requests
        assert second.started - first.started >= 0.01


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ("400:1", "BadRequestError"),
        ("401:1", "AuthenticationError"),
        ("404:1", "NotFoundError"),
        ("429:1", "RateLimitError"),
        ("500:1", "InternalServerError"),
        ("529:1", "InternalServerError"),
        ("disconnect:1", "APIConnectionError"),
    ],
)
def test_each_error_is_the_clients_own(errors: str, kind: str) -> None:
    """Each injected error surfaces as the matching exception of the client, also for streams."""
    with MockLLM(errors=errors) as llm:
        create = client_for(llm).chat.completions.create
        with pytest.raises(getattr(openai, kind)):
            create(model="m", messages=QUESTION)
        if not errors.startswith("disconnect"):
            with pytest.raises(getattr(openai, kind)):
                create(model="m", messages=QUESTION, stream=True)


def test_a_retry_draws_anew() -> None:
    """Under a share of errors a retried request succeeds in the end, with the answer it would have had at once."""
    with MockLLM(errors=0.5, seed=1) as bad, MockLLM(seed=1) as good:

        def answers(llm: MockLLM) -> list[str]:
            create = client_for(llm, max_retries=0).chat.completions.create
            texts = []
            for number in range(10):
                for _ in range(60):
                    try:
                        answer = create(model="m", messages=[{"role": "user", "content": f"Number {number}"}])
                    except openai.InternalServerError:
                        continue
                    texts.append(answer.choices[0].message.content)
                    break
            return texts

        assert answers(bad) == answers(good)
        assert bad.summary().errors > 0


# -- responses ----------------------------------------------------------------------------------------------------


def test_a_response() -> None:
    """The responses endpoint answers text with usage, cut by `max_output_tokens` when asked."""
    with MockLLM() as llm:
        create = client_for(llm).responses.create
        answer = create(model="m", input="Tell me about tides", instructions="Be brief")
        assert answer.status == "completed"
        assert answer.output_text
        assert answer.usage.input_tokens == llm.requests[0].prompt_tokens
        cut = create(model="m", input="Tell me about tides", max_output_tokens=2)
        assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")


RESPONSE_TOOLS: list[Any] = [{"type": "function", **tool["function"]} for tool in TOOLS]


def test_a_response_with_function_calls() -> None:
    """Function calls come first, and text after their output, whether the history is sent or remembered."""
    with MockLLM() as llm:
        create = client_for(llm).responses.create
        first = create(model="m", input="Weather in Paris?", tools=RESPONSE_TOOLS)
        call = first.output[0]
        assert (call.type, call.status) == ("function_call", "completed")
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        history = [{"role": "user", "content": "Weather in Paris?"}, call.to_dict(), result]
        assert create(model="m", input=history, tools=RESPONSE_TOOLS).output_text
        follow = create(model="m", input=[result], tools=RESPONSE_TOOLS, previous_response_id=first.id)
        assert follow.output_text
        forced = create(model="m", input=history, tools=RESPONSE_TOOLS, tool_choice={"type": "function", "name": "add"})
        assert [item.name for item in forced.output] == ["add"]


def test_responses_are_streamed() -> None:
    """Events come numbered in order and add up to the whole response, for text, calls and structured output."""
    with MockLLM() as llm:
        client = client_for(llm)
        whole = client.responses.create(model="m", input="Tell me about tides")
        events = list(client.responses.create(model="m", input="Tell me about tides", stream=True))
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
        assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
        assert events[-1].response.output_text == whole.output_text
        with client.responses.stream(model="m", input="Weather?", tools=RESPONSE_TOOLS) as stream:
            final = stream.get_final_response()
        assert final.output[0].type == "function_call"
        parsed = client.responses.parse(model="m", input="Plan a trip", text_format=Trip)
        assert isinstance(parsed.output_parsed, Trip)
