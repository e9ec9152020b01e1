r"""JSON that every reader takes, and lists too long for memory.

Perfetto's own parser (v52) refuses files that are right: with an escaped pair of surrogates, which is how ASCII has to write
an emoji, and with a text that ends in an escaped backslash. So this is UTF-8, and such a backslash is \u005c. No control
character is left as it is, DEL neither.
"""

import json
import math
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any, TextIO

__all__ = ["dumps", "write_list"]

PIECE = 4096  # elements joined at a time

LAST_BACKSLASH = re.compile(r'(?<!\\)((?:\\\\)*)\\\\"')  # an even number of them, and the quote that ends the text

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def dumps(value: Any) -> str:
    """Plain data as JSON. A lone surrogate becomes "?", infinity and NaN their names."""
    try:
        text = _encode(value)
    except ValueError:
        text = _encode(_without_nan(value))
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    if "\x7f" in text:
        text = text.replace("\x7f", r"\u007f")
    return LAST_BACKSLASH.sub(r'\1\\u005c"', text) if "\\" in text else text


def write_list(out: TextIO, elements: Iterable[str], separator: str = ",") -> None:
    """Elements with separators between, and never all of them at once."""
    rest = iter(elements)
    first = True
    while piece := list(islice(rest, PIECE)):
        out.write(("" if first else separator) + separator.join(piece))
        first = False


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    return value
