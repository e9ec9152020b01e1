"""Scripted replies and injected faults: what a test or a rehearsal wants MockLLM to do on purpose."""

from __future__ import annotations

import json
import math
import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .request import MockRequest

Matcher = str | re.Pattern[str] | Callable[[MockRequest], bool]


@dataclass(frozen=True)
class Reply:
    """What to answer when a request matches.

    The first matching reply of the list is used. Safe to share between servers: each counts `times` for itself.
    """

    text: str | Callable[[MockRequest], str] | None = None
    """The answer's text, or a function of the request that returns it. It is called on a server thread."""
    match: Matcher | None = None
    """Text looked for in the last message (ignoring case), a compiled pattern searched there, or a function of the
    request; None matches every request. The last message is the user's question, or after a tool ran, its result."""
    tool_calls: Sequence[tuple[str, Mapping[str, Any]]] = ()
    """Tool calls as (name, arguments). The arguments are sent as given, whatever the tool's schema says."""
    latency: float | None = None
    """Seconds until the whole answer is out, instead of the server's setting (0 or more)."""
    status: int = 200
    """An HTTP status of 400 to 599 answers with an error instead."""
    times: int | None = None
    """How often this reply is used at most (1 or more); None for no limit."""

    def __post_init__(self) -> None:
        if self.match is not None and not (isinstance(self.match, str | re.Pattern) or callable(self.match)):
            raise TypeError(f"Reply.match must be text, a compiled pattern or a function, not {self.match!r}")
        if self.text is not None and not (isinstance(self.text, str) or callable(self.text)):
            raise TypeError(f"Reply.text must be text or a function that returns it, not {self.text!r}")
        if self.latency is not None and not (math.isfinite(self.latency) and self.latency >= 0):
            raise ValueError(f"Reply.latency is {self.latency!r}: give seconds, 0 or more")
        if self.status != 200 and not 400 <= self.status <= 599:
            raise ValueError(f"Reply.status is {self.status!r}: use 200, or an error from 400 to 599")
        if self.times is not None and self.times < 1:
            raise ValueError(f"Reply.times is {self.times!r}: use 1 or more, or None for no limit")
        for call in self.tool_calls:
            if not (isinstance(call, tuple | list) and len(call) == 2 and isinstance(call[0], str)):
                raise TypeError(f"Reply.tool_calls holds {call!r}: each must be (name, arguments)")

    @property
    def speaks(self) -> bool:
        """Whether the reply says what to answer, not only when or with which status."""
        return self.text is not None or bool(self.tool_calls)

    def matches(self, request: MockRequest) -> bool:
        """Whether `request` is one this reply is for."""
        if request.endpoint == "embeddings" and self.speaks:
            return False  # a text reply has nothing to say to a request for vectors
        if self.match is None:
            return True
        if isinstance(self.match, str):
            return self.match.lower() in request.last_text.lower()
        if isinstance(self.match, re.Pattern):
            return self.match.search(request.last_text) is not None
        return bool(self.match(request))


class Script:
    """The replies of one server and how often each was used. Thread-safe."""

    def __init__(self, replies: Sequence[Reply]) -> None:
        for reply in replies:
            if not isinstance(reply, Reply):
                raise TypeError(f"replies holds {reply!r:.60}: each must be a Reply")
        self._replies = tuple(replies)
        self._used = [0] * len(replies)
        self._lock = threading.Lock()

    def take(self, request: MockRequest) -> Reply | None:
        """The reply for `request`, counted as used; None when none is for it."""
        for at, reply in enumerate(self._replies):
            if not self._left(at) or not reply.matches(request):
                continue
            with self._lock:  # another thread may have taken the last use meanwhile
                if reply.times is None or self._used[at] < reply.times:
                    self._used[at] += 1
                    return reply
        return None

    def _left(self, at: int) -> bool:
        times = self._replies[at].times
        return times is None or self._used[at] < times

    def reset(self) -> None:
        """Forgets how often each reply was used."""
        with self._lock:
            self._used = [0] * len(self._replies)


class ScriptError(ValueError):
    """A script file that cannot be used; the message names the file, the entry and the fix."""


def load_replies(path: str | Path) -> list[Reply]:
    """Replies from a JSON file: a list of objects, or an object with such a list under "replies".

    Each object has any of ``match`` (text), ``regex``, ``text``, ``tool_calls`` (objects with ``name`` and
    ``arguments``), ``latency`` (seconds), ``status`` and ``times``. Raises ScriptError naming file, entry and fix.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ScriptError(f"cannot read the script {str(path)!r}: {error.strerror}") from None
    except ValueError as error:
        raise ScriptError(f"the script {str(path)!r} is not JSON: {error}") from None
    entries = document.get("replies") if isinstance(document, dict) else document
    if not isinstance(entries, list):
        raise ScriptError(f'the script {str(path)!r} must be a list of replies, or an object with "replies"')
    replies = []
    for number, entry in enumerate(entries, 1):
        try:
            replies.append(_reply_from(entry))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ScriptError(f"reply {number} of the script {str(path)!r}: {error}") from None
    return replies


_SCRIPT_KEYS = ("match", "regex", "text", "tool_calls", "latency", "status", "times")


def _reply_from(entry: Any) -> Reply:
    if not isinstance(entry, dict):
        raise ScriptError(f"{entry!r:.60} is not an object")
    unknown = sorted(entry.keys() - set(_SCRIPT_KEYS))
    if unknown:
        raise ScriptError(f"unknown key {unknown[0]!r}: use {', '.join(_SCRIPT_KEYS)}")
    values = {key: value for key, value in entry.items() if key not in ("regex", "tool_calls")}
    if "regex" in entry:
        if "match" in entry:
            raise ScriptError("give match or regex, not both")
        try:
            values["match"] = re.compile(entry["regex"])
        except re.error as error:
            raise ScriptError(f"the regex {entry['regex']!r} is malformed: {error}") from None
    calls = []
    for call in entry.get("tool_calls", ()):
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise ScriptError(f'the tool call {call!r:.60} needs a "name" and "arguments"')
        calls.append((call["name"], call.get("arguments", {})))
    return Reply(tool_calls=calls, **values)


@dataclass(frozen=True)
class Faults:
    """Shares of requests that go wrong, by kind: an HTTP status as text ("500"), "disconnect" or "stall"."""

    shares: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, share in self.shares.items():
            if kind not in ("disconnect", "stall") and not (kind.isdigit() and 400 <= int(kind) <= 599):
                raise ValueError(f"unknown error kind {kind!r}: use a status from 400 to 599, disconnect or stall")
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise ValueError(f"the share of {kind} is {share!r}: give a number from 0 to 1 (0.1 is 10 %)")
        total = sum(self.shares.values())
        if total > 1 + 1e-9:
            raise ValueError(f"the shares of errors add up to {total:g}: they must not exceed 1")

    @classmethod
    def of(cls, errors: float | str | Mapping[str | int, float], rate_limit: float = 0.0, stall: float = 0.0) -> Faults:
        """From the settings of a server: `errors` is a share of HTTP 500, text such as ``500:0.1,disconnect:0.01``,
        or a mapping from kind to share; the other two add to it. Raises ValueError or TypeError."""
        if isinstance(errors, str):
            shares = _parse_shares(errors)
        elif isinstance(errors, Mapping):
            shares = {str(kind): share for kind, share in errors.items()}
        elif isinstance(errors, bool) or not isinstance(errors, int | float):
            raise TypeError(f"errors is {errors!r}: give a share, text such as '500:0.1', or a mapping")
        else:
            shares = {"500": errors}
        for kind, share in (("429", rate_limit), ("stall", stall)):
            if share:
                shares[kind] = shares.get(kind, 0.0) + share
        return cls({kind: share for kind, share in shares.items() if share != 0})

    def draw(self, rng: random.Random) -> str | None:
        """The fault for one request, or None."""
        at = rng.random()
        for kind, share in self.shares.items():
            if at < share:
                return kind
            at -= share
        return None


def _parse_shares(text: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, colon, share = part.rpartition(":")
        try:
            shares[kind.strip().lower() if colon else "500"] = float(share)
        except ValueError:
            raise ValueError(
                f"{part!r} is not KIND:SHARE: write for example 500:0.1,429:0.05,disconnect:0.01,stall:0.02"
            ) from None
    return shares
