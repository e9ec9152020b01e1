"""What can go wrong, as exceptions: one class for each error code of the C core, in one table."""

import os
from typing import ClassVar

from ._core import ffi, lib

__all__ = [
    "ClosedError",
    "CorruptError",
    "DeniedError",
    "FullError",
    "InvalidError",
    "NoMemoryError",
    "NotFoundError",
    "OutOfRangeError",
    "PerfError",
    "StartedError",
    "SystemCallError",
    "TimedOutError",
    "UnreachableError",
    "UnsupportedError",
    "VersionError",
]


class PerfError(Exception):
    """The base of all errors that libperf raises itself. `code` is the C core's number, `CONSTANT` its name."""

    CONSTANT: ClassVar[str] = ""

    @property
    def code(self) -> int:
        return int(getattr(lib, self.CONSTANT)) if self.CONSTANT else 0


class InvalidError(PerfError, ValueError):
    CONSTANT = "PERF_ERR_INVALID"


class NoMemoryError(PerfError, MemoryError):
    CONSTANT = "PERF_ERR_NOMEM"


class OutOfRangeError(PerfError, ValueError):
    CONSTANT = "PERF_ERR_RANGE"


class FullError(PerfError):
    CONSTANT = "PERF_ERR_FULL"


class ClosedError(PerfError, RuntimeError):
    CONSTANT = "PERF_ERR_CLOSED"


class NotFoundError(PerfError, LookupError):
    CONSTANT = "PERF_ERR_NOT_FOUND"


class DeniedError(PerfError, PermissionError):
    CONSTANT = "PERF_ERR_DENIED"


class VersionError(PerfError):
    CONSTANT = "PERF_ERR_VERSION"


class CorruptError(PerfError, ValueError):
    CONSTANT = "PERF_ERR_CORRUPT"


class SystemCallError(PerfError, OSError):
    CONSTANT = "PERF_ERR_SYSTEM"


class StartedError(PerfError, RuntimeError):
    CONSTANT = "PERF_ERR_STARTED"


class UnsupportedError(PerfError, NotImplementedError):
    CONSTANT = "PERF_ERR_UNSUPPORTED"


class TimedOutError(PerfError, TimeoutError):
    CONSTANT = "PERF_ERR_TIMEOUT"


class UnreachableError(PerfError, ConnectionError):
    CONSTANT = "PERF_ERR_UNREACHABLE"


_CLASSES: dict[int, type[PerfError]] = {getattr(lib, cls.CONSTANT): cls for cls in PerfError.__subclasses__()}


def check(code: int, what: str) -> None:
    """Raise what `code` stands for; `what` says what was tried and with which value."""
    if code:
        errno = ffi.errno
        words = ffi.string(lib.perf_strerror(code)).decode()
        if code == lib.PERF_ERR_SYSTEM and errno:
            words += f" ({os.strerror(errno)})"
        raise _CLASSES.get(code, PerfError)(f"{what}: {words}")


def text_to_bytes(text: str | os.PathLike[str]) -> bytes:
    """A path or another text for the C core, to which the first NUL would be the end."""
    raw = os.fsencode(text)
    if b"\0" in raw:
        raise InvalidError(f"{os.fspath(text)!r} holds a NUL character")
    return raw
