"""Rules of calling language models: what a request's key is, and which answers may be kept. Pure: nothing waits here.

**Keys.** Every field of a request counts, except those of IGNORED, of which it is known that no answer depends on
them. So a field that a provider invents tomorrow tells two requests apart from its first day. A field that was left
out is another request than one that was given as None, or as what is the default today.

**Answers.** Only a complete success is kept. And only where asking twice was going to give the same: at temperature 0,
or when the caller says that any one sample will do (`nondeterministic=True`). An answer that *asks for a tool* is an
action: kept, it would be done again on each hit, in a world that has moved on; so it is kept only when the tools are
said to be pure (`pure_tools=True`, or their names).
"""

import base64
import binascii
import hashlib
import logging
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._codec import canonical
from ..metrics import Counter

__all__ = [
    "IGNORED",
    "Rules",
    "Skips",
    "are_pure",
    "refused_answer",
    "refused_reason",
    "refused_request",
    "request_key",
]

_VERSION = 1  # of the form of a key: another form must not meet this one's entries
logger = logging.getLogger("libperf")

IGNORED = frozenset(
    {
        "metadata",  # labels of the provider's logs
        "prompt_cache_key",  # where the provider looks for the prompt's prefix: costs and latency
        "prompt_cache_retention",
        "safety_identifier",  # who is behind the call, for abuse reports; tenants are kept apart by scope=
        "stream",  # one entry serves both ways
        "stream_options",  # what a stream says beside the answer; kept whole, and left out of a replay when not asked
        "timeout",  # how long the client waits
        "user",  # the older name of safety_identifier
    }
)

# Headers that differ from call to call and say nothing about it. Others may switch models or features, and count.
_HEADERS_IGNORED = frozenset(
    {"baggage", "idempotency-key", "traceparent", "tracestate", "user-agent", "x-client-request-id", "x-request-id"}
)
_INLINE_BYTES = 256  # a data URL longer than this is keyed by its content's hash

_TRUNCATED = frozenset({"length", "max_tokens", "MAX_TOKENS", "model_context_window_exceeded", "max_output_tokens"})
_FILTERED = frozenset(
    {"content_filter", "content_filtered", "guardrail_intervened", "refusal", "safety", "SAFETY", "RECITATION"}
    | {"BLOCKLIST", "PROHIBITED_CONTENT", "SPII"}
)
_UNFINISHED = frozenset({"pause_turn", "in_progress", "queued", "cancelled", "incomplete"})
_TOOLS = frozenset({"tool_calls", "function_call", "tool_use"})


def request_key(
    request: Mapping[str, Any], *, base_url: str, path: str = "chat/completions", ignore: Collection[str] = IGNORED
) -> str:
    """What tells this request from others: pass it to a cache as `key`. Errors: Unencodable (a TypeError).

    A hash that cannot be met on purpose (BLAKE2b, 256 bits): so memory does not hold each prompt twice.
    request:  the body as the SDK's function takes it, with its extra_body, extra_query and extra_headers
    ignore:   fields that do not count; IGNORED | {"seed"} adds one
    """
    fields: dict[str, Any] = {}
    for name, value in {**request, **_mapping(request.get("extra_body"))}.items():
        if name not in ignore and name not in ("extra_body", "extra_query", "extra_headers") and not omitted(value):
            fields[name] = plain(value)
    query = {str(name): plain(value) for name, value in _mapping(request.get("extra_query")).items()}
    headers = headers_key(_mapping(request.get("extra_headers")))
    return hash_of((_VERSION, str(base_url).rstrip("/"), path, fields, query, headers))


def hash_of(parts: object) -> str:
    """A key of plain values."""
    return "llm:" + hashlib.blake2b(canonical(parts), digest_size=32).hexdigest()


def headers_key(headers: Mapping[str, Any]) -> dict[str, bytes]:
    """Of headers that may change the answer: name and a hash, for a key may end in a file and a header be a secret."""
    return {
        name.lower(): hashlib.blake2b(str(value).encode(), digest_size=16).digest()
        for name, value in headers.items()
        if name.lower() not in _HEADERS_IGNORED and not name.lower().startswith("x-stainless") and not omitted(value)
    }


def omitted(value: object) -> bool:
    """Whether an SDK's placeholder says that the field was not given (None is a value: it is sent as null)."""
    return type(value).__name__ in ("Omit", "NotGiven")


def plain(value: Any) -> Any:
    """A field as it goes over the wire: SDK objects as their fields, iterables as lists, inline files by content."""
    if isinstance(value, str):
        return _inline(value) if len(value) > _INLINE_BYTES and value.startswith("data:") else value
    if value is None or isinstance(value, bool | int | float | bytes):
        return value
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items() if not omitted(item)}
    if hasattr(value, "model_dump"):  # of pydantic, as the SDKs themselves send it; never the class itself
        return (
            value
            if isinstance(value, type)
            else plain(value.model_dump(mode="json", by_alias=True, exclude_unset=True))
        )
    if isinstance(value, Iterable) and not isinstance(value, bytearray | memoryview | type):
        return [plain(item) for item in value]
    return value


def _inline(url: str) -> Any:
    """A data URL by what is in it, however its base64 is wrapped."""
    head, comma, data = url.partition(",")
    if not comma:
        return url
    raw = data.encode()
    if head.endswith(";base64"):
        try:
            raw = base64.b64decode(data, validate=False)
        except (binascii.Error, ValueError):
            return url
    return ("data", head.lower(), hashlib.blake2b(raw, digest_size=32).digest())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def refused_request(request: Mapping[str, Any], nondeterministic: bool = False) -> str | None:
    """Why the answer to this request is not to be kept, whatever it is; None: it may be.

    "temperature":  it is not 0, so each answer is another sample
    "tools":        the provider itself runs tools (searches, runs code): the answer is of a moment, and may have acted
    "state":        it goes on with a conversation that the provider keeps, and changes
    "background":   what comes back is a receipt
    """
    body = {**request, **_mapping(request.get("extra_body"))}
    if body.get("background") is True:
        return "background"
    if _given(body.get("conversation")):
        return "state"
    tools = body.get("tools")
    if _given(body.get("web_search_options")) or any(_hosted(tool) for tool in _several(tools)):
        return "tools"
    return None if nondeterministic or temperature_of(body) == 0 else "temperature"


def temperature_of(body: Mapping[str, Any]) -> float | None:
    """What the request sets, wherever its provider wants it; None: nothing."""
    for place in (body, body.get("generationConfig"), body.get("inferenceConfig"), body.get("config")):
        value = _mapping(place).get("temperature")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def _given(value: Any) -> bool:
    return value is not None and not omitted(value)


def _several(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list | tuple) else ()


def _hosted(tool: Any) -> bool:
    """Whether the provider runs it: its type names a product. The caller's own are "function" and "custom", or have
    a schema and no such type."""
    kind = _mapping(plain(tool)).get("type")
    return isinstance(kind, str) and kind not in ("function", "custom")


def refused_answer(answer: Mapping[str, Any], pure_tools: bool | Collection[str] = False) -> str | None:
    """Why this answer is not to be kept; None: it is a complete success.

    answer:  the body of a response of OpenAI (chat/completions, responses), Anthropic, Gemini or Bedrock

    "truncated", "filtered", "unfinished", "error", "empty", or "tools" (it asks for tools that are not said to be pure)
    """
    if answer.get("error") or answer.get("status") == "failed" or answer.get("type") == "error":
        return "error"
    reasons, parts = list(_reasons(answer)), list(_parts(answer))
    if not reasons and not parts:
        return "empty"
    for reason in reasons:
        refused = "unfinished" if reason is None else refused_reason(reason)
        if refused is not None:
            return refused
    if any(part.get("refusal") for part in parts):
        return "filtered"
    calls = [name for part in parts for name in _calls(part)]
    asks = calls or any(isinstance(reason, str) and reason in _TOOLS for reason in reasons)
    if asks and not are_pure(calls, pure_tools):
        return "tools"
    return None


def refused_reason(reason: object) -> str | None:
    """What a provider's word for why an answer ended means for keeping it; None: it is complete."""
    if not isinstance(reason, str):
        return None
    if reason in _TRUNCATED:
        return "truncated"
    if reason in _FILTERED:
        return "filtered"
    if reason == "failed":
        return "error"
    return "unfinished" if reason in _UNFINISHED else None


def are_pure(names: Iterable[str], pure_tools: bool | Collection[str]) -> bool:
    """Whether these tools may be asked for again. Tools without a name are not among those that were named."""
    if isinstance(pure_tools, bool):
        return pure_tools
    asked = list(names)
    return bool(asked) and all(name in pure_tools for name in asked)


def _reasons(answer: Mapping[str, Any]) -> Iterable[Any]:
    """Why each of its choices ended."""
    for choice in _several(answer.get("choices")):
        yield _mapping(choice).get("finish_reason")
    for candidate in _several(answer.get("candidates")):
        yield _mapping(candidate).get("finishReason")
    for name in ("stop_reason", "stopReason"):
        if name in answer:
            yield answer[name]
    if "status" in answer:  # of responses
        details = _mapping(answer.get("incomplete_details"))
        yield details.get("reason") or answer["status"]


def _parts(answer: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Messages, blocks and items that it consists of."""
    for choice in _several(answer.get("choices")):
        yield _mapping(_mapping(choice).get("message"))
    for block in [*_several(answer.get("content")), *_several(answer.get("output"))]:
        yield _mapping(block)
        yield from map(_mapping, _several(_mapping(block).get("content")))
    for candidate in _several(answer.get("candidates")):
        yield from map(_mapping, _several(_mapping(_mapping(candidate).get("content")).get("parts")))
    yield from map(_mapping, _several(_mapping(_mapping(answer.get("output")).get("message")).get("content")))


def _calls(part: Mapping[str, Any]) -> Iterable[str]:
    """Names of the tools that it asks for."""
    for call in _several(part.get("tool_calls")):
        inner = _mapping(_mapping(call).get("function")) or _mapping(_mapping(call).get("custom")) or _mapping(call)
        yield str(inner.get("name"))
    for name in ("function_call", "functionCall", "toolUse"):
        if part.get(name):
            yield str(_mapping(part[name]).get("name"))
    kind = part.get("type")
    if kind == "tool_use" or (isinstance(kind, str) and kind.endswith("_call")):
        yield str(part.get("name") or kind)


class Skips:
    """How many answers were not kept, by reason; says so once when that is all that ever happens.

    name:    of what keeps them, for the log
    series:  the cache's name: reports have `cache.<series>.skipped_<reason>`
    """

    PATIENCE = 20  # calls that set no temperature, and nothing kept: time to say so

    def __init__(self, name: str, series: str) -> None:
        self._name, self._series = name, series
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._counters: dict[str, Counter] = {}
        self._kept = 0
        self._said = False

    def kept(self) -> None:
        with self._lock:
            self._kept += 1

    def count(self, reason: str) -> None:
        with self._lock:
            self._counts[reason] = number = self._counts.get(reason, 0) + 1
            say = reason == "temperature" and number >= self.PATIENCE and not self._kept and not self._said
            self._said |= say
            if reason not in self._counters:
                self._counters[reason] = Counter(f"cache.{self._series}.skipped_{reason}")
        self._counters[reason].add()
        if say:
            logger.warning(
                "%s has kept nothing of %d calls: none sets temperature=0, so each answer is one sample of many. "
                "If any one sample will do, say nondeterministic=True.",
                self._name,
                number,
            )

    def stats(self) -> dict[str, int]:
        """`stored`, and `skipped_<reason>` for each reason there was."""
        with self._lock:
            return {"stored": self._kept, **{f"skipped_{reason}": n for reason, n in sorted(self._counts.items())}}


@dataclass(frozen=True)
class Rules:
    """What of a model's answers is kept.

    nondeterministic:  keep one sample although asking again was going to give another one
    pure_tools:        True, or names of tools whose calls may be asked for again from memory
    ignore:            fields of a request that do not count
    """

    nondeterministic: bool = False
    pure_tools: bool | Collection[str] = False
    ignore: Collection[str] = IGNORED

    def refused_request(self, request: Mapping[str, Any]) -> str | None:
        return refused_request(request, self.nondeterministic)

    def refused_answer(self, answer: Mapping[str, Any]) -> str | None:
        return refused_answer(answer, self.pure_tools)
