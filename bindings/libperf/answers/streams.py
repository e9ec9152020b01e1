"""Streams: recorded while they are passed on, kept only after a clean end, and played again as streams.

A recording holds what the stream yielded, chunk by chunk, as plain values. From the chunks of a chat completion the
whole answer can be put together (`assemble`), and a whole answer can be told as chunks (`take_apart`): so one entry
serves callers of both kinds. Fields nobody here knows of take part, by their shape: text is joined, numbered parts are
merged by number, the rest replaces what was before.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

__all__ = ["AsyncRecording", "Recording", "assemble", "has_usage", "take_apart", "without_usage"]

T = TypeVar("T")

CHUNKS_MAX = 100_000  # a stream longer than this is passed on, and not kept
_REPLACED = frozenset({"id", "type", "role", "index", "object", "model", "finish_reason"})  # text that is no text


class _Tape(Generic[T]):
    """What was yielded so far. It ends once: with all of it told to `commit`, or with nothing."""

    __slots__ = ("_chunks", "_commit", "_most")

    def __init__(self, commit: Callable[[list[T]], object], most: int) -> None:
        self._commit: Callable[[list[T]], object] | None = commit
        self._chunks: list[T] = []
        self._most = most

    def add(self, chunk: T) -> None:
        if self._commit is not None:
            self._chunks.append(chunk)
            if len(self._chunks) > self._most:
                self.abandon()

    def abandon(self) -> None:
        self._commit, self._chunks = None, []

    def finish(self) -> object:
        """What `commit` returns; None when there is nothing to commit."""
        commit, chunks = self._commit, self._chunks
        self.abandon()
        return None if commit is None else commit(chunks)


class Recording(Generic[T]):
    """An iterator that passes another one on, and has `commit` called with all it yielded when it ends by itself.

    An error, close(), or nobody asking for the rest: nothing is committed. Attributes are those of the recorded one,
    so whoever knows an SDK's stream (its `response`, its context manager) finds it here.
    Threads: those of the recorded stream.
    """

    def __init__(self, stream: Iterator[T], commit: Callable[[list[T]], object], *, most: int = CHUNKS_MAX) -> None:
        self._stream = stream
        self._next = iter(stream).__next__
        self._tape = _Tape(commit, most)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            chunk = self._next()
        except StopIteration:
            self._tape.finish()
            raise
        except BaseException:
            self._tape.abandon()
            raise
        self._tape.add(chunk)
        return chunk

    def close(self) -> None:
        self._tape.abandon()
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()

    def __enter__(self) -> "Recording[T]":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class AsyncRecording(Generic[T]):
    """The same of an async iterator. `commit` may return an awaitable; the stream ends when that is done."""

    def __init__(
        self, stream: AsyncIterator[T], commit: Callable[[list[T]], object], *, most: int = CHUNKS_MAX
    ) -> None:
        self._stream = stream
        self._next = aiter(stream).__anext__
        self._tape = _Tape(commit, most)

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        try:
            chunk = await self._next()
        except StopAsyncIteration:
            done: Any = self._tape.finish()
            if hasattr(done, "__await__"):
                await done
            raise
        except BaseException:
            self._tape.abandon()
            raise
        self._tape.add(chunk)
        return chunk

    async def close(self) -> None:
        self._tape.abandon()
        close = getattr(self._stream, "close", None) or getattr(self._stream, "aclose", None)
        if close is not None:
            await close()

    aclose = close

    async def __aenter__(self) -> "AsyncRecording[T]":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def assemble(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The whole chat completion that these chunks told; None: they do not tell one to its end."""
    answer: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if name == "choices":
                for told in value or ():
                    _add_choice(choices.setdefault(told.get("index", 0), {}), told)
            elif value is not None or name not in answer:
                answer[name] = value
    if not choices or any(choice.get("finish_reason") is None for choice in choices.values()):
        return None
    answer["object"] = "chat.completion"
    answer["choices"] = [_whole(index, choices[index]) for index in sorted(choices)]
    return answer


def _add_choice(choice: dict[str, Any], told: Mapping[str, Any]) -> None:
    for name, value in told.items():
        if name == "delta":
            _merge(choice.setdefault("message", {}), value or {})
        elif name == "logprobs" and value is not None:
            for kind, tokens in value.items():  # lists that go on
                held = choice.setdefault("logprobs", {})
                held[kind] = [*(held.get(kind) or ()), *tokens] if tokens is not None else held.get(kind)
        elif value is not None or name not in choice:
            choice[name] = value


def _merge(held: dict[str, Any], told: Mapping[str, Any]) -> None:
    """Add one piece of a message to what was told of it before."""
    for name, value in told.items():
        before = held.get(name)
        if value is None:
            held.setdefault(name, None)
        elif isinstance(value, str) and isinstance(before, str) and name not in _REPLACED:
            held[name] = before + value
        elif isinstance(value, Mapping):
            held[name] = dict(before) if isinstance(before, Mapping) else {}
            _merge(held[name], value)
        elif isinstance(value, list):
            held[name] = _merge_parts(before if isinstance(before, list) else [], value)
        else:
            held[name] = value


def _merge_parts(held: list[Any], told: list[Any]) -> list[Any]:
    """Parts with the same number are one part; parts without a number follow each other."""
    merged = list(held)
    places = {part["index"]: at for at, part in enumerate(merged) if isinstance(part, dict) and "index" in part}
    for part in told:
        number = part.get("index") if isinstance(part, Mapping) else None
        if number is None:
            merged.append(dict(part) if isinstance(part, Mapping) else part)
            continue
        if number not in places:
            places[number] = len(merged)
            merged.append({})
        else:
            merged[places[number]] = dict(merged[places[number]])
        _merge(merged[places[number]], part)
    return merged


def _whole(index: int, choice: Mapping[str, Any]) -> dict[str, Any]:
    message = {"content": None, "role": "assistant", **choice.get("message", {})}
    if message.get("tool_calls"):
        calls = sorted(message["tool_calls"], key=lambda call: call.get("index", 0))
        message["tool_calls"] = [{name: value for name, value in call.items() if name != "index"} for call in calls]
    return {"logprobs": None, **choice, "index": index, "message": message}


def take_apart(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A whole chat completion as chunks: who speaks, what is said, why it ended; then the usage."""
    head = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    chunks = []
    for choice in answer.get("choices") or ():
        chunks += [{**head, "choices": [told]} for told in _told(choice)]
    if answer.get("usage") is not None:
        chunks.append({**head, "choices": [], "usage": answer["usage"]})
    return chunks


def _told(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    message = dict(choice.get("message") or {})
    rest = {name: value for name, value in choice.items() if name not in ("message", "finish_reason", "logprobs")}
    calls = message.pop("tool_calls", None)
    delta = {name: value for name, value in message.items() if value is not None}
    if not calls and "content" not in delta:
        delta["content"] = ""
    yield {**rest, "delta": delta, "logprobs": choice.get("logprobs"), "finish_reason": None}
    for number, call in enumerate(calls or ()):
        yield {**rest, "delta": {"tool_calls": [{"index": number, **call}]}, "logprobs": None, "finish_reason": None}
    yield {**rest, "delta": {}, "logprobs": None, "finish_reason": choice.get("finish_reason")}


def has_usage(chunks: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the stream told what it cost."""
    return any(chunk.get("usage") is not None for chunk in chunks)


def without_usage(chunks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The chunks as they come when nobody asked for the usage."""
    left = []
    for chunk in chunks:
        told = {name: value for name, value in chunk.items() if name != "usage"}
        if told.get("choices") or "choices" not in told or not has_usage([chunk]):
            left.append(told)
    return left
