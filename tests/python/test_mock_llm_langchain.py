"""MockLLM under LangChain and LangGraph, as an agent would use it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from libperf.testing import MockLLM

langchain_openai = pytest.importorskip("langchain_openai")
if TYPE_CHECKING:
    import pydantic
else:
    pydantic = pytest.importorskip("pydantic")


def model_for(llm: MockLLM, **more: Any) -> Any:
    return langchain_openai.ChatOpenAI(model="m", base_url=llm.base_url, api_key="mock", max_retries=0, **more)


def weather(city: str, days: int = 1) -> str:
    """Tells the weather of a city."""
    return f"{days} sunny days in {city}"


class Forecast(pydantic.BaseModel):
    """A forecast."""

    city: str
    degrees: int


def test_invoke_and_stream() -> None:
    """`invoke` and `astream` give the same text, with usage metadata."""

    async def collect(model: Any) -> Any:
        return [chunk async for chunk in model.astream("Tell me about tides")]

    with MockLLM() as llm:
        model = model_for(llm, stream_usage=True)
        whole = model.invoke("Tell me about tides")
        chunks = asyncio.run(collect(model))
        assert "".join(chunk.content for chunk in chunks) == whole.content
        assert whole.usage_metadata["total_tokens"] == sum(
            chunk.usage_metadata["total_tokens"] for chunk in chunks if chunk.usage_metadata
        )


def test_tools_and_structured_output() -> None:
    """`bind_tools` gets tool calls, and `with_structured_output` gets instances by each of its methods."""
    with MockLLM() as llm:
        model = model_for(llm)
        calls = model.bind_tools([weather]).invoke("Weather in Paris?").tool_calls
        assert calls[0]["name"] == "weather"
        assert isinstance(calls[0]["args"]["city"], str)
        for method in ("json_schema", "function_calling"):
            structured = model.with_structured_output(Forecast, method=method)
            assert isinstance(structured.invoke("Forecast for Paris"), Forecast)


def test_the_responses_api() -> None:
    """ChatOpenAI on the responses endpoint gets text and tool calls, also streamed."""
    with MockLLM() as llm:
        model = model_for(llm, use_responses_api=True)
        assert model.invoke("Tell me about tides").text
        assert "".join(chunk.text for chunk in model.stream("Tell me about tides"))
        assert model.bind_tools([weather]).invoke("Weather in Paris?").tool_calls
        assert {record.endpoint for record in llm.requests} == {"responses"}


def test_embeddings() -> None:
    """OpenAIEmbeddings gets one vector for each text."""
    with MockLLM(embedding_dimensions=16) as llm:
        embed = langchain_openai.OpenAIEmbeddings(
            model="e", base_url=llm.base_url, api_key="mock", check_embedding_ctx_length=False
        )
        assert [len(vector) for vector in embed.embed_documents(["one", "two"])] == [16, 16]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_agent_runs_to_its_end() -> None:
    """A LangGraph agent calls its tool once a round and ends with text."""
    graph = pytest.importorskip("langgraph.graph")
    prebuilt = pytest.importorskip("langgraph.prebuilt")
    with MockLLM(tool_rounds=2, parallel_tool_calls=2) as llm:
        model = model_for(llm).bind_tools([weather])
        builder = graph.StateGraph(graph.MessagesState)
        builder.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
        builder.add_node("tools", prebuilt.ToolNode([weather]))
        builder.add_edge(graph.START, "agent")
        builder.add_conditional_edges("agent", prebuilt.tools_condition)
        builder.add_edge("tools", "agent")
        messages = builder.compile().invoke({"messages": [("user", "Weather in Paris?")]})["messages"]
        kinds = [message.type for message in messages]
        assert kinds == ["human", "ai", "tool", "tool", "ai", "tool", "tool", "ai"]
        assert all("sunny" in message.content for message in messages if message.type == "tool")
        assert messages[-1].content
        assert len(llm.requests) == 3
