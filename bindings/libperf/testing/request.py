"""A request as MockLLM understands it: the same view for chat, responses, completions and embeddings.

Parsing is strict where a real service would refuse (no model, messages that are no list) and otherwise lenient:
unknown fields pass.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .text import count_tokens

MESSAGE_TOKENS = 4  # what each message costs beside its text
ATTACHMENT_TOKENS = 85  # what an image, a file or a sound costs, whatever its size

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
# The same question streamed or not gets the same answer.
_NOT_HASHED = ("stream", "stream_options")


class ApiError(Exception):
    """A request that cannot be answered, with what the client is told."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """The JSON object OpenAI clients expect."""
        kind = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}.get(self.status)
        kind = kind or ("server_error" if self.status >= 500 else "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


@dataclass(frozen=True)
class Message:
    """One message of the conversation, whichever API it came through."""

    role: str
    text: str
    calls: int = 0
    """Tool calls it holds (assistant messages only)."""
    attachments: int = 0
    """Images, files and sounds it holds."""


@dataclass(frozen=True)
class Tool:
    """A tool the request offers."""

    name: str
    schema: Any
    """JSON Schema of the arguments."""
    custom: bool = False
    """A tool that takes free text instead of JSON."""


@dataclass(frozen=True)
class MockRequest:
    """What was asked: the argument of the functions in a Reply."""

    endpoint: str
    """"chat", "responses", "completions" or "embeddings"."""
    path: str
    model: str
    body: Mapping[str, Any]
    """The JSON body as it came. Do not change it."""
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    """"auto", "none", "required" or "named" (then `tools` holds just the named one)."""
    output: str = "text"
    """"text", "json_object" or "json_schema"."""
    schema: Any = None
    """The JSON Schema the answer must obey when `output` is "json_schema"."""
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    choices: int = 1
    stream: bool = False

    @property
    def last_text(self) -> str:
        """Text of the last message: the user's question, or a tool's result."""
        return self.messages[-1].text if self.messages else ""

    @property
    def question(self) -> str:
        """Text of the last message a user wrote."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), self.last_text)

    @property
    def system(self) -> str:
        """Text of the system and developer messages."""
        return "\n".join(m.text for m in self.messages if m.role in ("system", "developer"))

    @property
    def tool_rounds(self) -> int:
        """Assistant turns with tool calls since the last user message."""
        rounds = 0
        for message in reversed(self.messages):
            if message.role == "user":
                break
            rounds += message.calls > 0
        return rounds

    @functools.cached_property
    def prompt_tokens(self) -> int:
        """Tokens of the request: the text by the four-characters rule, 4 for each message, 85 for each attachment,
        and the tools and the output schema by their JSON text. Embeddings cost their text, or their token arrays."""
        if self.endpoint == "embeddings":
            given = self.body["input"]
            inputs = given if isinstance(given, list) and not _is_token_array(given) else [given]
            return sum(len(item) if isinstance(item, list) else count_tokens(item) for item in inputs)
        total = sum(count_tokens(m.text) + MESSAGE_TOKENS + m.attachments * ATTACHMENT_TOKENS for m in self.messages)
        for part in ("tools", "functions"):
            if self.body.get(part):
                total += count_tokens(json.dumps(self.body[part]))
        return total + (count_tokens(json.dumps(self.schema)) if self.schema is not None else 0)

    @functools.cached_property
    def digest(self) -> bytes:
        """A hash of what is asked: equal for bodies that differ only in key order or in streaming."""
        asked = {key: value for key, value in self.body.items() if key not in _NOT_HASHED}
        asked["model"] = self.model
        text = json.dumps([self.endpoint, asked], sort_keys=True, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


def generator(seed: int, purpose: str, digest: bytes, number: int = 0) -> random.Random:
    """The random generator for one purpose of one request, independent of all others."""
    key = f"{seed}|{purpose}|{number}|".encode() + digest
    return random.Random(int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big"))


def parse_request(endpoint: str, path: str, body: Any, deployment: str | None = None) -> MockRequest:
    """The request in `body`. Raises ApiError (400) naming the field that is wrong.

    `deployment` is the model name when the path carries it, as Azure's does.
    """
    if not isinstance(body, dict):
        raise ApiError(400, f"The request body must be a JSON object, not {_kind(body)}.")
    model = body.get("model") or deployment
    if not isinstance(model, str):
        raise ApiError(400, "You must provide a model parameter: a string.", param="model")
    build = {"chat": _chat, "responses": _responses, "completions": _completions, "embeddings": _embeddings}[endpoint]
    fields = build(body)
    return MockRequest(
        endpoint=endpoint,
        path=path,
        model=model,
        body=body,
        stop=_stops(body.get("stop")),
        choices=_whole(body, "n", 1, 128) or 1,
        stream=bool(body.get("stream")),
        **fields,
    )


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _whole(body: Mapping[str, Any], name: str, least: int, most: int = 1 << 31) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ApiError(400, f"Invalid '{name}': {value!r:.60}. Give an integer of {least} or more.", param=name)
    return value


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise ApiError(400, "Invalid 'stop': give a string or an array of strings.", param="stop")
    return tuple(stop for stop in stops if stop)


def _chat(body: Mapping[str, Any]) -> dict[str, Any]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ApiError(400, "Missing required parameter 'messages': give a non-empty array.", param="messages")
    wanted = body.get("response_format") or {}
    limit = _whole(body, "max_completion_tokens", 1)
    choice = body.get("tool_choice")
    if choice is None and body.get("function_call") is not None:  # the older spelling
        named = body["function_call"]
        choice = {"type": "function", "function": named} if isinstance(named, dict) else named
    return {
        "messages": tuple(_chat_message(message, at) for at, message in enumerate(messages)),
        "max_tokens": _whole(body, "max_tokens", 1) if limit is None else limit,
        **_output(wanted, wanted.get("json_schema") if isinstance(wanted, dict) else None, "response_format"),
        **_tools(
            body.get("tools") or [{"type": "function", "function": f} for f in body.get("functions") or []], choice
        ),
    }


def _chat_message(message: Any, at: int) -> Message:
    where = f"messages[{at}]"
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise ApiError(400, f"Invalid '{where}': it needs a role, one of {', '.join(_ROLES)}.", param=where)
    text, attachments = _content(message.get("content"), f"{where}.content")
    calls = len(message.get("tool_calls") or ()) + bool(message.get("function_call"))
    return Message(message["role"], text, calls if message["role"] == "assistant" else 0, attachments)


def _content(content: Any, where: str) -> tuple[str, int]:
    """(text, number of attachments) of a message's content in any of its spellings."""
    if content is None or isinstance(content, str):
        return content or "", 0
    if not isinstance(content, list):
        raise ApiError(400, f"Invalid '{where}': give a string or an array of parts.", param=where)
    texts: list[str] = []
    attachments = 0
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict):
            text = part.get("text", part.get("refusal"))
            texts += [text] if isinstance(text, str) else []
            attachments += not isinstance(text, str)
        else:
            raise ApiError(400, f"Invalid '{where}': {_kind(part)} is no content part.", param=where)
    return "\n".join(texts), attachments


def _responses(body: Mapping[str, Any]) -> dict[str, Any]:
    given = body.get("input")
    if given is None:
        raise ApiError(400, "Missing required parameter 'input': give a string or an array of items.", param="input")
    if not isinstance(given, str | list):
        raise ApiError(400, f"Invalid 'input': {_kind(given)}. Give a string or an array of items.", param="input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    messages: list[Message] = []
    if body.get("instructions"):
        messages.append(Message("system", _content(body["instructions"], "instructions")[0]))
    for at, item in enumerate(items):
        if not isinstance(item, dict):
            raise ApiError(400, f"Invalid 'input[{at}]': {_kind(item)} is no item.", param=f"input[{at}]")
        _add_item(messages, item, f"input[{at}]")
    settings = body.get("text")
    wanted = settings.get("format") if isinstance(settings, dict) else None
    return {
        "messages": tuple(messages),
        "max_tokens": _whole(body, "max_output_tokens", 1),
        **_output(wanted or {}, wanted, "text.format"),
        **_tools(body.get("tools") or [], body.get("tool_choice")),
    }


def _add_item(messages: list[Message], item: Mapping[str, Any], where: str) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        role = item.get("role")
        if role not in _ROLES:
            raise ApiError(400, f"Invalid '{where}': it needs a role, one of {', '.join(_ROLES)}.", param=where)
        text, attachments = _content(item.get("content"), f"{where}.content")
        messages.append(Message(str(role), text, 0, attachments))
    elif kind in ("function_call", "custom_tool_call"):
        # Calls that stand next to each other were made in one turn.
        earlier = messages.pop().calls if messages and messages[-1].calls else 0
        messages.append(Message("assistant", "", earlier + 1))
    elif kind in ("function_call_output", "custom_tool_call_output"):
        messages.append(Message("tool", _content(item.get("output"), f"{where}.output")[0]))


def _completions(body: Mapping[str, Any]) -> dict[str, Any]:
    prompt = body.get("prompt", "")
    prompts = prompt if isinstance(prompt, list) and not _is_token_array(prompt) else [prompt]
    text = "\n".join(item if isinstance(item, str) else json.dumps(item) for item in prompts)
    return {"messages": (Message("user", text),), "max_tokens": _whole(body, "max_tokens", 1)}


def _is_token_array(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def embedding_inputs(body: Mapping[str, Any]) -> list[str | list[int]]:
    """The texts or token arrays of an embeddings request, one for each vector to give back."""
    given = body.get("input")
    items: list[Any] = given if isinstance(given, list) and not _is_token_array(given) else [given]
    if not items or any(not ((isinstance(item, str) and item) or _is_token_array(item)) for item in items):
        raise ApiError(
            400, "Invalid 'input': give a non-empty string, an array of them, or token arrays.", param="input"
        )
    return items


def _embeddings(body: Mapping[str, Any]) -> dict[str, Any]:
    inputs = embedding_inputs(body)
    return {"messages": tuple(Message("user", item) for item in inputs if isinstance(item, str))}


def _output(wanted: Any, holder: Any, where: str) -> dict[str, Any]:
    """The `output` and `schema` of a request from its response format; `holder` is where the schema stands."""
    kind = wanted.get("type", "text") if isinstance(wanted, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        raise ApiError(400, f"Invalid '{where}': its type must be text, json_object or json_schema.", param=where)
    if kind != "json_schema":
        return {"output": kind}
    schema = holder.get("schema") if isinstance(holder, dict) else None
    if not isinstance(schema, dict):
        raise ApiError(400, f"Missing required parameter '{where}': it needs a schema object.", param=where)
    return {"output": kind, "schema": schema}


def _tools(offered: Any, choice: Any) -> dict[str, Any]:
    """The `tools` and `tool_choice` of a request, narrowed to what the choice allows."""
    if not isinstance(offered, list):
        raise ApiError(400, "Invalid 'tools': give an array.", param="tools")
    tools = tuple(_read_tools(offered))
    if choice is None or isinstance(choice, str):
        if choice not in (None, "auto", "none", "required", "any"):
            raise ApiError(400, f"Invalid 'tool_choice': {choice!r}. Use none, auto or required.", param="tool_choice")
        mode = "required" if choice == "any" else choice or "auto"
        if mode == "required" and not offered:
            raise ApiError(400, "'tool_choice' is required but the request offers no tools.", param="tool_choice")
        return {"tools": tools, "tool_choice": mode}
    if not isinstance(choice, dict):
        raise ApiError(400, f"Invalid 'tool_choice': {_kind(choice)}.", param="tool_choice")
    if choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools") or choice
        names = {_name(tool) for tool in allowed.get("tools") or ()}
        mode = "required" if allowed.get("mode") == "required" else "auto"
        return {"tools": tuple(tool for tool in tools if tool.name in names), "tool_choice": mode}
    name = _name(choice)
    if name is None and choice.get("type") not in ("function", "custom"):
        return {"tools": tools, "tool_choice": "none"}  # a built-in tool of the service: nothing to call here
    named = tuple(tool for tool in tools if tool.name == name)
    if not named:
        known = ", ".join(tool.name for tool in tools) or "none"
        raise ApiError(400, f"'tool_choice' names {name!r}, but the tools are: {known}.", param="tool_choice")
    return {"tools": named, "tool_choice": "named"}


def _name(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return None
    inner = entry.get("function") or entry.get("custom") or entry
    name = inner.get("name") if isinstance(inner, dict) else None
    return name if isinstance(name, str) else None


def _read_tools(offered: list[Any]) -> Iterator[Tool]:
    for at, entry in enumerate(offered):
        kind = entry.get("type", "function") if isinstance(entry, dict) else None
        if kind is None:
            raise ApiError(400, f"Invalid 'tools[{at}]': {_kind(entry)} is no tool.", param=f"tools[{at}]")
        if kind not in ("function", "custom"):
            continue  # web search and the like run inside the service
        name = _name(entry)
        if not name:
            raise ApiError(400, f"Missing required parameter: 'tools[{at}].function.name'.", param=f"tools[{at}]")
        inner = entry.get("function") or entry
        yield Tool(name, inner.get("parameters") or {"type": "object", "properties": {}}, kind == "custom")
