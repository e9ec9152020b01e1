"""Strings and numbers for schema_value: within bounds, in the asked format, from the conversation if possible."""

from __future__ import annotations

import math
import random
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from .schema_merge import DeadEnd

_WORDS = ("amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "haven", "iris", "juniper", "kestrel")

# What a property's name says about its content when no format does. Tools of demos and tests run with these.
_BY_NAME: tuple[tuple[tuple[str, ...], str], ...] = (
    (("url", "uri", "link", "website", "homepage"), "uri"),
    (("email",), "email"),
    (("uuid", "guid"), "uuid"),
    (("date",), "date"),
    (("datetime", "timestamp"), "date-time"),
    (("expression", "formula", "equation"), "x-sum"),
)
_LONG_NAME_TEXT = """
    query question task input prompt text message content description summary explanation thought reason answer
    context body comment instructions feedback
"""
_LONG_NAMES = frozenset(_LONG_NAME_TEXT.split())


class Scalars:
    """Draws strings, integers and numbers under the keywords of one merged schema."""

    def __init__(self, rng: random.Random, words: Sequence[str], numbers: Sequence[float]) -> None:
        self._rng = rng
        self._words = words or _WORDS
        self._numbers = numbers
        self.plain = False  # True: draw numbers without looking at the conversation

    def word(self) -> str:
        """A word of the conversation, or one of a spare list when it has none."""
        return self._words[self._below(len(self._words))]

    def _below(self, count: int) -> int:
        return int(self._rng.random() * count)

    # -- strings ------------------------------------------------------------------------------------------------

    def string(self, plan: dict[str, Any], name: str) -> str:
        """A string for `plan`, its `format` and length bounds kept, guided by the property's `name`."""
        least, most = plan.get("minLength", 0), plan.get("maxLength", math.inf)
        format_name = plan.get("format") or _format_of_name(name)
        if format_name in _FORMATS:
            text = _FORMATS[format_name](self)
            if least <= len(text) <= most:
                return text
            if plan.get("format"):
                raise DeadEnd(f"no {format_name} has {least} to {most} characters")
        text = " ".join(self.word() for _ in range(3 + self._below(4) if name.lower() in _LONG_NAMES else 1))
        while len(text) < least:
            text += " " + self.word()
        return text if len(text) <= most else text[: int(most)].rstrip().ljust(min(least, int(most)), "x")

    def host(self) -> str:
        """A host name that can never exist: RFC 2606 reserves the domain for examples."""
        word = "".join(c for c in self.word().lower() if c.isascii() and c.isalnum())
        return f"{word or 'www'}.example.com"

    def label(self) -> str:
        """A lower-case ASCII word."""
        return self.host().partition(".")[0]

    def date(self) -> str:
        """A date of 2024 or 2025."""
        return f"{2024 + self._below(2)}-{1 + self._below(12):02}-{1 + self._below(28):02}"

    def time(self) -> str:
        """A time of day in UTC."""
        return f"{self._below(24):02}:{self._below(60):02}:{self._below(60):02}Z"

    def digits(self, bits: int) -> int:
        """A whole number of `bits` random bits."""
        return self._rng.getrandbits(bits)

    # -- numbers ------------------------------------------------------------------------------------------------

    def integer(self, plan: dict[str, Any]) -> int:
        """An integer within the bounds of `plan`."""
        low, high = _bounds(plan, 1)
        step = plan.get("multipleOf") or 1
        if low == -math.inf and high == math.inf:
            low, high = 1, max(100, 100 * step)
        low = high - 100 * max(step, 1) if low == -math.inf else low
        high = low + 100 * max(step, 1) if high == math.inf else high
        said = [int(n) for n in self._numbers if n == int(n) and low <= n <= high and n % step == 0]
        if said and not self.plain and self._rng.random() < 0.8:
            return said[self._below(len(said))]
        first, last = math.ceil(low / step), math.floor(high / step)
        if first > last:
            raise DeadEnd(f"no integer lies between {low} and {high} (multiple of {step})")
        value = (first + self._below(last - first + 1)) * step
        if value != int(value):
            raise DeadEnd(f"{value} is no integer")
        return int(value)

    def number(self, plan: dict[str, Any]) -> float | int:
        """A number within the bounds of `plan`, with few decimals where the bounds allow it."""
        low, high = _bounds(plan, 0)
        if low == -math.inf and high == math.inf:
            low, high = 0.0, 100.0
        low = high - 100 if low == -math.inf else low
        high = low + 100 if high == math.inf else high
        step = plan.get("multipleOf")
        if step:
            first, last = math.ceil(low / step), math.floor(high / step)
            if first > last:
                raise DeadEnd(f"no multiple of {step} lies between {low} and {high}")
            return float(f"{(first + self._below(last - first + 1)) * step:.12g}")
        said = [n for n in self._numbers if low <= n <= high]
        if said and not self.plain and self._rng.random() < 0.8:
            value = said[self._below(len(said))]
            return int(value) if value == int(value) else value
        drawn = low + (high - low) * self._rng.random()
        for decimals in (2, 4, 8):
            value = round(drawn, decimals)
            if low <= value <= high and not _excluded(value, plan):
                return value
        return drawn


def _format_of_name(name: str) -> str | None:
    parts = name.replace("-", "_").lower().split("_")
    return next((kind for names, kind in _BY_NAME if parts[-1] in names or name.lower() in names), None)


def _excluded(value: float, plan: dict[str, Any]) -> bool:
    return value in (plan.get("exclusiveMinimum"), plan.get("exclusiveMaximum"))


def _bounds(plan: dict[str, Any], gap: int) -> tuple[float, float]:
    """(lowest, highest) allowed value; for integers (`gap` 1) an excluded bound moves by one."""
    low, high = plan.get("minimum", -math.inf), plan.get("maximum", math.inf)
    under, over = plan.get("exclusiveMinimum", -math.inf), plan.get("exclusiveMaximum", math.inf)
    if isinstance(under, bool):  # the boolean form of draft 4
        under = low if under else -math.inf
    if isinstance(over, bool):
        over = high if over else math.inf
    if gap:
        low, high = (math.ceil(low) if low > -math.inf else low), (math.floor(high) if high < math.inf else high)
        under = math.floor(under) + 1 if under > -math.inf else under
        over = math.ceil(over) - 1 if over < math.inf else over
    low, high = max(low, under), min(high, over)
    if low > high:
        raise DeadEnd(f"no number lies between {low} and {high}")
    return low, high


_FORMATS: dict[str, Callable[[Scalars], str]] = {
    "date-time": lambda s: f"{s.date()}T{s.time()}",
    "date": lambda s: s.date(),
    "time": lambda s: s.time(),
    "duration": lambda s: f"PT{1 + s.digits(5)}M",
    "email": lambda s: f"{s.label()}@example.com",
    "idn-email": lambda s: f"{s.label()}@example.com",
    "hostname": lambda s: s.host(),
    "idn-hostname": lambda s: s.host(),
    "ipv4": lambda s: f"192.0.2.{s.digits(8)}",
    "ipv6": lambda s: f"2001:db8::{s.digits(16):x}",
    "uri": lambda s: f"https://{s.host()}/{s.digits(16):x}",
    "url": lambda s: f"https://{s.host()}/{s.digits(16):x}",
    "iri": lambda s: f"https://{s.host()}/{s.digits(16):x}",
    "uri-reference": lambda s: f"/{s.label()}/{s.digits(16):x}",
    "iri-reference": lambda s: f"/{s.label()}/{s.digits(16):x}",
    "uri-template": lambda s: f"/{s.label()}/{{id}}",
    "uuid": lambda s: str(uuid.UUID(int=s.digits(128), version=4)),
    "json-pointer": lambda s: f"/{s.label()}/0",
    "relative-json-pointer": lambda s: f"0/{s.label()}",
    "regex": lambda s: f"^{s.label()}$",
    "byte": lambda s: "bW9jaw==",
    "base64": lambda s: "bW9jaw==",
    "x-sum": lambda s: f"{1 + s.digits(5)} + {1 + s.digits(5)}",
}
