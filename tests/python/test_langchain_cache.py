"""LLMCache: LangChain's own suites, real models against a local server, and what must not be kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_openai import ChatOpenAI, OpenAI
from langchain_tests.integration_tests.cache import AsyncCacheTestSuite, SyncCacheTestSuite

import libperf
from libperf.langchain import LLMCache
from libperf.testing import MockLLM, Reply

SETTINGS = (
    json.dumps({"id": ["langchain", "ChatOpenAI"], "kwargs": {"temperature": 0}, "lc": 1}) + "---[('stop', None)]"
)


class TestSync(SyncCacheTestSuite):
    """LangChain's suite for synchronous caches."""

    @pytest.fixture
    def cache(self) -> Iterator[LLMCache]:  # type: ignore[override]
        with libperf.TieredCache() as tiers:
            yield LLMCache(tiers)


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:The test .* is marked with:pytest.PytestWarning")  # one of the suite is not async
class TestAsync(AsyncCacheTestSuite):
    """LangChain's suite for asynchronous caches."""

    @pytest.fixture
    def cache(self) -> LLMCache:  # type: ignore[override]
        return LLMCache()


def model(llm: MockLLM, cache: LLMCache, **more: Any) -> ChatOpenAI:
    settings: dict[str, Any] = {"temperature": 0, "max_retries": 0, **more}
    return ChatOpenAI(model="m", base_url=llm.base_url, api_key="x", cache=cache, **settings)


def chat(text: str, **message: Any) -> list[Generation]:
    info = {"finish_reason": message.pop("finish_reason", "stop")}
    return [ChatGeneration(message=AIMessage(text, **message), generation_info=info)]


def found(cache: LLMCache, generations: list[Generation], settings: str = SETTINGS) -> Any:
    cache.update("prompt", settings, generations)
    return cache.lookup("prompt", settings)


def test_a_real_model_is_asked_once(llm: MockLLM) -> None:
    """The second answer is the first one, with what it said of its tokens."""
    cache = LLMCache()
    chat_model = model(llm, cache)
    first, second = chat_model.invoke("Tell me about tides"), chat_model.invoke("Tell me about tides")
    assert len(llm.requests) == 1
    assert first.content == second.content and first.response_metadata == second.response_metadata
    assert first.usage_metadata is not None and second.usage_metadata is not None
    assert second.usage_metadata["output_tokens"] == first.usage_metadata["output_tokens"] > 0
    assert cache.stats() == {"stored": 1}
    assert chat_model.invoke("Tell me about tides", stop=["x"]) is not None and len(llm.requests) == 2


def test_a_real_model_awaited(llm: MockLLM) -> None:
    """The async methods, and both kinds of caller find what the other one kept."""
    cache = LLMCache()

    async def main() -> None:
        chat_model = model(llm, cache)
        await chat_model.ainvoke("a")
        await chat_model.ainvoke("a")

    asyncio.run(main())
    model(llm, cache).invoke("a")
    assert len(llm.requests) == 1


def test_a_completion_model(llm: MockLLM) -> None:
    """Models of text have generations without messages."""
    cache = LLMCache()
    text_model = OpenAI(model="m", base_url=llm.base_url, api_key="x", cache=cache, temperature=0)
    assert text_model.invoke("Say something") == text_model.invoke("Say something")
    assert len(llm.requests) == 1


def test_the_second_turn_of_a_conversation_is_found(llm: MockLLM) -> None:
    """LangChain marks an answer from a cache (total_cost: 0): the turn that has it in its prompt is still the same."""
    cache = LLMCache()

    def conversation() -> Any:
        said: list[Any] = [HumanMessage("Tell me about tides")]
        for _ in range(3):
            said += [model(llm, cache).invoke(said), HumanMessage("And then?")]
        return [message.content for message in said]

    assert conversation() == conversation()
    assert len(llm.requests) == 3


def test_answers_are_the_callers_own() -> None:
    """What a caller does to an answer, the next one does not see."""
    cache = LLMCache()
    kept = chat("Hi", additional_kwargs={"list": [1]})
    first = found(cache, kept)
    first[0].message.additional_kwargs["list"].append(2)
    first[0].message.content = "changed"
    kept[0].message.additional_kwargs["list"].append(3)  # type: ignore[attr-defined]
    again = cache.lookup("prompt", SETTINGS)
    assert again is not None and isinstance(again, list)
    assert again[0].message.content == "Hi" and again[0].message.additional_kwargs == {"list": [1]}  # type: ignore[attr-defined]


def test_the_id_of_a_run_is_left_out() -> None:
    """LangGraph takes messages of one id for one: two branches with one question would lose an answer."""
    cache = LLMCache()
    assert found(cache, chat("Hi", id="lc_run--0199-0"))[0].message.id is None
    assert found(cache, chat("Hi", id="run-12"))[0].message.id is None
    assert found(cache, chat("Hi", id="mine"))[0].message.id == "mine"


@pytest.mark.parametrize("name", ["finish_reason", "stop_reason", "done_reason", "status"])
def test_truncated_answers_are_not_kept(name: str) -> None:
    """Whatever the provider calls it."""
    cache = LLMCache()
    reason = {"status": "incomplete", "stop_reason": "max_tokens"}.get(name, "length")
    assert found(cache, [ChatGeneration(message=AIMessage("Hi", response_metadata={name: reason}))]) is None
    assert found(cache, [Generation(text="Hi", generation_info={name: reason})]) is None
    assert cache.stats()["stored"] == 0


def test_a_truncated_answer_of_a_real_model(llm: MockLLM) -> None:
    """max_tokens cuts the answer: each call is made."""
    chat_model = model(llm, LLMCache(), max_tokens=2)
    chat_model.invoke("Tell me about tides")
    chat_model.invoke("Tell me about tides")
    assert len(llm.requests) == 2


def test_what_else_is_not_kept() -> None:
    """Filtered answers, refusals, errors, nothing; and answers that ask for tools, but for pure ones."""
    cache = LLMCache()
    assert found(cache, chat("", finish_reason="content_filter")) is None
    assert found(cache, chat("", additional_kwargs={"refusal": "I cannot"})) is None
    assert found(cache, []) is None
    calls = [{"name": "send_mail", "args": {"to": "a"}, "id": "1"}]
    assert found(cache, chat("", tool_calls=calls, finish_reason="tool_calls")) is None
    assert cache.stats() == {"stored": 0, "skipped_empty": 1, "skipped_filtered": 2, "skipped_tools": 1}
    for pure in (True, {"send_mail"}):
        kept = found(LLMCache(pure_tools=pure), chat("", tool_calls=calls))
        assert kept[0].message.tool_calls == [{**calls[0], "type": "tool_call"}]
    assert found(LLMCache(pure_tools=["search"]), chat("", tool_calls=calls)) is None


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ('{"kwargs": {"temperature": 0.0}}---[]', True),
        ('{"kwargs": {"temperature": 0.5}}---[]', False),
        ('{"kwargs": {}}---[]', False),
        ('{"kwargs": {"temperature": 0.5}}---[("stop", None), (\'temperature\', 0)]', True),
        ('{"kwargs": {"temperature": 0}}---[(\'temperature\', 1.0)]', False),
        ("[('model', 'm'), ('temperature', 0.7)]", False),
        ("[('model', 'm'), ('temperature', 0)]", True),
        ("[('model', 'm')]", True),
        ("anything", True),
    ],
)
def test_temperature(settings: str, kept: bool) -> None:
    """0 only, as far as the model tells it; any, when asked."""
    assert (found(LLMCache(), chat("Hi"), settings) is not None) == kept
    assert found(LLMCache(nondeterministic=True), chat("Hi"), settings) is not None


def test_models_of_tests_are_cached() -> None:
    """LangChain's fakes know no temperature."""
    fake = FakeListChatModel(responses=["a", "b"], cache=LLMCache())
    assert [fake.invoke("x").content, fake.invoke("x").content] == ["a", "a"]


def test_base_urls_and_tools_are_keys(llm: MockLLM) -> None:
    """The same prompt with other tools, or at another server, is another call."""
    cache = LLMCache()
    tool = {"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}
    with MockLLM(replies=[Reply("from elsewhere")]) as other:
        answers = [
            model(llm, cache).invoke("a").content,
            model(other, cache).invoke("a").content,
            model(llm, cache).bind_tools([tool], tool_choice="none").invoke("a").content,
        ]
        assert len(llm.requests) == 2 and len(other.requests) == 1
        assert answers[1] == "from elsewhere" != answers[0]


def test_scopes_are_apart() -> None:
    """A tenant's answers are nobody else's, in one cache; clear() forgets LangChain's only."""
    tiers = libperf.TieredCache()
    tiers.set("mine", 1)
    one, other = LLMCache(tiers, scope="one"), LLMCache(tiers, scope="other")
    assert found(one, chat("Hi")) is not None
    assert other.lookup("prompt", SETTINGS) is None
    one.clear()
    assert one.lookup("prompt", SETTINGS) is None
    assert tiers.get("mine") == 1
    assert found(one, chat("Hi")) is not None  # at once after clear()


def test_what_has_no_bytes_stays_in_memory() -> None:
    """Structured output hangs an object of the user's class on a message: kept in this process, copied for each."""

    class Weather:
        def __init__(self) -> None:
            self.degrees = [1]

    cache = LLMCache()
    first = found(cache, chat("Hi", additional_kwargs={"parsed": Weather()}))[0].message.additional_kwargs["parsed"]
    first.degrees.append(2)
    again: Any = cache.lookup("prompt", SETTINGS)
    assert again[0].message.additional_kwargs["parsed"].degrees == [1]


@pytest.mark.parametrize("entry", [b"", b"garbage", bytes(200), "text", 7])
def test_an_entry_that_is_not_ours_is_a_miss(entry: Any) -> None:
    """Whatever lies there, whoever wrote it: the model is asked."""
    from libperf.langchain.cache import _key

    cache = LLMCache()
    cache.cache.set(_key("prompt", SETTINGS), entry)
    assert cache.lookup("prompt", SETTINGS) is None
    assert asyncio.run(cache.alookup("prompt", SETTINGS)) is None


def test_it_is_there_after_a_restart(llm: MockLLM, tmp_path: Path) -> None:
    """On disk, for another cache that begins with nothing in memory."""
    pytest.importorskip("libperf.cache.disk")
    said = []
    for _ in range(2):
        with libperf.TieredCache(disk=tmp_path) as tiers:
            said.append(model(llm, LLMCache(tiers)).invoke("Tell me about tides"))
            tiers.flush()
    assert len(llm.requests) == 1
    assert said[0].content == said[1].content and said[0].response_metadata == said[1].response_metadata


def test_nothing_raises() -> None:
    """What can be neither encoded nor copied, a cache that is closed: counted, and the call goes on."""

    class Stubborn:
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("no")

    cache = LLMCache()
    message = AIMessage("Hi")
    message.additional_kwargs["client"] = Stubborn()
    assert found(cache, [ChatGeneration(message=message)]) is None
    cache.cache.close()
    assert found(cache, chat("Hi")) is None
    asyncio.run(cache.aupdate("prompt", SETTINGS, chat("Hi")))
    assert asyncio.run(cache.alookup("prompt", SETTINGS)) is None
    assert cache.stats()["skipped_unencodable"] == 1 and cache.stats()["skipped_error"] == 4


def test_every_kind_of_message_comes_back() -> None:
    """Histories in generations: tool messages with artifacts, chunks, extra fields."""
    tool = ToolMessage("42", tool_call_id="1", artifact={"rows": [(1, 2.5, None)]}, status="error")
    for message in (tool, AIMessage("x", own_field=1), HumanMessage([{"type": "text", "text": "a"}], name="n")):
        kept = [ChatGeneration(message=message)]
        assert found(LLMCache(), kept) == kept
