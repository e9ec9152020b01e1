"""A share that is estimated from a few mistakes among many decisions, and when it is known well enough."""

import math

__all__ = ["Trial", "clopper_pearson_upper", "wilson"]


def wilson(mistakes: int, decisions: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval in which the share lies, at that confidence (Wilson's score interval)."""
    if decisions == 0:
        return 0.0, 1.0
    z = _normal_quantile((1 + confidence) / 2)
    share, more = mistakes / decisions, z * z / decisions
    middle = (share + more / 2) / (1 + more)
    half = z / (1 + more) * math.sqrt(share * (1 - share) / decisions + more / (4 * decisions))
    return (0.0 if mistakes == 0 else max(0.0, middle - half)), (
        1.0 if mistakes == decisions else min(1.0, middle + half)
    )


def clopper_pearson_upper(mistakes: int, decisions: int, error: float = 0.05) -> float:
    """The share that is not exceeded, but with a probability of `error`, however the share came about (exact)."""
    if mistakes >= decisions:
        return 1.0
    low, high = mistakes / decisions, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(mistakes, decisions, middle) > error else (low, middle)
    return high


def _at_most(mistakes: int, decisions: int, share: float) -> float:
    """How probable that many mistakes or fewer are, when the share is `share` (0 < share < 1)."""
    term = decisions * math.log1p(-share)  # of none; each next one follows from the one before
    odds = math.log(share) - math.log1p(-share)
    total = math.exp(term)
    for k in range(mistakes):
        term += math.log((decisions - k) / (k + 1)) + odds
        total += math.exp(term)
    return min(1.0, total)


def _normal_quantile(p: float) -> float:
    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 0.5 * math.erfc(-middle / math.sqrt(2)) < p else (low, middle)
    return high


class Trial:
    """Whether the share of mistakes is known to be within a budget.

    Whoever looks again and again sees a good run by luck sometime. So it is looked at after `least` decisions, then
    after twice as many, and so on; and the k-th look may err with probability error / 2^k only: with all of them
    together, a share above the budget passes with a probability of at most `error`.
    Passed, it fails again as soon as the plain bound (at `error`) exceeds the budget, and waits for the next look.
    """

    def __init__(self, budget: float, least: int, error: float = 0.05) -> None:
        self.budget, self.error = budget, error
        self.decisions = self.mistakes = 0
        self.passed = False
        self._next_look, self._looks = least, 0

    def decide(self, is_mistake: bool) -> None:
        self.decisions += 1
        self.mistakes += is_mistake
        if self.decisions >= self._next_look:
            self._next_look *= 2
            self._looks += 1
            self.passed = self.upper(self.error / 2**self._looks) <= self.budget
        elif self.passed and is_mistake:
            self.passed = self.upper(self.error) <= self.budget

    @property
    def rate(self) -> float:
        return self.mistakes / self.decisions if self.decisions else 0.0

    def upper(self, error: float | None = None) -> float:
        """What the share is below, but with a probability of `error`."""
        if self.decisions == 0:
            return 1.0
        return clopper_pearson_upper(self.mistakes, self.decisions, self.error if error is None else error)
