"""Reading entries of a disk, in C; see disk/disk.c."""

from collections.abc import Callable
from typing import Any

from .cache.keys import Key

class Reader:
    def __new__(cls, address: int, owner: Any, closed: Callable[[Key], bytes | None], /) -> Reader: ...
    def __call__(self, key: Key, /) -> bytes | None: ...
