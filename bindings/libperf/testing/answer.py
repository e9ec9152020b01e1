"""What the model says: text, JSON that fits a schema, or tool calls, decided from the request alone.

The content of an answer depends on the seed and on the request, never on when or how often it is asked. So an agent
that repeats a call after an error takes the same path as one that was answered at once.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass

from .json_check import SchemaError
from .json_schema import schema_value
from .latency import Latency
from .request import ApiError, MockRequest, Tool, generator
from .script import Reply
from .text import compose, count_tokens, cut_to_tokens, subject_words

_CONTEXT = 4000  # characters of the conversation that arguments and answers draw their words from


@dataclass(frozen=True)
class ToolCall:
    """One tool call of an answer."""

    id: str
    name: str
    arguments: str
    """JSON text, or free text for a custom tool."""
    custom: bool = False

    @property
    def tokens(self) -> int:
        """Tokens it costs: its name and its arguments."""
        return count_tokens(self.name) + count_tokens(self.arguments)


@dataclass(frozen=True)
class Answer:
    """One choice of an answer."""

    text: str | None
    calls: tuple[ToolCall, ...] = ()
    finish: str = "stop"
    """"stop", "length" or "tool_calls"."""

    @property
    def tokens(self) -> int:
        """Completion tokens of this choice."""
        return count_tokens(self.text or "") + sum(call.tokens for call in self.calls)


class Speaker:
    """Turns requests into answers. Holds settings only, so it is safe to share between threads."""

    def __init__(self, seed: int, tool_rounds: int, parallel_tool_calls: int, reply_tokens: Latency) -> None:
        self._seed = seed
        self._tool_rounds = tool_rounds
        self._parallel = parallel_tool_calls
        self._reply_tokens = reply_tokens

    def answers(self, request: MockRequest, reply: Reply | None) -> list[Answer]:
        """One answer for each choice asked for.

        Raises ApiError (400) when a schema has no value, and whatever a reply's own function raises.
        """
        return [
            self._answer(request, reply, generator(self._seed, "content", request.digest, number))
            for number in range(request.choices)
        ]

    def _answer(self, request: MockRequest, reply: Reply | None, rng: random.Random) -> Answer:
        if reply is not None and reply.speaks:
            return self._scripted(request, reply, rng)
        if self._wants_tools(request):
            return _calling(request, None, self._tool_calls(request, rng))
        return _ended(request, self._text(request, rng))

    def _scripted(self, request: MockRequest, reply: Reply, rng: random.Random) -> Answer:
        text = reply.text(request) if callable(reply.text) else reply.text
        if text is not None and not isinstance(text, str):
            raise TypeError(f"the function in Reply.text returned {text!r:.60}, not text")
        if not reply.tool_calls:
            return _ended(request, text or "")
        custom = {tool.name for tool in request.tools if tool.custom}
        calls = []
        for name, arguments in reply.tool_calls:
            written = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
            calls.append(ToolCall(_call_id(rng), name, written, name in custom))
        return _calling(request, text, calls)

    # -- tool calls -----------------------------------------------------------------------------------------------

    def _wants_tools(self, request: MockRequest) -> bool:
        if not request.tools or request.tool_choice == "none":
            return False
        return request.tool_choice in ("required", "named") or request.tool_rounds < self._tool_rounds

    def _tool_calls(self, request: MockRequest, rng: random.Random) -> list[ToolCall]:
        single = request.tool_choice == "named" or request.body.get("parallel_tool_calls") is False
        wanted = 1 if single else self._parallel
        chosen: list[Tool] = []
        while len(chosen) < wanted:  # every tool once before one is called again
            chosen += rng.sample(request.tools, min(len(request.tools), wanted - len(chosen)))
        return [ToolCall(_call_id(rng), tool.name, _arguments(request, tool, rng), tool.custom) for tool in chosen]

    # -- text -----------------------------------------------------------------------------------------------------

    def _text(self, request: MockRequest, rng: random.Random) -> str:
        words = subject_words(request.question)
        if request.output == "json_schema":
            try:
                value = schema_value(request.schema, seed=rng, text=_context(request))
            except SchemaError as error:
                raise _no_value("response_format", "the output", error) from error
            return json.dumps(value, ensure_ascii=False)
        tokens = round(self._reply_tokens.sample(rng))
        if request.output == "json_object":
            return json.dumps({"answer": compose(rng, words, max(tokens - 5, 1))}, ensure_ascii=False)
        opening = _opening(request, words)
        return opening + compose(rng, words, max(tokens - count_tokens(opening), 1) if tokens else 0)


def _opening(request: MockRequest, words: Sequence[str]) -> str:
    """The first words that agents with a text protocol (thought, action, final answer) wait for."""
    if not any("Final Answer:" in message.text for message in request.messages if message.role != "assistant"):
        return ""
    return f"Thought: This is about {words[0] if words else 'the task'}.\nFinal Answer: "


def _context(request: MockRequest) -> str:
    """The text that words are taken from: the question first, then the rest of the conversation."""
    others = (message.text[:1000] for message in reversed(request.messages) if message.role in ("tool", "user"))
    return "\n".join([request.question[:_CONTEXT], *others])[: 2 * _CONTEXT]


def _arguments(request: MockRequest, tool: Tool, rng: random.Random) -> str:
    if tool.custom:
        return compose(rng, subject_words(request.question), 12)
    schema = tool.schema
    if isinstance(schema, dict) and "type" not in schema:
        schema = {"type": "object", **schema}  # arguments are an object, whatever the schema leaves out
    try:
        value = schema_value(schema, seed=rng, text=_context(request))
    except SchemaError as error:
        raise _no_value("tools", f"the tool {tool.name!r}", error) from error
    return json.dumps(value, ensure_ascii=False)


def _no_value(param: str, what: str, error: SchemaError) -> ApiError:
    return ApiError(
        400,
        f"Invalid schema for {what}: {error}. Correct the schema, or script the answer with a Reply.",
        param=param,
        code="invalid_schema",
    )


def _call_id(rng: random.Random) -> str:
    return f"call_{rng.getrandbits(96):024x}"


def _calling(request: MockRequest, text: str | None, calls: list[ToolCall]) -> Answer:
    # A forced function ends with "stop": OpenAI's own way, and clients rely on it.
    finish = "stop" if request.tool_choice == "named" and request.endpoint == "chat" else "tool_calls"
    return Answer(text, tuple(calls), finish)


def _ended(request: MockRequest, text: str) -> Answer:
    """The answer `text`, ended where the request's stop sequences or token limit say."""
    for stop in request.stop:
        text = text.partition(stop)[0]
    if request.max_tokens is not None and count_tokens(text) > request.max_tokens:
        return Answer(cut_to_tokens(text, request.max_tokens), finish="length")
    return Answer(text)
