"""BatchedEmbeddings: many calls of a LangChain embeddings model become few. Use it as libperf.langchain.BatchedEmbeddings.

>>> embeddings = libperf.langchain.BatchedEmbeddings(OpenAIEmbeddings())
>>> vectors = await asyncio.gather(*[embeddings.aembed_query(text) for text in texts])

Texts of tasks, threads and event loops stand in one queue; what waits while a call is going on is the next call.
"""

import sys
from collections.abc import Callable
from typing import Any

from langchain_core.embeddings import Embeddings

from ..batcher import BatchProcessor, BatchStats

__all__ = ["BatchedEmbeddings"]

Vector = list[float]


def estimated_tokens(text: str) -> int:
    """About what a text counts as: a token for each four characters, and one."""
    return len(text) // 4 + 1


class BatchedEmbeddings(Embeddings):
    """An embeddings model in front of another one, which it asks for many texts at once.

    inner: any of LangChain's embeddings models.
    function: what is called with a list of texts; default: `inner.embed_documents`, in a thread. A coroutine function
        (`inner.aembed_documents`) is awaited in the event loop: for models whose client belongs to one loop or knows no
        other way. Then what has no loop is processed in one of libperf's own.
    queries: False: single queries are given to `inner` one by one, for models that embed a query unlike a document
        (prefixes, an input type). True: `embed_query` is an item like any other.
    settings: of libperf.BatchProcessor; here a batch has at most 256 texts and about 100,000 tokens (`weigher`,
        `max_batch_weight`), and equal texts are asked for once. `concurrency="auto"` suits services that answer several
        calls at a time.

    A list is split into its texts, which share batches with those of others, and comes back in order. What the model
    raises reaches each caller as a libperf.BatchError with the original as its cause. Vectors are the caller's own.
    """

    def __init__(
        self,
        inner: Embeddings,
        *,
        function: Callable[[list[str]], Any] | None = None,
        queries: bool = True,
        **settings: Any,
    ) -> None:
        self.inner = inner
        self.queries = queries
        chosen = {
            "max_batch_size": 256,
            "max_batch_weight": 100_000,
            "weigher": estimated_tokens,
            "deduplicate": True,
            "name": type(inner).__name__,
            **settings,
        }
        self.processor: BatchProcessor[str, Vector] = BatchProcessor(function or inner.embed_documents, **chosen)

    # ---- what LangChain calls ----

    def embed_documents(self, texts: list[str]) -> list[Vector]:
        if _in_loop():  # which waits for nothing but this call, with us or without
            return self.inner.embed_documents(texts)
        return _own(self.processor.map(texts).result())

    async def aembed_documents(self, texts: list[str]) -> list[Vector]:
        return _own(await self.processor.map(texts))

    def embed_query(self, text: str) -> Vector:
        if not self.queries or _in_loop():
            return self.inner.embed_query(text)
        return list(self.processor.submit(text).result())

    async def aembed_query(self, text: str) -> Vector:
        if not self.queries:
            return await self.inner.aembed_query(text)
        return list(await self.processor.submit(text))

    # ---- life ----

    def get_stats(self) -> BatchStats:
        """Of the processor: calls, sizes, waits; see libperf.BatchProcessor.get_stats()."""
        return self.processor.get_stats()

    def close(self, drain: bool = True, timeout: float | None = 30.0) -> bool:
        return self.processor.close(drain, timeout)

    async def aclose(self, drain: bool = True, timeout: float | None = 30.0) -> bool:  # noqa: ASYNC109
        return await self.processor.aclose(drain, timeout)


def _own(vectors: list[Vector]) -> list[Vector]:
    """Equal texts share a vector: what a caller does to his, nobody else sees."""
    return [list(vector) for vector in vectors]


def _in_loop() -> bool:
    """True in a thread whose event loop runs: it cannot wait for others."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and getattr(asyncio, "_get_running_loop", lambda: None)() is not None
