"""One cache over memory, disk and Redis.

>>> @libperf.cached(ttl=3600, disk=True)
... def fetch(user): ...
>>> cache = libperf.TieredCache(ttl=3600)
>>> cache.get_or_set("user:123", lambda: fetch_user(123))
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decorator import cached
    from .kept import Unkept
    from .keys import Key, make_key
    from .tiered import TieredCache
    from .values import register_type

__all__ = ["Key", "TieredCache", "Unkept", "cached", "make_key", "register_type"]

_LATER = {
    "Key": "keys",
    "TieredCache": "tiered",
    "Unkept": "kept",
    "cached": "decorator",
    "make_key": "keys",
    "register_type": "values",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'libperf.cache' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"libperf.cache.{_LATER[name]}"), name)
    globals()[name] = value
    return value
