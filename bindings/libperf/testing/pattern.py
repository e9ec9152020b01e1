"""A string that matches a regular expression: the `pattern` keyword of JSON Schema, read backwards.

Understood: literals, ``.``, classes such as ``[a-z0-9_-]`` and ``[^"]``, ``\\d \\w \\s`` and their opposites, groups,
alternatives, the repeats ``* + ? {m} {m,} {m,n}`` (also lazy), and the anchors ``^ $ \\A \\Z``. Look-around and back
references raise PatternError: no string can be read off them without a search.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable

# Draws one matching string; the number says how far an open-ended repeat may go beyond its minimum.
Sampler = Callable[[random.Random, int], str]

_PRINTABLE = string.ascii_letters + string.digits + " !#$%&()*+,-./:;<=>?@[]^_{|}~"
_DIGITS = string.digits
_WORDY = string.ascii_letters + string.digits + "_"
_SPACES = " \t"
_CLASSES = {
    "d": _DIGITS,
    "w": _WORDY,
    "s": _SPACES,
    "D": "".join(sorted(set(_PRINTABLE) - set(_DIGITS))),
    "W": "".join(sorted(set(_PRINTABLE) - set(_WORDY))),
    "S": "".join(sorted(set(_PRINTABLE) - set(_SPACES))),
}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}
_REPEATS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class PatternError(ValueError):
    """The pattern is malformed, or uses something that cannot be read backwards."""


def sample_pattern(pattern: str, rng: random.Random, minimum: int = 0, maximum: int | None = None) -> str:
    """A string matching `pattern` whose length lies in [minimum, maximum] characters.

    Raises PatternError when the pattern is not understood or no such length was found.
    """
    sampler = _Parser(pattern).parse()
    for attempt in range(60):
        # Open repeats start short and grow, up to what a long minimum can need.
        text = sampler(rng, attempt % 6 if attempt < 30 else max(minimum, attempt))
        if len(text) >= minimum and (maximum is None or len(text) <= maximum):
            return text
    raise PatternError(f"no string of {minimum} to {maximum or 'any'} characters found for the pattern {pattern!r}")


def _one_of(characters: str) -> Sampler:
    return lambda rng, extra: characters[int(rng.random() * len(characters))]


def _sequence(parts: list[Sampler]) -> Sampler:
    return lambda rng, extra: "".join(part(rng, extra) for part in parts)


def _either(branches: list[Sampler]) -> Sampler:
    return lambda rng, extra: branches[int(rng.random() * len(branches))](rng, extra)


def _repeated(part: Sampler, least: int, most: int | None) -> Sampler:
    def sample(rng: random.Random, extra: int) -> str:
        top = least + extra if most is None else min(most, least + extra)
        return "".join(part(rng, extra) for _ in range(least + int(rng.random() * (top - least + 1))))

    return sample


def _nothing(rng: random.Random, extra: int) -> str:
    return ""


class _Parser:
    """Reads a pattern from left to right into one Sampler."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0

    def parse(self) -> Sampler:
        sampler = self._alternatives()
        if self._at < len(self._pattern):
            raise self._error("has an unexpected ')'")
        return sampler

    def _error(self, what: str) -> PatternError:
        return PatternError(f"the pattern {self._pattern!r} {what} (at character {self._at})")

    def _peek(self) -> str:
        return self._pattern[self._at] if self._at < len(self._pattern) else ""

    def _take(self) -> str:
        character = self._peek()
        if not character:
            raise self._error("ends too early")
        self._at += 1
        return character

    def _alternatives(self) -> Sampler:
        branches = [self._branch()]
        while self._peek() == "|":
            self._at += 1
            branches.append(self._branch())
        return branches[0] if len(branches) == 1 else _either(branches)

    def _branch(self) -> Sampler:
        parts: list[Sampler] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._quantified(self._atom()))
        return _sequence(parts)

    def _atom(self) -> Sampler:
        character = self._take()
        if character in "^$":
            return _nothing
        if character == ".":
            return _one_of(string.ascii_lowercase)
        if character == "(":
            return self._group()
        if character == "[":
            return _one_of(self._class())
        if character == "\\":
            return self._escape()
        if character in "*+?":
            raise self._error(f"repeats nothing with {character!r}")
        return _one_of(character)

    def _group(self) -> Sampler:
        if self._peek() == "?":
            rest = self._pattern[self._at :]
            if rest.startswith("?:"):
                self._at += 2
            elif rest.startswith(("?P<", "?<")) and not rest.startswith(("?<=", "?<!")):
                end = self._pattern.find(">", self._at)
                if end < 0:
                    raise self._error("has a group name without '>'")
                self._at = end + 1
            else:
                raise self._error("uses look-around or a flag, which is not supported")
        sampler = self._alternatives()
        if self._peek() != ")":
            raise self._error("has a group without ')'")
        self._at += 1
        return sampler

    def _escape(self) -> Sampler:
        character = self._take()
        if character in "AZz":
            return _nothing
        if character in _CLASSES:
            return _one_of(_CLASSES[character])
        return _one_of(self._escaped(character))

    def _escaped(self, character: str) -> str:
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character in "xu":
            digits = self._pattern[self._at : self._at + (2 if character == "x" else 4)]
            self._at += len(digits)
            try:
                return chr(int(digits, 16))
            except ValueError:
                raise self._error(f"has a bad escape \\{character}{digits}") from None
        if character.isalnum():
            raise self._error(f"uses \\{character}, which is not supported")
        return character

    def _class(self) -> str:
        negated = self._peek() == "^"
        if negated:
            self._at += 1
        members: dict[str, None] = {}
        first = True
        while first or self._peek() != "]":
            first = False
            start = self._member()
            if len(start) == 1 and self._peek() == "-" and self._pattern[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                end = self._member()
                if len(end) != 1 or ord(end) < ord(start):
                    raise self._error(f"has a bad range {start}-{end}")
                # A huge range (all of Unicode) needs no full list to draw from.
                start = "".join(map(chr, range(ord(start), min(ord(end), ord(start) + 255) + 1)))
            members.update(dict.fromkeys(start))
        self._at += 1
        allowed = [c for c in _PRINTABLE if c not in members] if negated else list(members)
        if not allowed:
            raise self._error("has a class that nothing matches")
        return "".join(allowed)

    def _member(self) -> str:
        character = self._take()
        if character != "\\":
            return character
        escaped = self._take()
        return _CLASSES[escaped] if escaped in _CLASSES else self._escaped(escaped)

    def _quantified(self, part: Sampler) -> Sampler:
        bounds = self._bounds()
        while bounds is not None:
            part = _repeated(part, *bounds)
            if self._peek() and self._peek() in "?+":  # lazy and possessive forms match the same strings
                self._at += 1
            bounds = self._bounds()
        return part

    def _bounds(self) -> tuple[int, int | None] | None:
        character = self._peek()
        if character in _REPEATS:
            self._at += 1
            return _REPEATS[character]
        end = self._pattern.find("}", self._at)
        if character != "{" or end < 0:
            return None
        low, comma, high = self._pattern[self._at + 1 : end].partition(",")
        if not (low.isdigit() and (not high or high.isdigit())):
            return None  # "{" stands for itself, as in every engine
        self._at = end + 1
        return int(low), (int(high) if high else None if comma else int(low))
