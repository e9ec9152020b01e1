"""Words and tokens: how MockLLM counts, cuts and invents text.

One rule serves everywhere: a token is four characters (code points) of text, and the last token may be shorter. So
``count_tokens(text)`` is the length divided by four, rounded up, and a streamed answer carries exactly one token per
event. Real tokenizers differ per model by a third or so; a fixed rule makes the numbers known in advance.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

CHARACTERS_PER_TOKEN = 4

_WORD = re.compile(r"[^\W\d_][\w'-]*")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*\w)")

# Words that carry no subject; a reply made of them would say nothing about the question.
_GLUE_TEXT = """
    a about above after again all also am an and any are as at be because been before being below between both but
    by can could did do does doing down during each few for from further had has have having he her here hers him his
    how i if in into is it its itself just me more most my no nor not now of off on once only or other our out over own
    please same she should so some such than that the their them then there these they this those through to too under
    until up us very was we were what when where which while who whom why will with would you your yours
"""
_GLUE = frozenset(_GLUE_TEXT.split())

_SPARE_WORDS = ("harbour", "signal", "lantern", "garden", "ledger", "compass", "orchard", "meadow", "engine", "canvas")

_SENTENCES = (
    "The {a} depends on the {b}.",
    "First look at {a}, then at {b}.",
    "Both {a} and {b} matter here.",
    "In short, {a} comes before {b}.",
    "There is a link between {a} and {b}.",
    "Without {a} the {b} would be different.",
    "Most of it is {a}; the rest is {b}.",
    "Compare {a} with {b} to see why.",
    "That leaves {a}, which follows from {b}.",
    "For {a} the answer is {b}.",
)


def count_tokens(text: str) -> int:
    """Tokens of `text` by the four-characters rule; 0 for an empty text."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def token_pieces(text: str) -> list[str]:
    """`text` cut into its tokens: joined again they are `text`, and there are ``count_tokens(text)`` of them."""
    return [text[at : at + CHARACTERS_PER_TOKEN] for at in range(0, len(text), CHARACTERS_PER_TOKEN)]


def cut_to_tokens(text: str, tokens: int) -> str:
    """The first `tokens` tokens of `text`."""
    return text[: tokens * CHARACTERS_PER_TOKEN]


def subject_words(text: str, limit: int = 200) -> list[str]:
    """The words of `text` that name something (no glue words, three letters or more), each once, in order."""
    found: dict[str, None] = {}
    for match in _WORD.finditer(text):
        word = match.group().rstrip("'-")
        if len(word) >= 3 and word.lower() not in _GLUE:
            found[word] = None
            if len(found) >= limit:
                break
    return list(found)


def numbers_in(text: str, limit: int = 50) -> list[float]:
    """The numbers written in `text`, each once, in order."""
    found: dict[float, None] = {}
    for match in _NUMBER.finditer(text):
        found[float(match.group())] = None
        if len(found) >= limit:
            break
    return list(found)


def compose(rng: random.Random, words: Sequence[str], tokens: int) -> str:
    """Sentences about `words`, exactly `tokens` tokens long (empty for 0 tokens).

    The same generator state and the same words give the same text.
    """
    if tokens <= 0:
        return ""
    subjects = list(words) if len(words) >= 2 else [*words, *_SPARE_WORDS]
    wanted = tokens * CHARACTERS_PER_TOKEN
    sentences: list[str] = []
    length = 0
    while length < wanted:
        first, second = rng.sample(subjects, 2)
        sentence = _SENTENCES[int(rng.random() * len(_SENTENCES))].format(a=first, b=second)
        sentences.append(sentence[0].upper() + sentence[1:])
        length += len(sentence) + 1
    text = " ".join(sentences)[:wanted].rstrip()
    # A cut in the middle of a word would look broken: close the sentence where the length allows.
    if text and text[-1] not in ".!?" and tokens > 1:
        text = text[:-1].rstrip(" .,;") + "."
    shortest = wanted - CHARACTERS_PER_TOKEN + 1
    return text if len(text) >= shortest else text[:-1].ljust(shortest - 1, ".") + "."
