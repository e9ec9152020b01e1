"""Sizes as people write them: 64_000_000, "64MB", "1GiB"."""

import re

from ..errors import InvalidError

__all__ = ["parse_bytes"]

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*")


def parse_bytes(size: int | str, what: str) -> int:
    """A number of bytes, at least 1. MB is a million bytes, MiB is 2**20."""
    if isinstance(size, str):
        match = _SIZE.fullmatch(size)
        unit = _UNITS.get(match[2].upper()) if match else None
        if match and unit:
            count = int(float(match[1]) * unit)
            if count >= 1:
                return count
    elif isinstance(size, int) and not isinstance(size, bool) and size >= 1:
        return size
    raise InvalidError(f'{what}={size!r} is no size: give bytes (64_000_000) or a text like "64MB" or "1GiB"')
