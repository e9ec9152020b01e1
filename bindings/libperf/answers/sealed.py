"""Values that a cache hands out to callers who may change them: kept as bytes, and made anew for each.

What has no form as bytes is kept as a deep copy, in memory only (`Live` is no type that shared tiers know), and copied
for each caller; what cannot be copied either is not kept.
"""

import copy
from typing import Any

from .._codec import Unencodable, decode, encode
from ..cache.types import extend, revive

__all__ = ["Live", "Unsealable", "seal", "unseal"]


class Unsealable(TypeError):
    """Neither bytes nor a copy could be made of it."""


class Live:
    """A value that stays in this process."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def seal(value: Any) -> bytes | Live:
    """What to give to the cache. Errors: Unsealable."""
    try:
        return encode(value, extend)
    except Unencodable as error:
        try:
            return Live(copy.deepcopy(value))
        except Exception:
            raise Unsealable(str(error)) from error


def unseal(sealed: Any) -> Any:
    """The value, a new one each time. Raises what decoding or copying raises: treat that as a miss."""
    return decode(sealed, revive) if isinstance(sealed, bytes) else copy.deepcopy(sealed.value)
