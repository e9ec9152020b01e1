"""Fresh, early, stale, spare, gone: pure functions of the time."""

from __future__ import annotations

import math
import random

import pytest

from libperf.cache.freshness import (
    EARLY,
    FOREVER,
    FRESH,
    GONE,
    SPARE,
    STALE,
    Lifetime,
    early_from,
    is_early,
    jittered,
    state_at,
)
from libperf.errors import InvalidError

S = 1_000_000_000


def test_the_states_in_their_order() -> None:
    """Each begins at its own nanosecond."""
    times = (10, 20, 30)
    assert [state_at(now, *times) for now in (9, 10, 19, 20, 29, 30)] == [FRESH, STALE, STALE, SPARE, SPARE, GONE]
    assert EARLY not in {FRESH, STALE, SPARE, GONE}


def test_a_value_without_a_ttl_lives_for_ever() -> None:
    assert Lifetime().times_at(5, None, 0.1) == (FOREVER, FOREVER, FOREVER)
    assert Lifetime(ttl=1e300).times_at(5, 1e300, 0.5)[0] == FOREVER
    assert Lifetime(ttl=math.inf).times_at(5, math.inf, 0.5)[0] == FOREVER


def test_the_windows_after_the_ttl() -> None:
    """Stale and spare both count from the end of fresh."""
    life = Lifetime(ttl=10, stale_ttl=5, stale_if_error=60, jitter=0)
    assert life.times_at(0, 10, 0.9) == (10 * S, 15 * S, 70 * S)
    assert Lifetime(ttl=10, stale_ttl=5, jitter=0).times_at(0, 10, 0.9) == (10 * S, 15 * S, 15 * S)


def test_jitter_is_a_share_both_ways() -> None:
    assert [jittered(100, 0.05, chance) for chance in (0.0, 0.5, 1.0)] == pytest.approx([95, 100, 105])
    assert jittered(100, 0.0, 0.1) == 100


def test_how_likely_early_is() -> None:
    """exp(-remaining / (beta * delta)), within four standard deviations."""
    chance = random.Random(7)
    for remaining in (0.5, 1.0, 2.0, 4.0):
        wanted = math.exp(-remaining)
        early = sum(is_early(0, int(remaining * S), S, 1.0, chance.random()) for _ in range(20_000))
        assert abs(early / 20_000 - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / 20_000)


def test_early_is_possible_only_near_the_end() -> None:
    """Before early_from() not even the unluckiest of a hundred million is early."""
    since = early_from(1000 * S, 2 * S, 1.0)
    assert since == 960 * S
    assert not is_early(since - 1, 1000 * S, 2 * S, 1.0, 1 - 1e-8)
    assert early_from(FOREVER, 2 * S, 1.0) == FOREVER
    assert early_from(1000, S, 0.0) == 1000


@pytest.mark.parametrize("name", ["ttl", "stale_ttl", "stale_if_error", "negative_ttl", "beta", "jitter"])
@pytest.mark.parametrize("value", [-1, -0.001, math.nan, "3", True])
def test_nonsense_is_named(name: str, value: object) -> None:
    """The error says which setting, and which value."""
    with pytest.raises(InvalidError, match=name) as error:
        Lifetime(**{name: value})  # type: ignore[arg-type]
    assert repr(value) in str(error.value)


def test_jitter_is_less_than_all() -> None:
    with pytest.raises(InvalidError, match="jitter=1"):
        Lifetime(jitter=1)
