"""Counting allocations for profilers: `libperf.memory`, when this build has it."""

from importlib import import_module
from typing import Any

from .errors import UnsupportedError

__all__ = ["start_counting", "stop_counting"]


def _memory() -> Any:
    try:
        return import_module("libperf.memory")
    except ImportError as error:
        raise UnsupportedError(
            f"allocations cannot be counted here ({error}): leave out enable_memory=True, or install a build of libperf "
            "that has libperf.memory"
        ) from error


def start_counting() -> bool:
    """Count allocations, if nobody does yet. Returns whether it is the caller's to stop."""
    from .errors import StartedError

    try:
        _memory().start_counting()
    except StartedError:
        return False
    return True


def stop_counting() -> None:
    _memory().stop_counting()
