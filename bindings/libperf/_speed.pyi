"""The accelerator of tracing; what each part does is said where it is written in Python: tracing.py, spans.py, context.py."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from .spans import Span

class Handle:
    trace_hi: int
    trace_lo: int
    id: int
    parent: int
    name: int
    task: int
    slot: int
    process: int
    start_ticks: int
    def __new__(cls, struct: bytes, /) -> Handle: ...
    def copy(self) -> Handle: ...
    def become(self, other: Handle, /) -> None: ...

class Traced:
    function: Callable[..., Any]
    begin: Callable[[int, Handle], Handle]
    def __new__(
        cls,
        kind: int,
        function: Callable[..., Any],
        number: int,
        begin: Callable[[int, Handle], Handle],
        tags: dict[str, object] | None,
        after: Callable[[Handle, int], object] | None,
        slow_ns: float,
        /,
    ) -> Traced: ...
    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Any: ...

class Running:
    def send(self, value: Any, /) -> Any: ...
    def throw(self, error: BaseException, /) -> Any: ...
    def close(self) -> None: ...
    def take(self, error: BaseException, /) -> bool: ...
    def sent(self, value: Any, /) -> None: ...
    def raised(self, error: BaseException, /) -> None: ...

class Hooks:
    switch_current: Callable[[Handle], object] | None

NO_SPAN: Handle
END: object
hooks: Hooks

def begin(name: int, parent: Handle, /) -> Handle: ...
def begin_at(name: int, parent: Handle, task: int, start_ticks: int, /) -> Handle: ...
def begin_in_task(name: int, parent: Handle, /) -> Handle: ...
def end(handle: Handle, /) -> int: ...
def end_as(handle: Handle, status: int, paused_ns: int, /) -> int: ...
def set_int(handle: Handle, key: int, value: int, /) -> bool: ...
def set_name(handle: Handle, key: int, text: int, /) -> bool: ...
def set_attribute(handle: Handle, name: str, value: object, /) -> bool: ...
def remember(
    *,
    variable: ContextVar[Any] = ...,
    end_with_error: Callable[[Any, BaseException, int], int] = ...,
    parse_parent: Callable[[Any], Any] = ...,
    number_of_span: Callable[[Any, str], int] = ...,
    span_numbers: dict[str, int] = ...,
    key_number: Callable[[str], int] = ...,
    to_bytes: Callable[[object], bytes] = ...,
    first_step: Callable[[Any], Any] = ...,
) -> None: ...
def block_type(base: type[Span], doc: str, /) -> Any: ...
def set_fast_call(function: Any, /) -> bool: ...
