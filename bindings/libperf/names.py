"""Interned names: text goes to the C core once, numbers go into records."""

from enum import IntEnum

from ._core import ffi, lib

__all__ = ["Kind", "intern"]


class Kind(IntEnum):
    """What a name stands for; the first eight are operations that take time."""

    SPAN = lib.PERF_KIND_SPAN
    GRAPH = lib.PERF_KIND_GRAPH
    NODE = lib.PERF_KIND_NODE
    LLM = lib.PERF_KIND_LLM
    TOOL = lib.PERF_KIND_TOOL
    RETRIEVER = lib.PERF_KIND_RETRIEVER
    EMBEDDING = lib.PERF_KIND_EMBEDDING
    REQUEST = lib.PERF_KIND_REQUEST
    COUNTER = lib.PERF_KIND_COUNTER
    GAUGE = lib.PERF_KIND_GAUGE
    TIMING = lib.PERF_KIND_TIMING
    KEY = lib.PERF_KIND_KEY
    QUANTITY = lib.PERF_KIND_QUANTITY
    TEXT = lib.PERF_KIND_TEXT

    @property
    def is_operation(self) -> bool:
        return self <= Kind.REQUEST

    @classmethod
    def parse(cls, text: "str | Kind") -> "Kind":
        """ "llm" or Kind.LLM; ValueError names the operations there are."""
        kind = text if isinstance(text, Kind) else cls.__members__.get(str(text).upper())
        if kind is None or not kind.is_operation:
            known = ", ".join(kind.name.lower() for kind in cls if kind.is_operation)
            raise ValueError(f"kind={text!r} is not a kind of operation; use one of: {known}")
        return kind


SPAN, KEY, QUANTITY, TEXT = (int(kind) for kind in (Kind.SPAN, Kind.KEY, Kind.QUANTITY, Kind.TEXT))  # for hot paths

# Keys whose int values are added up under the name of their span, so that a report needs no record to know them.
# The names are OpenTelemetry's for generative AI.
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
QUANTITIES = {INPUT_TOKENS, OUTPUT_TOKENS, "tokens", "bytes"}

# What a span has while allocations are counted (memory.py); the core adds to them itself.
ALLOCATED_BYTES, ALLOCATED_BLOCKS = "alloc.bytes", "alloc.blocks"

# One table a kind: a tuple, or an enum's hash, would cost more than the rest of the look-up.
_known: tuple[dict[str, int], ...] = tuple({} for _ in range(lib.PERF_KIND_COUNT))
_KNOWN_MAX: int = lib.PERF_NAMES_MAX  # the core's table is bounded, so are these


def intern(kind: int, text: str) -> int:
    """The number of a name; a full table gives that kind's "(other)". TypeError for what is no text. Threads: safe."""
    known = _known[kind]
    number = known.get(text)
    if number is None:
        if not isinstance(text, str):
            raise TypeError(f"a name is a str, not {text!r}")
        raw = text.encode("utf-8", "replace")
        number = int(lib.perf_name(kind, raw, len(raw)))
        if len(known) < _KNOWN_MAX:
            known[text] = number
    return number


def known_numbers(kind: int) -> dict[str, int]:
    """What is known of that kind already: a table to look into, not to change."""
    return _known[kind]


def key(text: str) -> int:
    """The number of an attribute's key."""
    return intern(QUANTITY if text in QUANTITIES else KEY, text)


def text_of(number: int) -> str:
    return str(ffi.string(lib.perf_name_text(number)).decode("utf-8", "replace"))
