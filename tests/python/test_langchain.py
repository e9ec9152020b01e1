"""LangChain without a graph under `libperf.instrument()`: models, chains, tools, retrievers, batches, and odd handlers."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.callbacks.manager import CallbackManager
from langchain_core.documents import Document
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.language_models.fake_chat_models import FakeListChatModel
from langchain_core.messages import HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool

import libperf
import libperf.langchain
from libperf.testing import MockLLM
from support_graphs import model_of, through
from support_spans import INPUT, MODEL, OUTPUT, Spans


def chain_of(llm: MockLLM) -> Any:
    chain = ChatPromptTemplate.from_template("Tell me about {topic}") | model_of(llm) | StrOutputParser()
    return chain.with_config(run_name="teller")


TOPIC = {"topic": "tides"}


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_a_chain(spans: Spans, llm: MockLLM, way: str) -> None:
    """A chain that nobody else runs is a graph; its model call is below it, with model, tokens, and nothing else."""
    chain = chain_of(llm)
    if way == "invoke":
        chain.invoke(TOPIC)
    elif way == "stream":
        list(chain.stream(TOPIC))
    else:
        asyncio.run(chain.ainvoke(TOPIC) if way == "ainvoke" else through(chain.astream(TOPIC)))
    assert spans.pairs() == ["graph teller", "graph teller > llm ChatOpenAI"]
    [call] = [record for record in spans.all() if record.kind is libperf.Kind.LLM]
    told = llm.summary()
    assert call.attributes == {MODEL: "gpt-4o", INPUT: told.prompt_tokens, OUTPUT: told.completion_tokens}
    assert told.completion_tokens == 12


def test_a_model_alone(spans: Spans, llm: MockLLM) -> None:
    """A model has a span also without a chain, below whatever function calls it."""
    model = model_of(llm)
    model.invoke("alone")

    @libperf.trace("caller")
    def caller() -> None:
        model.invoke("not alone")

    caller()
    assert spans.pairs() == ["llm ChatOpenAI", "span caller", "span caller > llm ChatOpenAI"]


@pytest.mark.parametrize("way", ["batch", "abatch"])
def test_a_batch(spans: Spans, llm: MockLLM, way: str) -> None:
    """Each input of a batch is a run of its own, with its own tokens."""
    chain, inputs = chain_of(llm), [{"topic": name} for name in ("tides", "bees", "rust")]
    chain.batch(inputs) if way == "batch" else asyncio.run(chain.abatch(inputs))
    assert spans.pairs() == ["graph teller"] * 3 + ["graph teller > llm ChatOpenAI"] * 3
    assert sum(record.attributes.get(INPUT, 0) for record in spans.all()) == llm.summary().prompt_tokens
    assert len({record.trace_id for record in spans.all()}) == 3


@pytest.mark.filterwarnings("ignore:Unexpected type for token usage")  # LangChain adds up what the client left None
def test_many_prompts_in_one_call(spans: Spans, llm: MockLLM) -> None:
    """generate() with several prompts is a model call for each."""
    model_of(llm).generate([[HumanMessage("one")], [HumanMessage("two")]])
    assert spans.pairs() == ["llm ChatOpenAI", "llm ChatOpenAI"]
    assert sum(record.attributes[OUTPUT] for record in spans.all()) == llm.summary().completion_tokens


def test_side_by_side(spans: Spans, llm: MockLLM) -> None:
    """The branches of a parallel step are below the chain, in threads and in tasks."""
    model = model_of(llm)
    chain = RunnableParallel(a=model, b=model).with_config(run_name="both")
    chain.invoke("hello")
    asyncio.run(chain.ainvoke("hello"))
    assert spans.pairs() == ["graph both"] * 2 + ["graph both > llm ChatOpenAI"] * 4


class Shelf(BaseRetriever):
    broken: bool = False

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        if self.broken:
            raise LookupError("empty")
        look()
        return [Document(page_content=query)]


@libperf.trace
def look() -> None:
    pass


def test_retrievers(spans: Spans) -> None:
    """A retriever is a span of its kind, current while it works, sync and async; its errors are errors."""
    Shelf().invoke("tides")
    asyncio.run(Shelf().ainvoke("tides"))
    with pytest.raises(LookupError):
        Shelf(broken=True).invoke("tides")
    assert spans.pairs() == ["retriever Shelf", "retriever Shelf failed", "retriever Shelf"] or spans.pairs() == sorted(
        ["retriever Shelf"] * 2 + ["retriever Shelf > span look"] * 2 + ["retriever Shelf failed"]
    )


def test_tools(spans: Spans) -> None:
    """A tool is a span of its kind, current while it works, also in a thread that asyncio lends it."""

    @tool
    def looker(city: str) -> str:
        """Look."""
        look()
        if city == "nowhere":
            raise LookupError
        return city

    looker.invoke({"city": "Oslo"})
    asyncio.run(looker.ainvoke({"city": "Oslo"}))
    with pytest.raises(LookupError):
        looker.invoke({"city": "nowhere"})
    assert spans.pairs() == sorted(["tool looker"] * 2 + ["tool looker failed"] + ["tool looker > span look"] * 3)


def test_an_old_completion_model(spans: Spans) -> None:
    """Models without chat are model calls too, without tokens when nobody counts them."""
    FakeListLLM(responses=["yes"]).invoke("really?")
    FakeListChatModel(responses=["yes"]).invoke("really?")
    assert spans.pairs() == ["llm FakeListChatModel", "llm FakeListLLM"]
    assert [set(record.attributes) & {INPUT, OUTPUT} for record in spans.all()] == [set(), set()]


def test_an_abandoned_stream(spans: Spans, llm: MockLLM) -> None:
    """A stream that is left half-way ends as cancelled at most, never as an error, and is not current afterwards."""
    for stream in (model_of(llm).stream("tides"), chain_of(llm).stream(TOPIC)):
        next(stream)
        stream.close()
        assert not libperf.current_span()

    async def leave() -> None:
        for stream in (model_of(llm).astream("tides"), chain_of(llm).astream(TOPIC)):
            await anext(stream)
            await stream.aclose()
            assert not libperf.current_span()

    asyncio.run(leave())
    assert len(spans.all()) == 6
    assert {record.status for record in spans.all()} <= {0, 2}


def test_a_stream_in_many_tasks(spans: Spans, llm: MockLLM) -> None:
    """A stream whose items are awaited in tasks of their own, as under a timeout for each, is one call that went well."""

    async def main() -> None:
        stream = model_of(llm).astream("tides")
        while True:
            try:
                await asyncio.wait_for(anext(stream), 60)
            except StopAsyncIteration:
                return

    asyncio.run(main())
    assert spans.pairs() == ["llm ChatOpenAI"]
    assert spans.all()[0].attributes[OUTPUT] == 12


def test_many_calls_in_one_task(spans: Spans, llm: MockLLM) -> None:
    """A task that makes calls for ever collects nothing of them."""
    model = FakeListChatModel(responses=["yes"])

    async def main() -> int:
        for _ in range(20):
            await model.ainvoke("really?")
        task: Any = asyncio.current_task()
        return len(task._callbacks or ())

    assert asyncio.run(main()) <= 2
    assert spans.pairs() == ["llm FakeListChatModel"] * 20


def test_runs_that_never_end(spans: Spans) -> None:
    """Runs whose end never comes are forgotten, the oldest first, and ended as cancelled: nothing grows for ever."""
    handler = libperf.langchain.Handler()
    before, libperf.langchain.RUNS_MAX = libperf.langchain.RUNS_MAX, 10
    try:
        ids = [uuid4() for _ in range(25)]
        for run_id in ids:
            handler.on_chain_start(None, {}, run_id=run_id, name="endless")
        assert list(handler._runs) == ids[15:]
        for run_id in ids:
            handler.on_chain_end({}, run_id=run_id)
    finally:
        libperf.langchain.RUNS_MAX = before
    assert spans.pairs() == ["graph endless"] * 10 + ["graph endless cancelled"] * 15


@pytest.mark.parametrize(
    "response",
    [
        None,
        SimpleNamespace(),
        SimpleNamespace(generations=None, llm_output=None),
        SimpleNamespace(generations=[[]], llm_output={"token_usage": None}),
        SimpleNamespace(generations=[[SimpleNamespace(message=SimpleNamespace(usage_metadata=None))]]),
    ],
)
def test_answers_without_usage(spans: Spans, response: Any) -> None:
    """An answer that says nothing of tokens, in whichever way, ends its call like any other."""
    handler, run_id = libperf.langchain.handler(), uuid4()
    handler.on_chat_model_start(None, [], run_id=run_id)
    handler.on_llm_end(response, run_id=run_id)
    assert spans.pairs() == ["llm llm"]
    assert spans.all()[0].attributes == {}


def test_usage_in_the_old_place(spans: Spans) -> None:
    """Tokens that only the provider's own answer tells are taken from there."""
    handler, run_id = libperf.langchain.handler(), uuid4()
    handler.on_llm_start({"id": ["a", "Davinci"]}, ["x"], run_id=run_id, invocation_params={"model_name": "davinci"})
    usage = {"prompt_tokens": 5, "completion_tokens": 3}
    handler.on_llm_end(SimpleNamespace(generations=[], llm_output={"token_usage": usage}), run_id=run_id)
    assert spans.pairs() == ["llm Davinci"]
    assert spans.all()[0].attributes == {MODEL: "davinci", INPUT: 5, OUTPUT: 3}


def test_ends_without_a_start(spans: Spans) -> None:
    """The end of a run that nobody began, or that ended before, is nothing."""
    handler = libperf.langchain.handler()
    handler.on_chain_end({}, run_id=uuid4())
    handler.on_llm_error(ValueError(), run_id=uuid4())
    handler.on_llm_end(None, run_id=uuid4())
    assert spans.pairs() == []


def test_switched_off(spans: Spans, llm: MockLLM) -> None:
    """After uninstrument() a run has no handler of ours; one that was going on is finished; instrument() starts anew."""
    stream = chain_of(llm).stream(TOPIC)
    next(stream)
    libperf.uninstrument()
    list(stream)
    assert spans.pairs() == ["graph teller", "graph teller > llm ChatOpenAI"]
    assert [type(each).__name__ for each in CallbackManager.configure().handlers] == []
    chain_of(llm).invoke(TOPIC)
    assert len(spans.all()) == 2
    libperf.instrument()
    assert [type(each).__name__ for each in CallbackManager.configure().handlers] == ["Handler"]
    RunnableLambda(lambda value: value).with_config(run_name="again").invoke(1)
    assert spans.pairs()[0] == "graph again"


def test_many_threads(spans: Spans) -> None:
    """Runs in threads at once do not mix: every model call has its own chain as its parent."""
    start = threading.Barrier(4)

    def run(name: str) -> None:
        chain = (RunnableLambda(lambda value: value) | FakeListChatModel(responses=[name])).with_config(run_name=name)
        start.wait()
        for _ in range(20):
            chain.invoke("x")

    threads = [threading.Thread(target=run, args=(f"c{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [f"graph c{n}" for n in range(4)] + [f"graph c{n} > llm FakeListChatModel" for n in range(4)]
    assert spans.pairs() == sorted(expected * 20)
