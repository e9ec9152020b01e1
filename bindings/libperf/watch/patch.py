"""Replacing attributes of other people's modules and classes, and putting them back."""

import functools
import logging
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("libperf")

_MISSING = object()


def parameters(function: Any) -> str | None:
    """Names of a Python function's parameters, "self, timeout"; None: it is not one."""
    code = getattr(function, "__code__", None)
    return ", ".join(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]) if code else None


class Patches:
    """What was replaced. `undo()` puts it back, the last one first."""

    def __init__(self) -> None:
        self._done: list[tuple[Any, str, Any, Any]] = []
        self._warned: set[str] = set()

    def set(self, owner: Any, name: str, value: Any) -> None:
        old = _lying_in(owner, name)
        setattr(owner, name, value)
        self._done.append((owner, name, value, old))

    def wrap(self, owner: Any, name: str, expected: str | None, make: Callable[[Any], Any]) -> None:
        """Replace a function by what `make` makes of it, if its parameters are those `make` knows; None: any."""
        original = getattr(owner, name, None)
        if original and expected in (None, parameters(original)):
            self.set(owner, name, functools.wraps(original)(make(original)))
        else:
            self.skip(f"{owner.__name__}.{name}({parameters(original)})")

    def skip(self, what: str) -> None:
        """Warn, once, that something is not as we know it."""
        if what not in self._warned:
            self._warned.add(what)
            logger.warning("%s is not as libperf knows it, and is not recorded", what)

    def undo(self) -> None:
        while self._done:
            owner, name, ours, old = self._done.pop()
            if _lying_in(owner, name) is not ours:
                continue  # somebody else replaced ours, and may put it back; it does nothing when nothing is recorded
            if old is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, old)


def _lying_in(owner: Any, name: str) -> Any:
    """An attribute as it is stored: not bound, not inherited."""
    stored = getattr(owner, "__dict__", None)
    return getattr(owner, name, _MISSING) if stored is None else stored.get(name, _MISSING)
