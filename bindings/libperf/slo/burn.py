"""How fast an objective's budget burns: counts of calls over windows, and the alerts that rest on them.

The budget is what may be bad: with an objective of 0.99, one call in a hundred. A burn rate of 1 uses up the budget of 30
days in 30 days, one of 14.4 uses 2 % of it in an hour. An alert asks two windows, a long one, so that a single bad minute
does not wake anybody, and a short one, so that it ends soon after the trouble has ended (Google's SRE workbook, chapter 5).

Pure: time comes in as seconds of any clock that goes forward.
"""

from bisect import bisect_right
from typing import NamedTuple

__all__ = ["PAIRS", "BurnRates", "Burning", "Pair"]

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


class Pair(NamedTuple):
    """An alert: both windows, seconds, burn faster than `factor`."""

    factor: float
    long: float
    short: float


PAIRS = (Pair(14.4, HOUR, 5 * MINUTE), Pair(6.0, 6 * HOUR, 30 * MINUTE), Pair(1.0, 3 * DAY, 6 * HOUR))


class Burning(NamedTuple):
    """What a pair of windows says now."""

    pair: Pair
    long: float  # burn rate
    short: float
    calls: int  # in the long window
    bad: int
    alerting: bool


class _Steps:
    """Readings at least so far apart, for at least so long. Memory: 32 bytes a reading."""

    def __init__(self, apart: float, kept: float) -> None:
        self.apart, self.kept = apart, kept
        self.times: list[float] = []
        self.counts: list[tuple[int, int]] = []

    def put(self, now: float, calls: int, bad: int) -> None:
        if self.times and now < self.times[-1] + self.apart:
            return
        self.times.append(now)
        self.counts.append((calls, bad))
        # the newest reading that is older than all windows stays; lists are cut rarely
        old = bisect_right(self.times, now - self.kept) - 1
        if old > len(self.times) // 2:
            del self.times[:old], self.counts[:old]

    def at(self, time: float) -> tuple[int, int] | None:
        """The newest reading that is not younger."""
        place = bisect_right(self.times, time) - 1
        return self.counts[place] if place >= 0 else None


class BurnRates:
    """Remembers an objective's counts for three days, in steps of ten seconds for an hour, then of five minutes.

    objective: which share of the calls is to be good, above 0 and below 1
    min_calls: an alert needs so many in its long window
    A window longer than what is known is as long as that. A window may begin earlier by a step.
    Threads: one at a time.
    """

    def __init__(self, objective: float, *, min_calls: int = 100, pairs: tuple[Pair, ...] = PAIRS) -> None:
        self.objective = objective
        self.min_calls = min_calls
        self.pairs = pairs
        self._begin()
        self._now = (0, 0)

    def _begin(self) -> None:
        self._fine = _Steps(10.0, HOUR)
        self._coarse = _Steps(5 * MINUTE, max([HOUR, *(pair.long for pair in self.pairs)]))
        self._first: tuple[int, int] | None = None

    def observe_at(self, now: float, calls: int, bad: int) -> None:
        """So many calls there were so far, and so many of them bad. Counts that fall are those of a new beginning."""
        if calls < self._now[0] or bad < self._now[1] or self._first is None:
            self._begin()
            self._first = calls, bad
        self._now = calls, bad
        self._fine.put(now, calls, bad)
        self._coarse.put(now, calls, bad)

    def window_at(self, now: float, seconds: float) -> tuple[int, int]:
        """Calls in a window that ends with the last reading, and bad ones among them."""
        since = now - seconds
        then = self._fine.at(since) or self._coarse.at(since) or self._first or (0, 0)
        return self._now[0] - then[0], self._now[1] - then[1]

    def rate_at(self, now: float, seconds: float) -> float:
        """The burn rate of a window; 0 when there was no call."""
        calls, bad = self.window_at(now, seconds)
        return bad / calls / (1 - self.objective) if calls else 0.0

    def burning_at(self, now: float) -> list[Burning]:
        """Of each pair."""
        return [self._burning(pair, now) for pair in self.pairs]

    def _burning(self, pair: Pair, now: float) -> Burning:
        calls, bad = self.window_at(now, pair.long)
        long, short = self.rate_at(now, pair.long), self.rate_at(now, pair.short)
        # a rate of exactly the factor is not faster; floats may be a hair above
        fast = min(long, short) > pair.factor * (1 + 1e-9)
        return Burning(pair, long, short, calls, bad, fast and calls >= self.min_calls)
