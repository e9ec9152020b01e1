"""Settings of MockLLM: distributions, and every value that is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest

from libperf.testing import Latency, MockLLM, Reply


@pytest.mark.parametrize(
    ("text", "mean", "written"),
    [
        ("0.8", 0.8, "0.8"),
        ("800ms", 0.8, "0.8"),
        ("2s", 2.0, "2"),
        ("uniform:0.2,1.0", 0.6, "uniform:0.2,1"),
        ("normal:0.8,0.1", 0.8, "normal:0.8,0.1"),
        ("lognormal:0.8,0.3", 0.8368, "lognormal:0.8,0.3"),
        ("exponential:500ms", 0.5, "exponential:0.5"),
        ("samples:0.2,0.4,3", 1.2, "samples:0.2,0.4,3"),
    ],
)
def test_distributions_have_their_mean(text: str, mean: float, written: str) -> None:
    """Each form of distribution parses, draws around its mean, and writes itself back."""
    distribution = Latency.parse(text)
    rng = random.Random(1)
    draws = [distribution.sample(rng) for _ in range(4000)]
    assert min(draws) >= 0
    assert distribution.mean == pytest.approx(mean, abs=1e-3)
    assert sum(draws) / len(draws) == pytest.approx(mean, rel=0.08)
    assert str(distribution) == written


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"port": 70000}, "port is 70000"),
        ({"port": "80"}, "port is '80'"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"latency": -1}, "latency: -1"),
        ({"latency": "soon"}, "latency: 'soon' is not a time"),
        ({"latency": "gauss:1"}, "unknown distribution 'gauss'"),
        ({"latency": "lognormal:1"}, "takes 2 numbers"),
        ({"latency": "uniform:2,1"}, "low <= high"),
        ({"latency": "samples:"}, "is not a time"),
        ({"latency": {"m": None}}, "latency: None is not a time"),
        ({"latency": "a=1;b"}, "'b' is not MODEL=TIME"),
        ({"ttft": float("nan")}, "ttft: nan"),
        ({"tokens_per_second": 0}, "tokens_per_second is 0"),
        ({"reply_tokens": "many"}, "reply_tokens: 'many'"),
        ({"replies": ["hello"]}, "must be a Reply"),
        ({"tool_rounds": -1}, "tool_rounds is -1"),
        ({"parallel_tool_calls": 0}, "parallel_tool_calls is 0"),
        ({"errors": 1.5}, "share of 500 is 1.5"),
        ({"errors": "500"}, "share of 500 is 500"),
        ({"errors": "500:lots"}, "'500:lots' is not KIND:SHARE"),
        ({"errors": "200:0.1"}, "unknown error kind '200'"),
        ({"errors": "explode:0.1"}, "unknown error kind 'explode'"),
        ({"errors": "500:0.6,429:0.6"}, "add up to 1.2"),
        ({"errors": True}, "errors is True"),
        ({"rate_limit": 2}, "rate_limit is 2"),
        ({"stall": "0.1"}, "stall is '0.1'"),
        ({"retry_after": -1}, "retry_after is -1"),
        ({"stall_seconds": float("inf")}, "stall_seconds is inf"),
        ({"models": "gpt"}, "models is 'gpt'"),
        ({"embedding_dimensions": 0}, "embedding_dimensions is 0"),
        ({"keep_requests": 0}, "keep_requests is 0"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, Any], said: str) -> None:
    """A setting out of range raises at once, naming the setting and the value."""
    with pytest.raises((ValueError, TypeError)) as caught:
        MockLLM(**settings)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"match": 5}, "Reply.match"),
        ({"text": 5}, "Reply.text"),
        ({"latency": -1}, "Reply.latency is -1"),
        ({"status": 302}, "Reply.status is 302"),
        ({"times": 0}, "Reply.times is 0"),
        ({"tool_calls": ["f"]}, "(name, arguments)"),
    ],
)
def test_bad_replies_are_named(fields: dict[str, Any], said: str) -> None:
    """A malformed reply raises at once, naming the field."""
    with pytest.raises((ValueError, TypeError)) as caught:
        Reply(**fields)
    assert said in str(caught.value)
