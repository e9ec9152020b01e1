"""Seeded distributions, per-model settings, and the timetable of one answer.

Every wait MockLLM makes is drawn here, so every wait is known: the same generator state gives the same seconds.
"""

from __future__ import annotations

import fnmatch
import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

_FORMS = (
    "0.8, 800ms, uniform:0.2,1.5, normal:0.8,0.1, lognormal:0.8,0.3 (median, spread), exponential:0.5 (mean), "
    "samples:0.2,0.4,3"
)


@dataclass(frozen=True)
class Latency:
    """A distribution of waits in seconds (also used for rates and lengths, where the unit is the setting's own).

    Make one with a class method, or from text with `parse`. Instances are immutable, and may be shared by threads and
    servers. No draw is below zero.
    """

    kind: str
    parameters: tuple[float, ...]

    @classmethod
    def fixed(cls, seconds: float) -> Latency:
        """Always `seconds` (>= 0)."""
        return cls._checked("fixed", (seconds,))

    @classmethod
    def uniform(cls, low: float, high: float) -> Latency:
        """Evenly between `low` and `high` seconds (0 <= low <= high)."""
        return cls._checked("uniform", (low, high))

    @classmethod
    def normal(cls, mean: float, deviation: float) -> Latency:
        """Bell-shaped around `mean` seconds; draws below zero become zero."""
        return cls._checked("normal", (mean, deviation))

    @classmethod
    def lognormal(cls, median: float, spread: float) -> Latency:
        """Long-tailed, as services are: half below `median` seconds; `spread` is the deviation of the logarithm.

        A spread of 0.3 puts 95 % of the draws between 0.55 and 1.8 times the median.
        """
        return cls._checked("lognormal", (median, spread))

    @classmethod
    def exponential(cls, mean: float) -> Latency:
        """Memoryless waits of `mean` seconds."""
        return cls._checked("exponential", (mean,))

    @classmethod
    def samples(cls, seconds: Sequence[float]) -> Latency:
        """One of the given waits, each equally likely: a measured record replayed."""
        return cls._checked("samples", tuple(seconds))

    @classmethod
    def parse(cls, text: str) -> Latency:
        """A distribution from text: ``0.8``, ``800ms``, ``lognormal:0.8,0.3``, and so on.

        Raises ValueError naming the text and the accepted forms.
        """
        kind, colon, rest = text.strip().rpartition(":")
        kind = kind.strip().lower() if colon else "fixed"
        count = _PARAMETERS.get(kind)
        if count is None:
            raise ValueError(f"unknown distribution {kind!r} in {text!r}: use one of {_FORMS}")
        try:
            numbers = tuple(_seconds(part) for part in rest.split(","))
        except ValueError:
            raise ValueError(f"{text!r} is not a time or a distribution: use one of {_FORMS}") from None
        if kind != "samples" and len(numbers) != count:
            raise ValueError(f"{kind} takes {count} number{'s' * (count > 1)}, {text!r} has {len(numbers)}")
        return cls._checked(kind, numbers)

    @classmethod
    def of(cls, value: float | str | Latency) -> Latency:
        """`value` as a distribution: a number is a fixed wait, text is parsed. Raises ValueError or TypeError."""
        if isinstance(value, Latency):
            return value
        if isinstance(value, str):
            return cls.parse(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{value!r} is not a time: give seconds, text such as 'lognormal:0.8,0.3', or a Latency")
        return cls.fixed(value)

    @classmethod
    def _checked(cls, kind: str, parameters: tuple[float, ...]) -> Latency:
        if not parameters:
            raise ValueError("samples needs at least one number of seconds")
        for number in parameters:
            if not (math.isfinite(number) and number >= 0):
                raise ValueError(f"{number!r} in a {kind} distribution must be a finite number, 0 or more")
        if kind == "uniform" and parameters[0] > parameters[1]:
            raise ValueError(f"uniform needs low <= high, not {parameters[0]} and {parameters[1]}")
        return cls(kind, tuple(map(float, parameters)))

    def sample(self, rng: random.Random) -> float:
        """One draw, 0 or more."""
        return _DRAW[self.kind](rng, self.parameters)

    @property
    def mean(self) -> float:
        """The expected value (for `normal`, of the curve before draws below zero are lifted to zero)."""
        p = self.parameters
        if self.kind == "uniform":
            return (p[0] + p[1]) / 2
        if self.kind == "lognormal":
            return p[0] * math.exp(p[1] ** 2 / 2)
        return statistics.fmean(p) if self.kind == "samples" else p[0]

    def __str__(self) -> str:
        numbers = ",".join(f"{number:g}" for number in self.parameters)
        return numbers if self.kind == "fixed" else f"{self.kind}:{numbers}"


_PARAMETERS = {"fixed": 1, "uniform": 2, "normal": 2, "lognormal": 2, "exponential": 1, "samples": 0}
_DRAW: dict[str, Callable[[random.Random, tuple[float, ...]], float]] = {
    "fixed": lambda rng, p: p[0],
    "uniform": lambda rng, p: p[0] + (p[1] - p[0]) * rng.random(),
    "normal": lambda rng, p: max(0.0, rng.gauss(p[0], p[1])),
    "lognormal": lambda rng, p: p[0] * math.exp(rng.gauss(0.0, p[1])),
    "exponential": lambda rng, p: -p[0] * math.log(1.0 - rng.random()),
    "samples": lambda rng, p: p[int(rng.random() * len(p))],
}


def _seconds(text: str) -> float:
    text = text.strip().lower()
    if text.endswith("ms"):
        return float(text[:-2]) / 1000
    return float(text.removesuffix("s"))


# What the constructor of MockLLM takes for a wait, a rate or a length.
PerModelSetting = float | str | Latency | Mapping[str, float | str | Latency]


class PerModel:
    """One distribution per model name; names may be patterns such as ``gpt-4*``, and ``*`` stands for the rest."""

    def __init__(self, setting: PerModelSetting, name: str) -> None:
        """`name` is the setting's own name, for messages. Raises ValueError or TypeError naming it."""
        rules: Mapping[str, float | str | Latency]
        if isinstance(setting, str) and "=" in setting:
            rules = dict(_split_rule(part, name) for part in setting.split(";") if part.strip())
        else:
            rules = setting if isinstance(setting, Mapping) else {"*": setting}
        try:
            self._rules = {pattern: Latency.of(value) for pattern, value in rules.items()}
        except (ValueError, TypeError) as error:
            raise type(error)(f"{name}: {error}") from None
        # The longer a pattern the more it says, so it is asked first.
        self._patterns = sorted(self._rules, key=len, reverse=True)

    def of(self, model: str) -> Latency | None:
        """The distribution for `model`, or None when no rule covers it."""
        if model in self._rules:
            return self._rules[model]
        pattern = next((p for p in self._patterns if fnmatch.fnmatchcase(model, p)), None)
        return None if pattern is None else self._rules[pattern]

    def least_mean(self) -> float:
        """The smallest mean of any rule, to check a setting that must be above zero."""
        return min((rule.mean for rule in self._rules.values()), default=math.inf)


def _split_rule(part: str, name: str) -> tuple[str, str]:
    pattern, equals, value = part.partition("=")
    if not equals or not pattern.strip():
        raise ValueError(f"{name}: {part!r} is not MODEL=TIME; separate models with ';'")
    return pattern.strip(), value.strip()


@dataclass(frozen=True)
class Timetable:
    """When the parts of one answer are due, in seconds after the request arrived."""

    first: float
    """The first token of a stream."""
    last: float
    """The last token; a JSON answer as a whole."""
    tokens: int
    stall: float = 0.0
    """A pause before the middle token (it is part of `last` already)."""

    def due(self, token: int) -> float:
        """When token number `token` (from 0) is due; anything after the last token is due with it."""
        if self.tokens <= 1:
            return self.last if token or self.stall else self.first
        flowing = self.last - self.stall - self.first
        paused = self.stall if token >= self.tokens // 2 else 0.0
        return self.first + flowing * min(token, self.tokens - 1) / (self.tokens - 1) + paused


@dataclass(frozen=True)
class Timing:
    """The timing settings of a server; `plan` draws one answer's Timetable from them.

    First token: `ttft` if set, else `latency`. Last token: first + (tokens - 1) / `tokens_per_second` if that is set,
    else `latency` (never before the first).
    """

    latency: PerModel
    ttft: PerModel | None
    tokens_per_second: PerModel | None

    def plan(self, model: str, tokens: int, rng: random.Random, override: float | None, stall: float) -> Timetable:
        """The timetable of an answer of `tokens` tokens; `override` replaces the time of the whole answer."""
        latency = _draw(self.latency, model, rng)
        ttft = _draw(self.ttft, model, rng)
        rate_of = None if self.tokens_per_second is None else self.tokens_per_second.of(model)
        # A bell curve reaches below any rate, and no token may take for ever: then the mean.
        rate = None if rate_of is None else rate_of.sample(rng) or rate_of.mean
        if override is not None:
            first, last = min(override, override if ttft is None else ttft), override
        else:
            first = (latency or 0.0) if ttft is None else ttft
            last = max(first, latency or 0.0) if rate is None else first + max(tokens - 1, 0) / rate
        return Timetable(first, last + stall, tokens, stall)


def _draw(setting: PerModel | None, model: str, rng: random.Random) -> float | None:
    distribution = None if setting is None else setting.of(model)
    return None if distribution is None else distribution.sample(rng)
