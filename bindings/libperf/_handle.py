"""Owning a C object: freed once, and a clear error when it is used after close()."""

from types import TracebackType
from typing import Any, Self

from ._core import ffi
from .errors import ClosedError


class Handle:
    """Base of classes that own a C object. `with` closes it; so does the garbage collector."""

    __slots__ = ("__weakref__", "_pointer")

    def __init__(self, pointer: Any, destroy: Any) -> None:
        self._pointer = ffi.gc(pointer, destroy)

    def _get(self) -> Any:
        # cffi would pass a released pointer on to C: every use comes through here
        if self._pointer is None:
            raise ClosedError(f"this {type(self).__name__} is closed: make a new one")
        return self._pointer

    @property
    def closed(self) -> bool:
        return self._pointer is None

    def close(self) -> None:
        """Free it. Closing twice is allowed."""
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            ffi.release(pointer)

    def __enter__(self) -> Self:
        self._get()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
