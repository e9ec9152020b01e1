"""Lexical guards of the semantic cache: two texts whose vectors are close may still ask opposite things.

`differs(a, b)` names the first thing in which they differ that changes an answer, or returns None. Each guard only
ever vetoes, so a guard that is too strict costs a hit, and one that is missing costs a wrong answer. English only where
words are listed; numbers, quotes, code and order are of any language that separates words.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator

__all__ = ["differs"]

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
_NUMBER = re.compile(r"[-+−]?\d+(?:[.,:/]\d+)*(?:\s?%|[^\W\d_]+)?")
_QUOTED = re.compile(r"\"([^\"]*)\"|“([^”]*)”|«([^»]*)»|(?<!\w)'([^']*)'(?!\w)|(?<!\w)‘([^’]*)’|`+([^`]*)`+")
_CODE = re.compile(r"\S*(?:\w[_.:/\\@#=]+\w|\w\(|[{}\[\]<>|$^~*=\\#]|[a-z][A-Z]|[^\W\d_]\d|\d[^\W\d_]*\d)\S*")
_NAME = re.compile(r"\b[^\W\d_a-zà-ÿ][\w'’-]*")
_SENTENCE = re.compile(r"(?:^|[.!?:\n]\s*|[-*]\s+|[\"“'‘(]\s*)$")

_NUMERALS = """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion trillion
    dozen half third quarter twice thrice once double triple single both first second fourth fifth sixth seventh eighth
    ninth tenth last next previous
"""
_NEGATIONS = """
    no not but never none nobody nothing neither nor nowhere cannot without except unless hardly barely rarely seldom
    lack lacks lacking avoid avoids exclude excludes excluding instead stop stops prevent prevents fail fails failed
    isn't aren't wasn't weren't don't doesn't didn't won't wouldn't can't couldn't shouldn't mustn't hasn't haven't
    hadn't ain't needn't
"""
_ASKED = "who whom whose what which when where why how whether"
_OPPOSITES = """
    enable/disable activate/deactivate on/off allow/deny allow/block/forbid/prohibit permit/forbid accept/reject/decline
    approve/reject add/remove/delete/subtract create/delete/destroy/drop insert/delete install/uninstall attach/detach
    connect/disconnect mount/unmount lock/unlock open/close opened/closed opening/closing start/stop begin/end
    start/finish started/stopped first/last before/after earlier/later early/late old/new oldest/newest older/newer
    past/future yesterday/today/tomorrow ascending/descending increase/decrease increasing/decreasing raise/lower
    rise/fall grow/shrink more/less/fewer most/least max/min maximum/minimum maximize/minimize upper/lower
    above/below over/under higher/lower highest/lowest high/low larger/smaller largest/smallest large/small big/small
    longer/shorter longest/shortest long/short faster/slower fastest/slowest fast/slow best/worst better/worse good/bad pro/con
    pros/cons advantage/disadvantage advantages/disadvantages benefit/drawback benefits/drawbacks/risks with/without
    include/exclude including/excluding to/from into/from import/export upload/download send/receive push/pull buy/sell
    buying/selling lend/borrow give/take win/lose winner/loser pass/fail success/failure valid/invalid true/false
    yes/no legal/illegal safe/unsafe/dangerous public/private internal/external input/output read/write load/save
    encode/decode encrypt/decrypt compress/decompress serialize/deserialize sign/verify login/logout show/hide
    visible/hidden expand/collapse left/right up/down top/bottom front/back inside/outside north/south east/west
    hot/cold warm/cool summer/winter day/night morning/evening am/pm male/female men/women man/woman boy/girl
    father/mother brother/sister son/daughter husband/wife adult/child adults/children human/animal positive/negative
    plus/minus multiply/divide odd/even sync/async synchronous/asynchronous horizontal/vertical row/column rows/columns
    local/remote online/offline client/server parent/child source/target sender/receiver employer/employee
    lossy/lossless always/never/sometimes all/any/none/some everyone/nobody many/few often/rarely required/optional
    same/different similar/different like/dislike love/hate cause/effect causes/effects/symptoms/treatment
    and/or only/also primary/secondary simple/complex easy/hard cheap/expensive rich/poor strong/weak
    celsius/fahrenheit/kelvin kilometers/miles kilograms/pounds hours/minutes/seconds/days/weeks/months/years
    daily/weekly/monthly/yearly/annually hourly/daily
"""
_PREFIXES = ("un", "in", "im", "il", "ir", "dis", "de", "non", "mis", "anti", "re", "pre", "post", "sub", "super")
_FUNCTION_WORDS = """
    a an the of in at by for is are was were be been do does did can could would should will shall may might please
    tell me give show i you we it this that these those there here and so just my your our s t
"""


def _opposites() -> dict[str, frozenset[str]]:
    """Each word with those that it must not be exchanged for."""
    table: dict[str, set[str]] = {}
    for group in _OPPOSITES.split():
        words = group.split("/")
        for word in words:
            table.setdefault(word, set()).update(other for other in words if other != word)
    return {word: frozenset(others) for word, others in table.items()}


_OPPOSITE = _opposites()
_IS_NUMERAL, _IS_NEGATION, _IS_ASKED, _IS_FUNCTION = (
    frozenset(words.split()) for words in (_NUMERALS, _NEGATIONS, _ASKED, _FUNCTION_WORDS)
)


class _Text:
    """A text, taken apart once."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words = [word.lower().replace("’", "'").removesuffix("'s") for word in _WORD.findall(text)]
        self.bag = Counter(self.words)

    def numbers(self) -> list[str]:
        found = [re.sub(r"\s+", "", number).lower() for number in _NUMBER.findall(self.text)]
        return found + [word for word in self.words if word in _IS_NUMERAL]

    def negations(self) -> Counter[str]:
        return Counter("not" if word.endswith("n't") else word for word in self.words if word in _IS_NEGATION)

    def quoted(self) -> list[str]:
        return ["".join(groups) for groups in _QUOTED.findall(self.text)]

    def code(self) -> list[str]:
        return [token.strip(".,;:!?\"'()") for token in _CODE.findall(self.text)]

    def names(self) -> Counter[str]:
        """Capitalised words that do not merely begin a sentence, and words in capitals."""
        return Counter(self._names())

    def _names(self) -> Iterator[str]:
        for match in _NAME.finditer(self.text):
            word = match.group()
            begins = _SENTENCE.search(self.text[: match.start()]) is not None
            if word != "I" and not word.startswith(("I'", "I’")) and (not begins or sum(map(str.isupper, word)) > 1):
                yield word.lower()

    def asked(self) -> Counter[str]:
        return Counter(word for word in self.words if word in _IS_ASKED)

    def content(self) -> list[str]:
        return [word for word in self.words if word not in _IS_FUNCTION and word not in _IS_ASKED]


def differs(a: str, b: str) -> str | None:
    """The first guard that says that `a` and `b` ask for different answers; None: no guard does."""
    if a == b:
        return None
    one, two = _Text(a), _Text(b)
    for name, guard in _GUARDS.items():
        if guard(one, two):
            return name
    return None


def _opposed(a: _Text, b: _Text) -> bool:
    """A word of one where the other has its opposite, or the same word with another prefix."""
    left, right = set(a.bag - b.bag), set(b.bag - a.bag)
    if any(_OPPOSITE.get(word, frozenset()) & right for word in left):
        return True
    return any(_prefixed(long, short) for long in left for short in right) or any(
        _prefixed(long, short) for long in right for short in left
    )


def _prefixed(long: str, short: str) -> bool:
    return len(short) > 2 and any(long == prefix + short for prefix in _PREFIXES)


def _name_left_out(a: _Text, b: _Text) -> bool:
    """A name of one that is no word of the other: how it is written there does not matter."""
    return any(not set(_WORD.findall(name)) <= set(b.bag) for name in a.names()) or any(
        not set(_WORD.findall(name)) <= set(a.bag) for name in b.names()
    )


def _turned(a: _Text, b: _Text) -> bool:
    """What both say once stands in another order: who does what to whom."""
    both = {word for word in a.content() if a.bag[word] == 1 and b.bag[word] == 1}
    return [word for word in a.words if word in both] != [word for word in b.words if word in both]


def _one_exchanged(a: _Text, b: _Text) -> bool:
    """All but one word of substance are the same: "can dogs eat it", "can cats eat it". A synonym would be right, and
    looks the same from here."""
    left, right = Counter(a.content()), Counter(b.content())
    return (left - right).total() == (right - left).total() == 1


_GUARDS: dict[str, Callable[[_Text, _Text], bool]] = {
    "numbers": lambda a, b: a.numbers() != b.numbers(),
    "negation": lambda a, b: a.negations() != b.negations(),
    "opposites": _opposed,
    "quotes": lambda a, b: a.quoted() != b.quoted(),
    "code": lambda a, b: a.code() != b.code(),
    "names": _name_left_out,
    "question": lambda a, b: a.asked() != b.asked(),
    "order": _turned,
    "word": _one_exchanged,
}
