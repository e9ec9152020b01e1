"""SemanticCache: what must be the same, what the guards veto, and that it serves nothing before it has shown its rate."""

from __future__ import annotations

import asyncio
import math
import random
import sys
import threading
import zlib
from collections.abc import Callable
from typing import Any

import pytest

import libperf
from libperf.answers.guards import differs
from libperf.answers.semantic import SemanticCache, same_text
from libperf.answers.trial import Trial, clopper_pearson_upper, wilson
from libperf.errors import InvalidError


def embed(texts: list[str]) -> list[list[float]]:
    """Three letters at a time, hashed into 256 numbers: close is what is spelt alike."""
    vectors = []
    for text in texts:
        vector = [0.0] * 256
        padded = f"  {text.lower()} "
        for at in range(len(padded) - 2):
            hashed = zlib.crc32(padded[at : at + 3].encode())
            vector[hashed % 256] += 1 if hashed & 256 else -1
        vectors.append(vector)
    return vectors


def ask(text: Any, system: str = "Be brief.", **more: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    return {"model": "m", "temperature": 0, "messages": messages, **more}


def answer(text: str, finish: str = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "finish_reason": finish, "message": {"content": text, **message}}]}


def cache_of(**more: Any) -> SemanticCache:
    return SemanticCache(embed, **{"threshold": 0.5, "seed": 1, **more})


def serving(**more: Any) -> SemanticCache:
    """One that has shown what it had to."""
    cache = cache_of(**{"check": 0, **more})
    for _ in range(400):
        cache._trial.decide(False)
    assert cache.serving
    return cache


class Model:
    """Says which of its calls it was."""

    def __init__(self, say: Callable[[int], Any] = lambda number: answer(f"answer {number}")) -> None:
        self.calls = 0
        self._say = say

    def __call__(self) -> Any:
        self.calls += 1
        return self._say(self.calls)


PASSWORD, SAME = "How do I reset my password?", "How can I reset my password, please?"


# ---- serving ----


def test_a_question_in_other_words() -> None:
    """Once it may, the kept answer is given; exactly the same question is answered as well."""
    cache, model = serving(), Model()
    first = cache.get_or_call(ask(PASSWORD), model)
    assert cache.get_or_call(ask(SAME), model) == first
    assert cache.get_or_call(ask(PASSWORD), model) == first
    assert model.calls == 1
    assert cache.get_stats()["served"] == 2


@pytest.mark.parametrize(
    "other",
    [
        ask(SAME, model="other"),
        ask(SAME, system="Be long."),
        ask(SAME, tools=[{"type": "function", "function": {"name": "f"}}]),
        ask(SAME, max_tokens=10),
        ask(SAME, seed=1),
        {**ask(SAME), "messages": [{"role": "user", "content": SAME}]},
        {**ask(SAME), "messages": [*ask("Hello")["messages"], *ask(SAME)["messages"]]},
    ],
)
def test_all_but_the_last_text_is_exact(other: dict[str, Any]) -> None:
    """Model, system prompt, tools, parameters, history: one that differs is another question."""
    cache, model = serving(), Model()
    cache.get_or_call(ask(PASSWORD), model)
    cache.get_or_call(other, model)
    assert model.calls == 2


def test_scopes_are_apart() -> None:
    """A tenant's answers are his."""
    cache, model = serving(), Model()
    cache.get_or_call(ask(PASSWORD), model, scope="one")
    cache.get_or_call(ask(SAME), model, scope="two")
    cache.get_or_call(ask(SAME), model)
    assert model.calls == 3
    cache.get_or_call(ask(SAME), model, scope="one")
    assert model.calls == 3


@pytest.mark.parametrize(
    "request_",
    [
        ask(SAME, temperature=1),
        ask([{"type": "text", "text": SAME}, {"type": "image_url", "image_url": {"url": "http://x"}}]),
        ask("  "),
        {**ask(SAME), "messages": [{"role": "tool", "content": SAME, "tool_call_id": "1"}]},
        {**ask(SAME), "messages": []},
        ask("word " * 1000),
        ask(SAME, tools=[{"type": "web_search"}]),
    ],
)
def test_requests_that_are_not_for_it(request_: dict[str, Any]) -> None:
    """Samples, pictures, results of tools, what the provider looks up: called, and nothing kept."""
    cache, model = serving(), Model()
    cache.get_or_call(request_, model)
    cache.get_or_call(request_, model)
    assert model.calls == 2 and len(cache) == 0


@pytest.mark.parametrize(
    "said", [answer("", "length"), answer("", "tool_calls", tool_calls=[{"function": {"name": "f"}}]), {"error": {}}]
)
def test_answers_that_are_not_kept(said: dict[str, Any]) -> None:
    """By the rules of every cache of a model's answers."""
    cache, model = serving(), Model(lambda number: said)
    cache.get_or_call(ask(PASSWORD), model)
    cache.get_or_call(ask(PASSWORD), model)
    assert model.calls == 2 and len(cache) == 0


def test_errors_are_the_callers() -> None:
    """A call that raises leaves no trace, and decides nothing."""
    cache = cache_of()
    cache.get_or_call(ask(PASSWORD), Model())

    def fail() -> Any:
        raise ConnectionError("cut")

    with pytest.raises(ConnectionError):
        cache.get_or_call(ask(SAME), fail)
    assert len(cache) == 1 and cache.get_stats()["decisions"] == 0


# ---- the shadow ----


def test_it_serves_nothing_at_first() -> None:
    """Every call is made, the same question over and over too; what it would have said is compared."""
    cache, model = cache_of(), Model(lambda number: answer("Click   'forgot'." if number > 1 else "click forgot"))
    for text in (PASSWORD, SAME, PASSWORD, PASSWORD):
        cache.get_or_call(ask(text), model)
    assert model.calls == 4 and not cache.serving
    stats = cache.get_stats()
    assert stats["served"] == 0 and stats["false_hits"] == 0
    assert stats["decisions"] == 1  # the same question again says nothing about other words


def paraphrases(cache: SemanticCache, count: int, wrong: Callable[[int], bool], first: int = 0) -> None:
    for number in range(first, first + count):
        system = f"You are number {number}."  # each has a group of its own: every second call is a decision
        cache.get_or_call(ask(PASSWORD, system), lambda: answer("yes"))
        cache.get_or_call(ask(SAME, system), lambda number=number: answer("no" if wrong(number) else "yes"))


def test_it_begins_to_serve_when_its_rate_is_known() -> None:
    """399 right answers are too few for one in a hundred, 400 are enough."""
    cache = cache_of(check=0)
    paraphrases(cache, 399, lambda number: False)
    assert not cache.serving
    paraphrases(cache, 1, lambda number: False, first=399)
    stats = cache.get_stats()
    assert cache.serving and stats["decisions"] == 400 and stats["false_hit_rate_bound"] < 0.01
    model = Model()
    cache.get_or_call(ask(PASSWORD, "new"), model)
    cache.get_or_call(ask(SAME, "new"), model)
    assert model.calls == 1


def test_it_never_serves_where_it_is_wrong_too_often() -> None:
    """One wrong in twenty: measured, told, and never served."""
    cache = cache_of()
    paraphrases(cache, 1000, lambda number: number % 20 == 0)
    stats = cache.get_stats()
    assert not cache.serving and stats["served"] == 0
    assert stats["false_hit_rate"] == cache.false_hit_rate == 0.05
    assert stats["false_hit_rate_low"] < 0.05 < stats["false_hit_rate_high"]


def test_it_stops_when_it_turns_out_wrong() -> None:
    """While it serves, a share of the answers is still compared; too many wrong ones end it."""
    cache = serving(check=1.0)
    paraphrases(cache, 10, lambda number: True)
    assert not cache.serving and cache.get_stats()["served"] == 0


def test_whether_answers_agree_is_the_users() -> None:
    """A judge of one's own, for answers that say the same in other words."""
    seen = []

    def agree(real: Any, kept: Any) -> bool:
        seen.append((real, kept))
        return bool(real["n"] == kept["n"])

    cache = cache_of(agree=agree)
    for text, number in ((PASSWORD, 1), (SAME, 1), (PASSWORD + "!", 2)):
        cache.get_or_call(ask(text), lambda number=number: {**answer("x"), "n": number})
    assert len(seen) == 2
    assert cache.get_stats()["decisions"] == 2 and cache.get_stats()["false_hits"] == 1


def test_same_text() -> None:
    """Case, spaces and punctuation mean nothing; words and numbers do."""
    assert same_text(answer("Yes, it is."), answer("yes  it is"))
    assert not same_text(answer("Yes"), answer("No"))
    assert not same_text(answer("1.5"), answer("15"))
    assert same_text("plain Text", "plain text!")


# ---- bounds ----


def test_it_is_bounded() -> None:
    """The least recently used question goes first."""
    cache, model = serving(max_size=10, threshold=0.99), Model()
    for number in range(50):
        cache.get_or_call(ask(f"question of {chr(97 + number % 26)}{number}"), model)
    assert len(cache) == 10 and cache.get_stats()["evicted"] == 40
    assert sum(len(group) for group in cache._groups.values()) == 10
    cache.clear()
    assert len(cache) == 0 and not cache._groups


def test_answers_grow_old() -> None:
    """After its time an answer is not served, nor compared."""
    now = [0.0]
    cache, model = serving(ttl=10, clock=lambda: now[0]), Model()
    cache.get_or_call(ask(PASSWORD), model)
    now[0] = 9.9
    cache.get_or_call(ask(SAME), model)
    assert model.calls == 1
    now[0] = 10.0
    cache.get_or_call(ask(SAME), model)
    assert model.calls == 2 and len(cache) == 1 and cache.get_stats()["expired"] == 1


@pytest.mark.parametrize(
    "wrong", [{"threshold": 2}, {"budget": -1}, {"check": 1.5}, {"min_shadow": 0}, {"max_size": 0}, {"ttl": 0}]
)
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    """The error names the setting and its value."""
    with pytest.raises(InvalidError, match=next(iter(wrong))):
        SemanticCache(embed, **wrong)


def test_a_model_of_vectors_that_changes_its_mind() -> None:
    """Vectors of another length than before: an error that says so, not a wrong hit."""
    widths = iter([3, 4])
    cache = SemanticCache(lambda texts: [[1.0] * next(widths)])
    cache.get_or_call(ask(PASSWORD), Model())
    with pytest.raises(InvalidError, match="4 numbers"):
        cache.get_or_call(ask(SAME), Model())


# ---- callers ----


def test_awaited_calls() -> None:
    """Calls and embedders that are awaited."""

    async def aembed(texts: list[str]) -> list[list[float]]:
        await asyncio.sleep(0)
        return embed(texts)

    async def main() -> None:
        for embedder in (embed, aembed):
            cache, model = serving(), Model()
            cache._embed = embedder

            async def call(model: Model = model) -> Any:
                return model()

            first = await cache.aget_or_call(ask(PASSWORD), call)
            assert await cache.aget_or_call(ask(SAME), call) == first
            assert model.calls == 1
            assert await cache.aget_or_call(ask(SAME, temperature=1), call) != first

    asyncio.run(main())


def test_many_threads() -> None:
    """Threads that ask and are evicted at once leave it whole."""
    cache = serving(max_size=20, threshold=0.3)
    errors = []

    def work(seed: int) -> None:
        draw = random.Random(seed)
        try:
            for _ in range(200):
                cache.get_or_call(ask(f"word{draw.randint(0, 60)} and more", f"s{draw.randint(0, 2)}"), Model())
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len(cache) <= 20
    numbers = sorted(number for group in cache._groups.values() for number in group._numbers)
    assert numbers == sorted(cache._kept)


def test_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest are the same ones, compared in Python."""
    from libperf.answers.semantic import _unit, _Vectors

    draw = random.Random(3)
    group = _Vectors()
    for number in range(50):
        group.add(number, _unit([draw.gauss(0, 1) for _ in range(16)]))
    for number in range(0, 50, 7):
        group.remove(number)
    wanted = [_unit([draw.gauss(0, 1) for _ in range(16)]) for _ in range(20)]
    pytest.importorskip("numpy")
    fast = [group.nearest(vector, 0.2) for vector in wanted]
    monkeypatch.setitem(sys.modules, "numpy", None)
    slow = [group.nearest(vector, 0.2) for vector in wanted]
    assert [[number for number, _ in found] for found in fast] == [[number for number, _ in found] for found in slow]
    assert any(fast)


def test_it_is_a_name_of_the_package() -> None:
    """libperf.SemanticCache, imported when it is asked for."""
    assert libperf.SemanticCache is SemanticCache


# ---- guards ----


@pytest.mark.parametrize(
    ("one", "other", "guard"),
    [
        ("Convert 10 miles to km", "Convert 12 miles to km", "numbers"),
        ("Is 5% enough?", "Is 5 enough?", "numbers"),
        ("Set it to -3", "Set it to 3", "numbers"),
        ("Name three rivers", "Name four rivers", "numbers"),
        ("Delete the file", "Do not delete the file", "negation"),
        ("Can I eat it?", "Can't I eat it?", "negation"),
        ("Hotels with a pool", "Hotels without a pool", "negation"),
        ("How do I enable 2FA?", "How do I disable 2FA?", "opposites"),
        ("Is it safe to eat?", "Is it unsafe to eat?", "opposites"),
        ("The fastest way to sort", "The slowest way to sort", "opposites"),
        ("What happened before the war", "What happened after the war", "opposites"),
        ('Translate "on"', 'Translate "off"', "opposites"),
        ('What does "foo" mean?', 'What does "bar" mean?', "quotes"),
        ("What does foo_bar do?", "What does foo_baz do?", "code"),
        ("Explain /etc/passwd", "Explain /etc/shadow", "code"),
        ("Explain list.append", "Explain list.extend", "code"),
        ("The capital of France?", "The capital of Spain?", "names"),
        ("Who is Ada?", "Who is Bob?", "names"),
        ("Why is it slow?", "When is it slow?", "question"),
        ("Flights from paris to rome", "Flights from rome to paris", "order"),
        ("Does the dog bite the man?", "Does the man bite the dog?", "order"),
        ("Can dogs eat grapes?", "Can cats eat grapes?", "word"),
    ],
)
def test_what_is_vetoed(one: str, other: str, guard: str) -> None:
    """The pairs that vectors take for one; either way round."""
    assert differs(one, other) == guard
    assert differs(other, one) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PASSWORD, SAME),
        ("What's the capital of France?", "what is the capital of france"),
        ("How to sort a list in python", "How do I sort a list in Python?"),
        ("How do I enable 2FA?", "How do I turn on 2FA?"),
        ("Tell me about tides", "Please tell me about tides."),
    ],
)
def test_what_is_let_through(one: str, other: str) -> None:
    """Politeness, case, contractions."""
    assert differs(one, other) is None


def test_a_veto_is_counted_and_the_call_made() -> None:
    """However close the vectors are."""
    cache, model = serving(threshold=-1), Model()
    cache.get_or_call(ask("How do I enable 2FA?"), model)
    cache.get_or_call(ask("How do I disable 2FA?"), model)
    assert model.calls == 2 and cache.get_stats()["vetoed_opposites"] == 1


def test_guards_take_any_text() -> None:
    """No text makes a guard fail, or take long."""
    draw = random.Random(9)
    letters = "aA1 .,'\"`’“«-_/(\n☃é漢\ud800"
    for _ in range(3000):
        one, other = ("".join(draw.choice(letters) for _ in range(draw.randint(0, 30))) for _ in range(2))
        assert (differs(one, other) is None) == (differs(other, one) is None)
        assert differs(one, one) is None
    differs("a_" * 20_000, "'" * 20_000)


# ---- how often it is wrong ----


def test_the_exact_bound() -> None:
    """Clopper and Pearson's: none of n is 1 - error^(1/n); and the bound is where the binomial sum is the error."""
    for decisions in (1, 10, 400, 5000):
        assert clopper_pearson_upper(0, decisions) == pytest.approx(1 - 0.05 ** (1 / decisions))
    for mistakes, decisions in ((1, 10), (3, 400), (50, 1000), (999, 1000)):
        bound = clopper_pearson_upper(mistakes, decisions)
        total = sum(math.comb(decisions, k) * bound**k * (1 - bound) ** (decisions - k) for k in range(mistakes + 1))
        assert total == pytest.approx(0.05, rel=1e-3)
    assert clopper_pearson_upper(10, 10) == 1.0


def test_wilsons_interval() -> None:
    """Known values; within 0 and 1; around the share."""
    assert wilson(5, 100) == pytest.approx((0.02154, 0.11175), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(0, 10)[0] == 0.0 and wilson(10, 10)[1] == 1.0


def test_a_bad_share_seldom_passes() -> None:
    """Twice the budget, looked at for ten thousand decisions, a thousand times: passes in far less than one of twenty."""
    draw = random.Random(11)
    passed = 0
    for _ in range(1000):
        trial = Trial(0.01, 400)
        for _ in range(3200):
            if trial.passed:
                break
            trial.decide(draw.random() < 0.0125)
        passed += trial.passed
    assert passed <= 50


def test_a_good_share_passes() -> None:
    """A fifth of the budget is shown in at most a few thousand decisions."""
    draw = random.Random(12)
    trial = Trial(0.01, 400)
    for _ in range(6400):
        trial.decide(draw.random() < 0.002)
    assert trial.passed and trial.rate < 0.005
