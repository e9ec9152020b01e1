"""When a cached value is fresh, stale or gone: functions of the time that is passed in, and of chance.

    begun        fresh_ns              stale_ns               expires_ns
      |--- fresh ---|------ stale -------|------- spare --------|--- gone
              ^ now and then computed early, so that not everybody finds it stale at once

fresh   served
early   served to all but one caller, who computes it again (XFetch: Vattani, Chierichetti, Lowenstein, VLDB 2015)
stale   served, and computed again in the background (stale-while-revalidate)
spare   computed again; served only when that fails (stale-if-error)
"""

import math
from dataclasses import dataclass
from typing import Final

from ..errors import InvalidError

__all__ = ["EARLY", "FOREVER", "FRESH", "GONE", "SPARE", "STALE", "Lifetime", "check_seconds", "jittered", "state_at"]

FRESH, EARLY, STALE, SPARE, GONE = range(5)

FOREVER: Final = 2**63 - 1  # nanoseconds: 292 years
NEVER_EARLY: Final = 20  # times beta * delta before the end the chance to be early is e**-20


def check_seconds(value: object, what: str) -> float:
    """A duration, 0 or more; the error names it and its value."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    raise InvalidError(f"{what}={value!r} is not a number of seconds (0 or more)")


def to_ns(seconds: float) -> int:
    return FOREVER if seconds >= FOREVER / 1e9 else int(seconds * 1e9)


def later(now_ns: int, seconds: float) -> int:
    return min(FOREVER, now_ns + to_ns(seconds))


def jittered(seconds: float, jitter: float, chance: float) -> float:
    """Up to `jitter` (a share) longer or shorter, so that what was stored together does not expire together."""
    return seconds * (1 + jitter * (2 * chance - 1))


def is_early(now_ns: int, fresh_ns: int, compute_ns: float, beta: float, chance: float) -> bool:
    """Whether this caller computes the value before its time: the likelier, the closer its end and the longer the
    computing takes. chance: 0 <= chance < 1, another one for each caller."""
    return now_ns - compute_ns * beta * math.log(1.0 - chance) >= fresh_ns


def early_from(fresh_ns: int, compute_ns: float, beta: float) -> int:
    """Before that time is_early() is never true, for any chance worth the name."""
    return fresh_ns - int(compute_ns * beta * NEVER_EARLY) if fresh_ns < FOREVER else FOREVER


def state_at(now_ns: int, fresh_ns: int, stale_ns: int, expires_ns: int) -> int:
    if now_ns < fresh_ns:
        return FRESH
    if now_ns < stale_ns:
        return STALE
    return SPARE if now_ns < expires_ns else GONE


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long the values of a cache live; all in seconds, see the picture above."""

    ttl: float | None = None  # fresh; None: for ever
    stale_ttl: float = 0.0  # and then stale
    stale_if_error: float = 0.0  # and then, or beside that, spare: counted from the end of fresh
    negative_ttl: float = 0.0  # how long an exception is raised again without computing; 0: never
    jitter: float = 0.05
    beta: float = 1.0  # 0: never early

    def __post_init__(self) -> None:
        if self.ttl is not None:
            check_seconds(self.ttl, "ttl")
        for name in ("stale_ttl", "stale_if_error", "negative_ttl", "beta"):
            check_seconds(getattr(self, name), name)
        if not 0 <= check_seconds(self.jitter, "jitter") < 1:
            raise InvalidError(f"jitter={self.jitter!r} is a share of the ttl: 0 or more, less than 1")

    def times_at(self, now_ns: int, ttl: float | None, chance: float) -> tuple[int, int, int]:
        """fresh_ns, stale_ns and expires_ns of a value that is stored now."""
        if ttl is None:
            return FOREVER, FOREVER, FOREVER
        fresh_ns = later(now_ns, jittered(ttl, self.jitter, chance))
        if not self.stale_ttl and not self.stale_if_error:
            return fresh_ns, fresh_ns, fresh_ns
        return fresh_ns, later(fresh_ns, self.stale_ttl), self.expires_at(fresh_ns)

    def expires_at(self, fresh_ns: int) -> int:
        return later(fresh_ns, max(self.stale_ttl, self.stale_if_error))
