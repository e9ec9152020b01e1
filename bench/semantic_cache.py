"""How often SemanticCache would be wrong: pairs made to deceive vectors, pairs that mean the same, and recorded calls.

    python bench/semantic_cache.py                                   letters hashed in threes; needs nothing
    python bench/semantic_cache.py --embedder module:function        function(texts) -> vectors
    python bench/semantic_cache.py --calls calls.jsonl               {"path", "request", "response"} a line, as JSON text

Deterministic but for the embedder. The figures in docs/semantic-cache.md come from here.
"""

from __future__ import annotations

import argparse
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from libperf.answers.guards import differs
from libperf.answers.rules import refused_answer, request_key
from libperf.answers.semantic import SemanticCache, same_text
from libperf.answers.trial import wilson

Embed = Callable[[list[str]], Any]
THRESHOLDS = (0.80, 0.85, 0.90, 0.92, 0.95, 0.98)

# ---- pairs ----

# Sentences with one place, and what may stand there: any two of them ask for different answers.
SLOTS = {
    "opposite": [
        ("How do I {} two-factor authentication?", "enable disable"),
        ("How do I {} a file in the shared folder?", "create delete"),
        ("Which plan has the {} monthly price?", "highest lowest"),
        ("What should I eat {} a marathon?", "before after"),
        ("Explain how to {} the production database.", "start stop"),
        ("Is it {} to run this command as root?", "safe unsafe"),
        ("Should I {} shares of a company that is growing?", "buy sell"),
        ("How can I {} my screen brightness?", "increase decrease"),
        ("List the {} of remote work.", "advantages disadvantages"),
        ("How do I {} an image in the browser?", "upload download"),
        ("Write a function that {} a message with AES.", "encrypts decrypts"),
        ("Sort the table in {} order.", "ascending descending"),
    ],
    "number": [
        ("Convert {} miles to kilometers.", "10 12 100"),
        ("What is {} percent of 640?", "15 50 5"),
        ("Who was the president in {}?", "1962 1974 2006"),
        ("Summarise chapter {} of the report.", "3 13 30"),
        ("Give me {} ideas for a birthday present.", "five ten"),
        ("Is Python 3.{} still supported?", "8 11 13"),
        ("My dose is {} mg twice a day, is that right?", "50 500 5"),
    ],
    "entity": [
        ("What is the capital of {}?", "Australia Austria"),
        ("What is the weather in {} today?", "Paris London Boston"),
        ("When was {} born?", "Einstein Newton Curie"),
        ("How do I install {} on Debian?", "PostgreSQL MySQL"),
        ("Is {} a good language for embedded systems?", "Rust Go"),
        ("can {} eat chocolate?", "dogs cats humans"),
        ("how long do i boil {}?", "eggs potatoes rice"),
        ("who won the {} world cup?", "mens womens"),
        ("translate good morning into {}", "spanish french german"),
        ("what are the side effects of {}?", "aspirin ibuprofen"),
    ],
    "code": [
        ("What does `git reset --{}` do?", "hard soft"),
        ("Explain the difference it makes to use list.{} here.", "append extend"),
        ("What is stored in /etc/{}?", "passwd shadow"),
        ("How do I use os.path.{}?", "join split"),
        ("Why does max_{} matter?", "tokens retries"),
    ],
    "question": [
        ("{} did the project fail?", "Why When"),
        ("{} is responsible for the outage?", "Who What"),
        ("{} should I renew my passport?", "How When Where"),
    ],
}
# Who does what to whom; and a word that turns a sentence round.
TURNED = [
    ("Flights from paris to rome", "Flights from rome to paris"),
    ("Does the dog chase the cat?", "Does the cat chase the dog?"),
    ("Translate this from english to german", "Translate this from german to english"),
    ("Is python faster than ruby?", "Is ruby faster than python?"),
    ("Convert celsius to fahrenheit", "Convert fahrenheit to celsius"),
    ("Why do managers distrust engineers?", "Why do engineers distrust managers?"),
    ("Migrate from mysql to postgres", "Migrate from postgres to mysql"),
    ("Can the buyer sue the seller?", "Can the seller sue the buyer?"),
    ("How do I merge main into my branch?", "How do I merge my branch into main?"),
    ("Does stress cause insomnia?", "Does insomnia cause stress?"),
    ("Subtract tax from income", "Subtract income from tax"),
    ("Did the teacher praise the student?", "Did the student praise the teacher?"),
]
NEGATED = [
    ("Can I take ibuprofen with alcohol?", "Can I not take ibuprofen with alcohol?"),
    ("Delete the logs of last week", "Do not delete the logs of last week"),
    ("Find hotels with a swimming pool", "Find hotels without a swimming pool"),
    ("List countries that have signed the treaty", "List countries that have not signed the treaty"),
    ("Which users have admin rights?", "Which users have no admin rights?"),
    ("Recipes that contain nuts", "Recipes that contain no nuts"),
    ("Why is the sky blue?", "Why isn't the sky blue?"),
    ("The tests passed, what next?", "The tests never passed, what next?"),
    ("Who was at the meeting?", "Who wasn't at the meeting?"),
    ("Include deleted rows in the export", "Include all but deleted rows in the export"),
    ("Is the account active?", "Is the account inactive?"),
    ("Show everything except errors", "Show everything including errors"),
    ("I agree with the terms, what now?", "I disagree with the terms, what now?"),
]
# Close in words, apart in meaning, by nothing that a list of words knows.
SUBTLE = [
    ("How do I turn on 2FA?", "How do I turn 2FA off for everyone?"),
    ("What is the fastest route by car?", "What is the fastest route on foot?"),
    ("My laptop does not turn on, what can I do?", "My laptop does not turn off, what can I do?"),
    ("How do I cook a steak rare?", "How do I cook a steak well done?"),
    ("Is it legal to record a call I take part in?", "Is it legal to record a call of other people?"),
    ("What should I do when my card is stolen?", "What should I do when my card is found again?"),
    ("How do I speed up a slow query?", "How do I find a slow query?"),
    ("Is the museum open on public holidays?", "Is the museum free on public holidays?"),
    ("Which insurance do I need for a rented car?", "Which insurance do I need to rent out a car?"),
    ("How much does it cost to send a letter abroad?", "How long does it take to send a letter abroad?"),
]
SAME = [
    ("How do I reset my password?", "How can I reset my password?"),
    ("What's the capital of France?", "what is the capital of france"),
    ("How to sort a list in python", "How do I sort a list in Python?"),
    ("How do I enable 2FA?", "How do I turn on 2FA?"),
    ("Tell me about tides", "Please tell me about tides."),
    ("How do I enable two-factor authentication?", "What is the way to switch on two-factor authentication?"),
    ("What is the tallest mountain in the world?", "Which mountain is the tallest in the world?"),
    ("Can you explain recursion?", "Explain recursion"),
    ("How do I cancel my subscription?", "I want to cancel my subscription, how do I do that?"),
    ("Where can I find my invoices?", "Where are my invoices?"),
    ("Give me a summary of this text", "Summarise this text"),
    ("How long does shipping take?", "What is the shipping time?"),
    ("Do you deliver on Sundays?", "Is delivery possible on Sundays?"),
    ("What are your opening hours?", "When are you open?"),
    ("How do I delete my account?", "How can I remove my account?"),
    ("Is there a discount for students?", "Do students get a discount?"),
    ("Why is my internet so slow?", "What makes my internet so slow?"),
    ("How do I change my email address?", "I'd like to change my email address"),
    ("What does HTTP 404 mean?", "Meaning of HTTP 404?"),
    ("Write a haiku about autumn", "Please write me a haiku about autumn."),
    ("How many people live in Tokyo?", "What is the population of Tokyo?"),
    ("Which payment methods do you accept?", "How can I pay?"),
    ("What is the best way to learn Spanish?", "How do I learn Spanish best?"),
    ("Could you help me write a cover letter?", "Help me write a cover letter"),
]


def different() -> Iterator[tuple[str, str, str]]:
    """(kind, one, other) of pairs that must not have one answer."""
    for kind, templates in SLOTS.items():
        for template, words in templates:
            filled = [template.format(word) for word in words.split()]
            yield from ((kind, one, other) for at, one in enumerate(filled) for other in filled[at + 1 :])
    for kind, pairs in (("order", TURNED), ("negation", NEGATED), ("subtle", SUBTLE)):
        yield from ((kind, one, other) for one, other in pairs)


def letters(texts: list[str]) -> list[list[float]]:
    """Three letters at a time, hashed into 512 numbers."""
    vectors = []
    for text in texts:
        vector = [0.0] * 512
        padded = f"  {text.lower()} "
        for at in range(len(padded) - 2):
            hashed = zlib.crc32(padded[at : at + 3].encode("utf-8", "surrogatepass"))
            vector[hashed % 512] += 1 if hashed & 512 else -1
        vectors.append(vector)
    return vectors


def cosines(embed: Embed, pairs: list[tuple[str, str]]) -> list[float]:
    found = []
    for one, other in pairs:
        a, b = ([float(x) for x in vector] for vector in embed([one, other]))
        lengths = (sum(x * x for x in a) * sum(x * x for x in b)) ** 0.5
        found.append(sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0)
    return found


def measure_pairs(embed: Embed) -> None:
    wrong, right = list(different()), [("same", *pair) for pair in SAME]
    near = {pair: cosine for pair, cosine in zip(wrong, cosines(embed, [pair[1:] for pair in wrong]), strict=True)}
    near_right = cosines(embed, [pair[1:] for pair in right])
    passes = {pair: differs(*pair[1:]) is None for pair in wrong}
    print(f"{len(wrong)} pairs that mean different things, {len(right)} that mean the same\n")
    print("kind      pairs  mean cosine  guards let through")
    for kind in dict.fromkeys(pair[0] for pair in wrong):
        of = [pair for pair in wrong if pair[0] == kind]
        mean = sum(near[pair] for pair in of) / len(of)
        print(f"{kind:9} {len(of):5} {mean:12.3f} {sum(passes[pair] for pair in of):10}")
    same_passes = [differs(*pair[1:]) is None for pair in right]
    print(f"{'same':9} {len(right):5} {sum(near_right) / len(right):12.3f} {sum(same_passes):10}\n")
    print("threshold  wrong hits by vectors alone  with guards  right hits by vectors alone  with guards")
    for threshold in THRESHOLDS:
        alone = sum(cosine >= threshold for cosine in near.values())
        guarded = sum(cosine >= threshold and passes[pair] for pair, cosine in near.items())
        right_alone = sum(cosine >= threshold for cosine in near_right)
        right_guarded = sum(c >= threshold and passed for c, passed in zip(near_right, same_passes, strict=True))
        print(
            f"{threshold:9} {alone:10} ({alone / len(wrong):5.1%}) {guarded:17} ({guarded / len(wrong):5.1%})"
            f" {right_alone:12} ({right_alone / len(right):5.1%}) {right_guarded:17} ({right_guarded / len(right):5.1%})"
        )


def measure_calls(embed: Embed, path: Path, thresholds: tuple[float, ...] = (0.80, 0.92)) -> None:
    """Recorded calls in their order, in shadow mode: what would have been served, beside what was answered."""
    calls = [json.loads(line) for line in path.read_text().splitlines()]
    again, differ = _repeats(calls)
    print(f"the very same request again: {again} times, {differ} with another text: {differ / max(again, 1):.1%}")
    for threshold in thresholds:
        for name, guards in (("none", lambda one, other: None), ("ours", differs)):
            cache = SemanticCache(
                embed, threshold=threshold, guards=guards, agree=same_text, nondeterministic=True, pure_tools=True
            )
            asked: Counter[str] = Counter()
            for call in calls:
                try:
                    request, response = json.loads(call["request"]), json.loads(call["response"])
                except ValueError:
                    continue  # a stream
                asked[call["provider"]] += 1
                cache.get_or_call(request, lambda response=response: response, scope=call["path"])
            stats = cache.get_stats()
            low, high = wilson(int(stats["false_hits"]), int(stats["decisions"]))
            print(
                f"threshold {threshold}, guards {name}: {asked.total()} calls, {stats['decisions']} would-be hits in "
                f"other words, {stats['false_hits']} with another answer: {stats['false_hit_rate']:.1%} "
                f"(95 %: {low:.1%} to {high:.1%}); serves: {'yes' if stats['serving'] else 'no'}"
            )


def _repeats(calls: list[dict[str, str]]) -> tuple[int, int]:
    """How often a request came again, and how often its answer then had another text: what sampling alone does."""
    last: dict[str, Any] = {}
    again = differ = 0
    for call in calls:
        try:
            request, response = json.loads(call["request"]), json.loads(call["response"])
        except ValueError:
            continue
        if refused_answer(response, pure_tools=True) is None:
            key = request_key(request, base_url="", path=call["path"])
            again += key in last
            differ += key in last and not same_text(response, last[key])
            last[key] = response
    return again, differ


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", help="module:function; without it, letters hashed in threes")
    parser.add_argument("--calls", type=Path, help="recorded calls, one as JSON a line")
    options = parser.parse_args()
    embed: Embed = letters
    if options.embedder:
        module, _, function = options.embedder.partition(":")
        embed = getattr(import_module(module), function)
    print(f"embedder: {options.embedder or 'letters'}")
    measure_pairs(embed)
    if options.calls:
        print()
        measure_calls(embed, options.calls)


if __name__ == "__main__":
    main()
