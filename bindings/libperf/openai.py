"""A cache in an OpenAI client: `client = libperf.openai.cached(openai.OpenAI(), cache)`.

The client that comes back is a real one (a copy that shares the connections), and answers with the SDK's own objects.
chat.completions.create and responses.create, streamed or whole, are answered from the cache when the very same request
was answered before; embeddings.create sends only the inputs that it has no vector of. What is kept, and what not, is
told in libperf.answers.rules; `cache_stats(client)` counts it. What is not cached here goes through as ever:
with_raw_response (LangChain's models use that: see libperf.langchain.LLMCache), parse(), files, and so on.
"""

import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeVar

from openai import AsyncOpenAI, AsyncStream, Stream

from .answers.embeddings import Inputs
from .answers.openai_answers import CHAT, RESPONSES, Kind, answer_of, stream_of, to_bytes
from .answers.rules import IGNORED, Rules, Skips, hash_of, headers_key, logger, request_key
from .answers.streams import AsyncRecording, Recording
from .cache.kept import Unkept

__all__ = ["cache_stats", "cached"]

Client = TypeVar("Client")
Create = Callable[..., Any]
_RAW = "x-stainless-raw-response"  # with_raw_response and with_streaming_response say so by this header


def cached(
    client: Client,
    cache: Any = None,
    *,
    ttl: float | None = None,
    scope: Any = None,
    nondeterministic: bool = False,
    pure_tools: bool | Collection[str] = False,
    ignore: Collection[str] = IGNORED,
) -> Client:
    """A copy of an OpenAI or AsyncOpenAI client (or of Azure's) that answers from `cache` what it can.

    cache:             a TieredCache; without one, a new one in memory
    ttl:               seconds that an answer is good for; None: as the cache says
    scope:             whose answers these are: a tenant never sees another one's
    nondeterministic:  keep one sample even where temperature is not 0
    pure_tools:        True, or names of tools: answers that ask for them may be kept
    ignore:            fields of a request that do not count
    Whoever calls with_options() on it gets a client without a cache.
    """
    if cache is None:
        from .cache.tiered import TieredCache

        cache = TieredCache(namespace="openai")
    copy: Any = client.copy()  # type: ignore[attr-defined]
    more = {name: value for name, value in (("ttl", ttl), ("scope", scope)) if value is not None}
    store = _Store(copy, cache, Rules(nondeterministic, pure_tools, ignore), more)
    answer, embed = (_async_create, _async_embed) if store.is_async else (_create, _embed)
    _wrap(copy.chat.completions, lambda create: answer(store, create, "chat/completions", CHAT))
    if hasattr(copy, "responses"):
        _wrap(copy.responses, lambda create: answer(store, create, "responses", RESPONSES))
    _wrap(copy.embeddings, lambda create: embed(store, create))
    copy._libperf_store = store
    return copy  # type: ignore[no-any-return]


def cache_stats(client: Any) -> dict[str, int]:
    """Of a client that cached() returned: answers `stored`, and `skipped_<reason>` for each reason there was."""
    return client._libperf_store.skips.stats()  # type: ignore[no-any-return]


def _wrap(resource: Any, make: Callable[[Create], Create]) -> None:
    """Of this client only: the SDK makes each resource once for a client."""
    create = resource.create
    resource.create = functools.wraps(create)(make(create))


class _Answered:
    """An answer that is not to be kept, as those who waited for it get it."""

    __slots__ = ("answer",)

    def __init__(self, answer: Any) -> None:
        self.answer = answer


class _Store:
    """The cache as a client sees it: keys of requests, entries, and why something was not kept."""

    def __init__(self, client: Any, cache: Any, rules: Rules, more: dict[str, Any]) -> None:
        self.client, self.cache, self.rules, self.more = client, cache, rules, more
        self.scope = {name: value for name, value in more.items() if name == "scope"}
        self.is_async = isinstance(client, AsyncOpenAI)
        self.skips = Skips("libperf.openai.cached", cache.name)
        query = {str(name): str(value) for name, value in getattr(client, "_custom_query", {}).items()}
        self._default = (query, headers_key(getattr(client, "_custom_headers", {})))  # they go with each request

    def key(self, request: Mapping[str, Any], path: str, item: object = None) -> str:
        key = request_key(request, base_url=str(self.client.base_url), path=path, ignore=self.rules.ignore)
        return hash_of((key, *self._default, item))

    def key_unless_refused(self, request: Mapping[str, Any], path: str) -> str | None:
        """None: the cache has nothing to do with this request; counted where that is for a rule."""
        if _is_raw(request):
            return None
        reason = self.rules.refused_request(request)
        if reason is None:
            try:
                return self.key(request, path)
            except TypeError as error:  # the SDK may know what to do with it
                reason = "opaque"
                logger.debug("a request is not cached: %s", error)
        self.skips.count(reason)
        return None

    def pack(self, answer: Mapping[str, Any] | None, pieces: Sequence[Any] | None = None) -> bytes | None:
        """The entry of an answer, whole or with the pieces it came in; None: it is not to be kept."""
        reason = "unfinished" if answer is None else self.rules.refused_answer(answer)
        if reason is not None:
            self.skips.count(reason)
            return None
        self.skips.kept()
        return to_bytes({"answer": answer} if pieces is None else {"pieces": pieces})

    def pack_whole(self, answer: Any) -> bytes | Unkept:
        """For a factory to return."""
        with _unharmed():
            entry = self.pack(_to_dict(answer))
            if entry is not None:
                return entry
        return Unkept(_Answered(answer))

    def pack_pieces(self, told: Sequence[Any], kind: Kind) -> bytes | None:
        pieces = [_to_dict(piece) for piece in told]
        return self.pack(kind.whole(pieces), pieces)

    def inputs(self, request: Mapping[str, Any]) -> Inputs | None:
        """None: not for the cache."""
        if _is_raw(request) or not request.get("input"):
            return None
        rest = {name: value for name, value in request.items() if name != "input"}
        try:
            return Inputs(request, lambda item: self.key(rest, "embeddings", item))
        except TypeError:
            self.skips.count("opaque")
            return None


def _is_raw(request: Mapping[str, Any]) -> bool:
    return any(name.lower() == _RAW for name in request.get("extra_headers") or ())


def _settled(request: dict[str, Any]) -> dict[str, Any]:
    """The request with its iterators run out into lists, for it is read twice."""
    return {name: list(value) if isinstance(value, Iterator) else value for name, value in request.items()}


def _to_dict(item: Any) -> dict[str, Any]:
    return item.to_dict(mode="json")  # type: ignore[no-any-return]


@contextlib.contextmanager
def _unharmed() -> Iterator[None]:
    """Keeping an answer must not cost the caller his answer."""
    try:
        yield
    except Exception as error:
        logger.warning("an answer could not be kept: %s", error)


def _create(store: _Store, original: Create, path: str, kind: Kind) -> Create:
    def whole(request: dict[str, Any], key: str) -> Any:
        mine: list[Any] = []  # the answer as the SDK made it, for the one who asked

        def call() -> bytes | Unkept:
            mine.append(original(**request))
            return store.pack_whole(mine[0])

        entry = store.cache.get_or_set(key, call, **store.more)
        if mine:
            return mine[0]
        if type(entry) is _Answered:
            return entry.answer
        answer = answer_of(kind, entry)
        if answer is not None:
            return answer
        entry = call()  # recorded from a stream, which told less than a whole answer
        if type(entry) is bytes:
            with _unharmed():
                store.cache.set(key, entry, **store.more)
        return mine[0]

    def streamed(request: dict[str, Any], key: str) -> Any:
        pieces = stream_of(kind, store.cache.get(key, **store.scope), request)
        if pieces is not None:
            return _played(store, pieces)

        def commit(told: list[Any]) -> None:
            with _unharmed():
                entry = store.pack_pieces(told, kind)
                if entry is not None:
                    store.cache.set(key, entry, **store.more)

        return _record(original(**request), Recording, commit)

    def create(**request: Any) -> Any:
        request = _settled(request)
        key = store.key_unless_refused(request, path)
        if key is None:
            return original(**request)
        return (streamed if request.get("stream") is True else whole)(request, key)

    return create


def _async_create(store: _Store, original: Create, path: str, kind: Kind) -> Create:
    async def whole(request: dict[str, Any], key: str) -> Any:
        mine: list[Any] = []

        async def call() -> bytes | Unkept:
            mine.append(await original(**request))
            return store.pack_whole(mine[0])

        entry = await store.cache.aget_or_set(key, call, **store.more)
        if mine:
            return mine[0]
        if type(entry) is _Answered:
            return entry.answer
        answer = answer_of(kind, entry)
        if answer is not None:
            return answer
        entry = await call()
        if type(entry) is bytes:
            with _unharmed():
                await store.cache.aset(key, entry, **store.more)
        return mine[0]

    async def streamed(request: dict[str, Any], key: str) -> Any:
        pieces = stream_of(kind, await store.cache.aget(key, **store.scope), request)
        if pieces is not None:
            return _played(store, pieces)

        async def commit(told: list[Any]) -> None:
            with _unharmed():
                entry = store.pack_pieces(told, kind)
                if entry is not None:
                    await store.cache.aset(key, entry, **store.more)

        return _record(await original(**request), AsyncRecording, commit)

    async def create(**request: Any) -> Any:
        request = _settled(request)
        key = store.key_unless_refused(request, path)
        if key is None:
            return await original(**request)
        return await (streamed if request.get("stream") is True else whole)(request, key)

    return create


def _record(stream: Any, recording: Any, commit: Callable[[list[Any]], Awaitable[None] | None]) -> Any:
    """The SDK's own stream, recorded. Only what it takes its pieces from is replaced: so it stays what it is."""
    if not hasattr(stream, "_iterator"):
        return recording(stream, commit)
    stream._iterator = recording(stream._iterator, commit)
    return stream


def _played(store: _Store, pieces: list[Any]) -> Any:
    """A stream of the SDK that yields these, and then ends."""
    client = store.client
    roots = [base.__module__.partition(".")[0] for base in type(client._client).__mro__]
    http = import_module(next(root for root in roots if root in ("httpx", "httpx2")))
    request = http.Request("POST", str(client.base_url))
    kind: Any = AsyncStream if store.is_async else Stream
    stream = kind.__new__(kind)
    stream.response = http.Response(200, headers={"content-type": "text/event-stream"}, content=b"", request=request)
    stream._client, stream._cast_to, stream._options = client, object, None
    stream._iterator = _again(pieces) if store.is_async else iter(pieces)
    return stream


async def _again(pieces: list[Any]) -> AsyncIterator[Any]:
    for piece in pieces:
        yield piece


def _embed(store: _Store, original: Create) -> Create:
    def create(**request: Any) -> Any:
        request = _settled(request)
        inputs = store.inputs(request)
        if inputs is None:
            return original(**request)
        inputs.fill(store.cache.get_many(inputs.keys, **store.scope))
        wanted = inputs.missing()
        if wanted is None:
            return _embeddings(inputs, request, None)
        answer = original(**wanted[0])
        learnt = inputs.learn(answer, wanted[1])
        if learnt is None:
            return original(**request)
        with _unharmed():
            store.cache.set_many(learnt, **store.more)
        return _embeddings(inputs, request, answer)

    return create


def _async_embed(store: _Store, original: Create) -> Create:
    async def create(**request: Any) -> Any:
        request = _settled(request)
        inputs = store.inputs(request)
        if inputs is None:
            return await original(**request)
        inputs.fill(await store.cache.aget_many(inputs.keys, **store.scope))
        wanted = inputs.missing()
        if wanted is None:
            return _embeddings(inputs, request, None)
        answer = await original(**wanted[0])
        learnt = inputs.learn(answer, wanted[1])
        if learnt is None:
            return await original(**request)
        with _unharmed():
            await store.cache.aset_many(learnt, **store.more)
        return _embeddings(inputs, request, answer)

    return create


def _embeddings(inputs: Inputs, request: Mapping[str, Any], answer: Any) -> Any:
    from openai.types import CreateEmbeddingResponse

    usage = None if answer is None else _to_dict(answer.usage)
    model = str(request.get("model")) if answer is None else answer.model
    return CreateEmbeddingResponse.construct(**inputs.answer(usage, model))
