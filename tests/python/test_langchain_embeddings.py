"""BatchedEmbeddings: LangChain's own suites, a real client against a local server, and what callers share."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_openai import OpenAIEmbeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

import libperf
from libperf.langchain import BatchedEmbeddings
from libperf.testing import MockLLM


def openai(llm: MockLLM) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(base_url=llm.base_url, api_key="x", check_embedding_ctx_length=False, max_retries=0)


class TestUnit(EmbeddingsUnitTests):
    """LangChain's unit suite."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return BatchedEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"inner": DeterministicFakeEmbedding(size=8)}


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:The test .* is marked with:pytest.PytestWarning")  # half of the suite is not async
class TestFake(EmbeddingsIntegrationTests):
    """LangChain's integration suite over its own model without a server."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return BatchedEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"inner": DeterministicFakeEmbedding(size=8)}


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:The test .* is marked with:pytest.PytestWarning")
class TestOpenAI(EmbeddingsIntegrationTests):
    """LangChain's integration suite over the OpenAI client."""

    @pytest.fixture
    def model(self, llm: MockLLM) -> Iterator[Embeddings]:  # type: ignore[override]
        embeddings = BatchedEmbeddings(openai(llm))
        yield embeddings
        embeddings.close()

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return BatchedEmbeddings


class Counted(Embeddings):
    """Vectors that tell their text; calls wait at a gate, and are remembered."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.queries: list[str] = []
        self.open = threading.Event()
        self.open.set()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(list(texts))
        assert self.open.wait(30)
        if "poison" in texts:
            raise ValueError("poison")
        return [[float(len(text)), float(sum(map(ord, text)))] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.queries.append(text)
        return self.embed_documents([text])[0]


def vector(text: str) -> list[float]:
    return [float(len(text)), float(sum(map(ord, text)))]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def together(embeddings: BatchedEmbeddings, inner: Counted, count: int, ask: Callable[[], Any]) -> Any:
    """What `ask()` awaits, where all its `count` texts come while another call is going on."""

    async def main() -> Any:
        inner.open.clear()
        first = asyncio.ensure_future(embeddings.aembed_query("first"))
        await asyncio.to_thread(until, lambda: inner.calls == [["first"]])
        rest = asyncio.ensure_future(ask())
        await asyncio.to_thread(until, lambda: embeddings.get_stats()["queued"] == count)
        inner.open.set()
        await first
        return await rest

    return asyncio.run(main())


async def gathered(embeddings: BatchedEmbeddings, *texts: str) -> list[Any]:
    return await asyncio.gather(*[embeddings.aembed_query(text) for text in texts], return_exceptions=True)


Make = Callable[..., tuple[BatchedEmbeddings, Counted]]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[BatchedEmbeddings] = []

    def make(**settings: Any) -> tuple[BatchedEmbeddings, Counted]:
        inner = Counted()
        made.append(BatchedEmbeddings(inner, **settings))
        return made[-1], inner

    yield make
    for embeddings in made:
        embeddings.close()


def test_queries_of_many_tasks_are_few_requests(llm: MockLLM) -> None:
    """A hundred single queries reach a real server as few lists, and each task gets the vector that it would get alone."""
    inner = openai(llm)
    embeddings = BatchedEmbeddings(inner)
    texts = [f"text {number}" for number in range(100)]

    async def main() -> list[list[float]]:
        return await asyncio.gather(*[embeddings.aembed_query(text) for text in texts])

    found = asyncio.run(main())
    asked = len(llm.requests)
    assert asked <= 4
    assert found[7] == inner.embed_query("text 7") and found[99] == inner.embed_query("text 99")
    assert len({tuple(each) for each in found}) == 100
    embeddings.close()


def test_threads_share_a_call(make: Make) -> None:
    """What threads ask while a call is going on is the next call, whole."""
    embeddings, inner = make()
    inner.open.clear()
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(embeddings.embed_query, "first")
        until(lambda: inner.calls == [["first"]])
        others = [pool.submit(embeddings.embed_query, f"text {number}") for number in range(8)]
        until(lambda: embeddings.get_stats()["queued"] == 8)
        inner.open.set()
        assert first.result(30) == vector("first")
        assert [other.result(30) for other in others] == [vector(f"text {number}") for number in range(8)]
    assert [len(call) for call in inner.calls] == [1, 8]


def test_lists_keep_their_order(make: Make) -> None:
    """Lists are split over several calls, and come back as they went."""
    embeddings, inner = make(max_batch_size=4)
    texts = [f"{number} " * (number % 5 + 1) for number in range(30)]
    assert embeddings.embed_documents(texts) == [vector(text) for text in texts]
    assert max(len(call) for call in inner.calls) <= 4
    assert asyncio.run(embeddings.aembed_documents(texts)) == [vector(text) for text in texts]


def test_an_empty_list_asks_nothing(make: Make) -> None:
    embeddings, inner = make()
    assert embeddings.embed_documents([]) == []
    assert asyncio.run(embeddings.aembed_documents([])) == []
    assert inner.calls == []


def test_equal_texts_are_asked_once(make: Make) -> None:
    """And yet each vector is the caller's own."""
    embeddings, inner = make()
    texts = ["same", "other", "same", "same"]
    found = together(embeddings, inner, 4, lambda: embeddings.aembed_documents(texts))
    assert found == [vector(text) for text in texts]
    assert inner.calls == [["first"], ["same", "other"]]
    found[0].append(1.0)
    assert found[2] == found[3] == vector("same")


def test_a_call_has_a_budget_of_tokens(make: Make) -> None:
    """Four letters count as a token; a text above the budget goes alone."""
    embeddings, inner = make(max_batch_weight=25, deduplicate=False)
    texts = ["x" * 39] * 6 + ["y" * 400] + ["z" * 39] * 2  # ten tokens each, but for one of 101
    assert asyncio.run(embeddings.aembed_documents(texts)) == [vector(text) for text in texts]
    assert all(len(call) <= 2 for call in inner.calls)
    assert ["y" * 400] in inner.calls


def test_a_failed_call_names_its_cause(make: Make) -> None:
    """Every caller of a failed call gets a BatchError of its own, with the model's exception as its cause."""
    embeddings, inner = make()
    found = together(embeddings, inner, 3, lambda: gathered(embeddings, "a", "poison", "b"))
    assert [type(each) for each in found] == [libperf.BatchError] * 3
    assert all(isinstance(each.__cause__, ValueError) for each in found)
    assert len({id(each) for each in found}) == 3
    assert embeddings.embed_query("after") == vector("after")


def test_one_bad_text_is_isolated_where_asked(make: Make) -> None:
    """isolate="bisect": the others of its call get their vectors."""
    embeddings, inner = make(isolate="bisect")
    a, poison, b = together(embeddings, inner, 3, lambda: gathered(embeddings, "a", "poison", "b"))
    assert (a, b) == (vector("a"), vector("b"))
    assert isinstance(poison, libperf.BatchError)


def test_models_whose_queries_differ(make: Make) -> None:
    """queries=False: the inner model's own method answers, in threads and tasks; documents are batched all the same."""
    embeddings, inner = make(queries=False)
    assert embeddings.embed_query("a") == vector("a")
    assert asyncio.run(embeddings.aembed_query("b")) == vector("b")
    assert inner.queries == ["a", "b"]
    assert embeddings.embed_documents(["c"]) == [vector("c")] and inner.queries == ["a", "b"]


def test_a_coroutine_function_as_the_call() -> None:
    """function=: what is asked instead of embed_documents, in the loop of the callers."""
    inner = Counted()
    loops: list[Any] = []

    async def function(texts: list[str]) -> list[list[float]]:
        loops.append(asyncio.get_running_loop())
        return inner.embed_documents(texts)

    embeddings = BatchedEmbeddings(inner, function=function)

    async def main() -> Any:
        assert await embeddings.aembed_query("a") == vector("a")
        return asyncio.get_running_loop()

    assert loops == [asyncio.run(main())]
    assert embeddings.embed_query("b") == vector("b")
    embeddings.close()


def test_sync_calls_in_a_running_loop(make: Make) -> None:
    """They hold the loop up, as they would without us, and do not hang."""
    embeddings, _ = make()

    async def main() -> tuple[Any, Any]:
        return embeddings.embed_query("a"), embeddings.embed_documents(["b", "c"])

    assert asyncio.run(main()) == (vector("a"), [vector("b"), vector("c")])


def test_a_second_loop(make: Make) -> None:
    """One object serves event loops one after the other."""
    embeddings, _ = make()
    assert [asyncio.run(embeddings.aembed_query(text)) for text in "ab"] == [vector("a"), vector("b")]


def test_closed(make: Make) -> None:
    """close() ends it; later texts are refused."""
    embeddings, _ = make()
    assert embeddings.embed_query("a") == vector("a")
    assert embeddings.close()
    with pytest.raises(libperf.errors.ClosedError):
        embeddings.embed_query("b")
