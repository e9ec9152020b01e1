"""SemanticCache: an answer for a question that was asked in other words. Off unless you make one, and for good reason.

No threshold on vectors separates "enable it" from "disable it" (docs/semantic-cache.md has our figures). So here:

- everything but the last user text must be the very same: model, tools, system prompt, history, parameters, scope;
- of the last user text the vectors must be close, and no lexical guard may object (libperf.answers.guards);
- it serves nothing until it has shown, on your own traffic, how often it would have been wrong. In that *shadow* time
  every call is made as ever, and the would-be answer is compared with the real one. Only when the share of wrong ones
  is known to be within the budget does it begin to serve; and a few calls are compared for as long as it lives.

A crafted text can come close to any other one: never share one scope between people who do not trust each other.
"""

import random
import threading
import time
from array import array
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidError
from .guards import differs
from .rules import IGNORED, Rules, Skips, request_key
from .trial import Trial, wilson

__all__ = ["SemanticCache", "same_text"]

Vector = Sequence[float]
TEXT_MAX = 2000  # letters of a question that is looked for; a longer one differs from others in too many ways


@dataclass(slots=True)
class _Kept:
    """A question that was answered."""

    number: int
    group: str
    text: str
    answer: Any
    expires: float


@dataclass(slots=True)
class _Question:
    """What of a request is matched exactly, and what is not."""

    group: str
    text: str


class SemanticCache:
    """Answers of a model for questions in other words, once it is known how often they would be wrong.

    ::

        cache = libperf.SemanticCache(embed=lambda texts: [one.embedding for one in embedder(texts)])
        answer = cache.get_or_call(request, lambda: client.chat.completions.create(**request), scope=tenant)
        print(cache.get_stats()["false_hit_rate"], cache.get_stats()["serving"])

    embed:             vectors of texts; async where aget_or_call is used and it has to wait
    threshold:         least cosine of two vectors that are close
    agree:             whether an answer may stand for another one, agree(real, kept) -> bool; without it they must have
                       the same text but for case, spaces and punctuation
    budget:            greatest share of served answers that may be wrong
    min_shadow:        decisions before it is first asked whether it keeps to the budget; 400 without a mistake show 1 %
    check:             share of answers that are compared instead of served, for as long as it serves
    max_size, ttl:     how many questions are kept, and for how many seconds
    guards:            differs(text, kept_text) -> name or None; None there is no objection
    nondeterministic, pure_tools, ignore:  as for every cache of a model's answers (libperf.answers.rules)
    clock, seed:       for tests: seconds that only grow; which answers are compared
    Threads: any. Calls and embeddings are made outside its lock.
    """

    def __init__(
        self,
        embed: Callable[[list[str]], Any],
        *,
        threshold: float = 0.92,
        agree: Callable[[Any, Any], bool] | None = None,
        budget: float = 0.01,
        min_shadow: int = 400,
        check: float = 0.02,
        max_size: int = 10_000,
        ttl: float = 3600.0,
        guards: Callable[[str, str], str | None] = differs,
        nondeterministic: bool = False,
        pure_tools: bool | Sequence[str] = False,
        ignore: frozenset[str] = IGNORED,
        base_url: str = "",
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        for name, value, low, high in (
            ("threshold", threshold, -1, 1),
            ("budget", budget, 0, 1),
            ("check", check, 0, 1),
        ):
            if not low <= value <= high:
                raise InvalidError(f"{name}={value!r}: must be between {low} and {high}")
        for name, value in (("min_shadow", min_shadow), ("max_size", max_size), ("ttl", ttl)):
            if not value > 0:
                raise InvalidError(f"{name}={value!r}: must be greater than 0")
        self._embed, self._threshold, self._agree = embed, threshold, agree or same_text
        self._check, self._most, self._ttl = check, int(max_size), ttl
        self._guards, self._base_url, self._clock = guards, base_url, clock
        self._rules = Rules(nondeterministic, pure_tools, ignore)
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, _Kept] = OrderedDict()  # by number, the oldest use first
        self._groups: dict[str, _Vectors] = {}
        self._number = 0
        self._trial = Trial(budget, int(min_shadow))
        self._skips = Skips("libperf.SemanticCache", "semantic")
        self._counts = dict.fromkeys(("calls", "served", "evicted", "expired"), 0)
        self._vetoes: dict[str, int] = {}

    # ---- asking ----

    def get_or_call(self, request: Mapping[str, Any], call: Callable[[], Any], *, scope: Any = None) -> Any:
        """The answer to this request: `call()`, or one that was given to the same question in other words.

        request:  as a chat.completions.create takes it
        scope:    whose answers these are
        """
        question = self._question(request, scope)
        if question is None:
            return call()
        vector = _unit(self._embed([question.text])[0])
        kept, serve = self._look_up(question, vector)
        if kept is not None and serve:
            return kept.answer
        answer = call()
        self._learn(question, vector, kept, answer)
        return answer

    async def aget_or_call(
        self, request: Mapping[str, Any], call: Callable[[], Awaitable[Any]], *, scope: Any = None
    ) -> Any:
        """The same for calls, and embedders, that are awaited."""
        question = self._question(request, scope)
        if question is None:
            return await call()
        vectors = self._embed([question.text])
        vector = _unit((await vectors if hasattr(vectors, "__await__") else vectors)[0])
        kept, serve = self._look_up(question, vector)
        if kept is not None and serve:
            return kept.answer
        answer = await call()
        self._learn(question, vector, kept, answer)
        return answer

    # ---- what it knows of itself ----

    @property
    def serving(self) -> bool:
        """Whether it has shown that it keeps to its budget."""
        return self._trial.passed

    @property
    def false_hit_rate(self) -> float:
        """The share of would-be hits that were wrong."""
        return self._trial.rate

    def get_stats(self) -> dict[str, float]:
        """Counts; `false_hit_rate` of `decisions`, its 95 % interval (`_low`, `_high`, Wilson), and what it is below at
        95 % (`_bound`, exact), which is compared with the budget."""
        with self._lock:
            trial = self._trial
            low, high = wilson(trial.mistakes, trial.decisions)
            return {
                **self._counts,
                **self._skips.stats(),
                **{f"vetoed_{name}": count for name, count in sorted(self._vetoes.items())},
                "size": len(self._kept),
                "serving": trial.passed,
                "decisions": trial.decisions,
                "false_hits": trial.mistakes,
                "false_hit_rate": trial.rate,
                "false_hit_rate_low": low,
                "false_hit_rate_high": high,
                "false_hit_rate_bound": trial.upper(),
            }

    def clear(self) -> None:
        """Forget the answers. What is known about how often they are wrong stays."""
        with self._lock:
            self._kept.clear()
            self._groups.clear()

    def __len__(self) -> int:
        return len(self._kept)

    # ---- how it works ----

    def _question(self, request: Mapping[str, Any], scope: Any) -> _Question | None:
        """None: this request is none that could be answered from here."""
        with self._lock:
            self._counts["calls"] += 1
        reason = self._rules.refused_request(request)
        text = None if reason else _last_text(request)
        if text is None or len(text) > TEXT_MAX:
            self._skips.count(reason or ("no_text" if text is None else "long_text"))
            return None
        messages = list(request["messages"])
        rest = {**request, "messages": [*messages[:-1], {**messages[-1], "content": None}], "libperf_scope": scope}
        return _Question(request_key(rest, base_url=self._base_url, ignore=self._rules.ignore), text)

    def _look_up(self, question: _Question, vector: "array[float]") -> tuple[_Kept | None, bool]:
        """The answer that would be served, and whether it is to be."""
        with self._lock:
            group = self._groups.get(question.group)
            for number, _ in group.nearest(vector, self._threshold) if group else ():
                kept = self._kept[number]
                if kept.expires <= self._clock():
                    self._counts["expired"] += 1
                    self._drop(number)
                    continue
                veto = self._guards(question.text, kept.text)
                if veto is not None:
                    self._vetoes[veto] = self._vetoes.get(veto, 0) + 1
                    continue
                self._kept.move_to_end(number)
                serve = self._trial.passed and self._random.random() >= self._check
                self._counts["served"] += serve
                return kept, serve
            return None, False

    def _learn(self, question: _Question, vector: "array[float]", kept: _Kept | None, answer: Any) -> None:
        """Compare what would have been served with what came, and keep what came."""
        reason = self._rules.refused_answer(_as_dict(answer))
        wrong = kept is not None and not (reason is None and self._agree(answer, kept.answer))
        with self._lock:
            again = kept is not None and kept.text == question.text  # says nothing about other words
            if kept is not None and not again and reason not in ("error", "unfinished", "empty"):
                self._trial.decide(wrong)
            if reason is not None:
                self._skips.count(reason)
                return
            self._skips.kept()
            self._number += 1
            if again and kept is not None and kept.number in self._kept:
                self._drop(kept.number)
            expires = self._clock() + self._ttl
            self._kept[self._number] = _Kept(self._number, question.group, question.text, answer, expires)
            self._groups.setdefault(question.group, _Vectors()).add(self._number, vector)
            while len(self._kept) > self._most:
                self._counts["evicted"] += 1
                self._drop(next(iter(self._kept)))

    def _drop(self, number: int) -> None:
        group = self._kept.pop(number).group
        self._groups[group].remove(number)
        if not len(self._groups[group]):
            del self._groups[group]


def _last_text(request: Mapping[str, Any]) -> str | None:
    """The text of the last message, when it is a user's, and nothing but text."""
    messages = request.get("messages")
    if not isinstance(messages, list | tuple) or not messages or not isinstance(messages[-1], Mapping):
        return None
    last = messages[-1]
    content = last.get("content")
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], Mapping):
        content = content[0].get("text") if content[0].get("type") == "text" else None
    return content if last.get("role") == "user" and isinstance(content, str) and content.strip() else None


def _as_dict(answer: Any) -> Mapping[str, Any]:
    if isinstance(answer, Mapping):
        return answer
    if hasattr(answer, "model_dump"):
        return answer.model_dump(mode="json", exclude_unset=True)  # type: ignore[no-any-return]
    return {"choices": [{"finish_reason": "stop", "message": {"content": str(answer)}}]}  # a text is an answer, too


def _text_of(answer: Any) -> str:
    said = []
    for choice in _as_dict(answer).get("choices") or ():
        said.append(str((choice.get("message") or {}).get("content")))
    return "\n".join(said)


def same_text(real: Any, kept: Any) -> bool:
    """Whether two answers say the same but for case, spaces and punctuation."""
    one, two = _text_of(real), _text_of(kept)
    return one == two or _bare(one) == _bare(two)


def _bare(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.casefold()).split()


def _unit(vector: Vector) -> "array[float]":
    values = array("f", vector)
    length = sum(value * value for value in values) ** 0.5
    return array("f", (value / length for value in values)) if length > 0 else values


class _Vectors:
    """The vectors of one group, with their numbers, side by side in one array; compared one by one, by numpy if there
    is one: a group is those who differ in nothing but the question, and 10,000 of them take 2 ms."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._flat = array("f")
        self._width = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, number: int, vector: "array[float]") -> None:
        if not self._numbers:
            self._width, self._flat = len(vector), array("f")
        if len(vector) != self._width or not self._width:
            raise InvalidError(f"embed gave a vector of {len(vector)} numbers; the others have {self._width}")
        self._numbers.append(number)
        self._flat.extend(vector)

    def remove(self, number: int) -> None:
        """The last one takes its place."""
        at, last = self._numbers.index(number), len(self._numbers) - 1
        self._numbers[at] = self._numbers[last]
        width = self._width
        self._flat[at * width : (at + 1) * width] = self._flat[last * width :]
        del self._flat[last * width :]
        self._numbers.pop()

    def nearest(self, vector: "array[float]", threshold: float, most: int = 8) -> list[tuple[int, float]]:
        """Numbers of those that are close, and how close; the closest first."""
        if len(vector) != self._width:
            return []
        found = [(self._numbers[at], cosine) for at, cosine in self._close(vector, threshold)]
        return sorted(found, key=lambda one: (-one[1], -one[0]))[:most]

    def _close(self, vector: "array[float]", threshold: float) -> list[tuple[int, float]]:
        numpy = _numpy()
        if numpy is None:
            width, flat = self._width, self._flat
            cosines = [sum(map(float.__mul__, vector, flat[at : at + width])) for at in range(0, len(flat), width)]
            return [(at, cosine) for at, cosine in enumerate(cosines) if cosine >= threshold]
        matrix = numpy.frombuffer(self._flat, dtype="f4").reshape(-1, self._width)
        cosines = matrix @ numpy.frombuffer(vector, dtype="f4")
        found = [(int(at), float(cosines[at])) for at in numpy.nonzero(cosines >= threshold)[0]]
        del matrix  # an array that is looked into cannot grow
        return found


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        return None
    return numpy
