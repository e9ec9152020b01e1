"""Spans by hand: `with libperf.span("step", tokens=12) as s:`."""

from types import TracebackType
from typing import Any

from . import handles
from ._core import ffi, lib
from .context import NO_SPAN, get_current, put_back, set_current
from .errors import check
from .handles import struct_of
from .names import SPAN, TEXT, Kind, intern, key, known_numbers
from .task import begin_in_task

__all__ = ["Span", "current_span", "span"]

OK: int = lib.PERF_STATUS_OK
ERROR: int = lib.PERF_STATUS_ERROR
CANCELLED: int = lib.PERF_STATUS_CANCELLED
ERROR_TYPE = "error.type"  # OpenTelemetry's key: the class of the exception, never its message

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_LEVELS = {"debug": 1, "info": 2, "warning": 3, "error": 4, "critical": 5}


def set_attribute(handle: Any, name: str, value: object) -> bool:
    """Attach one value; False when it was cut or there was no room. None is left out."""
    if value is None:
        return True
    if isinstance(value, int) and _INT64_MIN <= value <= _INT64_MAX:
        return bool(lib.perf_span_set_int(handle, key(name), int(value)))
    if isinstance(value, float):
        return bool(lib.perf_span_set_float(handle, key(name), value))
    text = to_bytes(value)
    return bool(lib.perf_span_set_text(handle, key(name), text, len(text)))


if handles.speed is not None:
    set_attribute = handles.speed.set_attribute


def to_bytes(value: object) -> bytes:
    """What is kept of str(value), and one character more, to be counted as cut. Never fails."""
    try:
        text = str(value)
    except Exception:  # the user's own __str__, or an int of more than 4,300 digits
        text = f"<{type(value).__qualname__}>"
    return text[: lib.PERF_TEXT_MAX_BYTES + 1].encode("utf-8", "replace")


def end_with_error(handle: Any, error: BaseException, paused_ns: int = 0) -> int:
    """End a span whose work raised: what kind of end that is, and which class it was."""
    kind = type(error)
    # asyncio's and concurrent.futures' both; importing either for a comparison would cost more than the span
    if kind.__name__ == "CancelledError" or isinstance(error, GeneratorExit):
        return int(handles.end_as(handle, CANCELLED, paused_ns))
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    handles.set_name(handle, key(ERROR_TYPE), intern(TEXT, name))
    return int(handles.end_as(handle, ERROR, paused_ns))


class Span:
    """A view of one span. It stays valid, and can be a parent, after the span has ended."""

    __slots__ = ("_handle",)

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def set(self, **attributes: object) -> bool:
        """Attach values: bool, int, float and str as they are, others by str(). At most 8 to a span; a text is cut at
        200 bytes. False when something was cut or found no room (counted in `libperf.snapshot()`)."""
        return all([set_attribute(self._handle, name, value) for name, value in attributes.items()])

    def log(self, message: str, level: str | int = "info") -> bool:
        """Write a log line that belongs to the span; a level's name, or a number as in `logging` divided by 10."""
        number = _LEVELS.get(level.lower()) if isinstance(level, str) else level
        if not isinstance(number, int) or not 0 <= number <= 255:
            raise ValueError(f"level={level!r} is none of: {', '.join(_LEVELS)}, 0 to 255")
        text = to_bytes(message)
        return bool(lib.perf_span_log(struct_of(self._handle), number, text, len(text)))

    @property
    def id(self) -> str:
        """W3C span id: 16 hex digits; zeros when nothing is recorded."""
        return f"{self._handle.id:016x}"

    @property
    def trace_id(self) -> str:
        """W3C trace id: 32 hex digits."""
        return f"{self._handle.trace_hi:016x}{self._handle.trace_lo:016x}"

    @property
    def traceparent(self) -> str:
        """The W3C header for an outgoing call; empty when there is no span."""
        out = ffi.new("char[56]")
        length = lib.perf_span_to_traceparent(struct_of(self._handle), out, 56)
        return bytes(ffi.buffer(out, length)).decode()

    def __bool__(self) -> bool:
        return bool(self._handle.id)

    def __repr__(self) -> str:
        return f"<libperf.Span {self.trace_id}/{self.id}>" if self else "<libperf.Span none>"


def current_span() -> Span:
    """The span that is current here; one that is false, and ignores everything, when there is none."""
    return Span(get_current())


def parse_parent(parent: "Span | str | None") -> Any:
    """A handle from a span or a traceparent header; None: the current span."""
    if parent is None:
        return get_current()
    if isinstance(parent, Span):
        return parent._handle
    if not isinstance(parent, str):
        raise TypeError(f"parent={parent!r} is neither a Span nor a traceparent header (str)")
    out = ffi.new("perf_span *")
    raw = parent.encode("ascii", "replace")
    check(lib.perf_span_from_traceparent(raw, len(raw), out), f"traceparent {parent!r}")
    return handles.from_struct(out[0])


def number_of(kind: str | Kind, name: str) -> int:
    return intern(SPAN if kind == "span" else Kind.parse(kind), name)


class span(Span):
    """Time a block, sync or async.

    >>> with libperf.span("load", path="a.txt") as s:
    ...     s.set(bytes=120)

    name:   what the report calls it; a name, not a value that changes (that is what attributes are for)
    kind:   "span", "llm", "tool", "node", "graph", "retriever", "embedding" or "request"
    parent: another Span, or a W3C traceparent header; default: the current span
    An exception is recorded by its class and goes on. Used once; `duration` is in seconds after the end.
    """

    __slots__ = ("_attributes", "_name", "_outer", "_parent", "duration")

    def __init__(
        self, name: str, /, *, kind: str | Kind = "span", parent: Span | str | None = None, **attributes: object
    ) -> None:
        self._handle = NO_SPAN
        self._name = number_of(kind, name)
        self._parent = parent
        self._attributes = attributes
        self._outer: Any = None
        self.duration = 0.0

    def __enter__(self) -> "span":
        if self._outer is not None:
            raise RuntimeError("a span is used once: call libperf.span() anew for each block")
        self._outer = get_current()
        parent = self._outer if self._parent is None else parse_parent(self._parent)
        self._handle = begin_in_task(self._name, parent)
        set_current(self._handle)
        if self._attributes:
            self.set(**self._attributes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        put_back(self._handle, self._outer)
        ns = handles.end(self._handle) if error is None else end_with_error(self._handle, error)
        self.duration = ns / 1e9

    async def __aenter__(self) -> "span":
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)


def _in_c(written: Any) -> Any:
    """The same class, but for the time it takes."""
    speed = handles.speed
    assert speed is not None
    speed.remember(
        end_with_error=end_with_error,
        parse_parent=parse_parent,
        number_of_span=number_of,
        span_numbers=known_numbers(SPAN),
        key_number=key,
        to_bytes=to_bytes,
    )
    made = speed.block_type(Span, f"span(name, /, *, kind='span', parent=None, **attributes)\n--\n\n{written.__doc__}")
    made.__aenter__, made.__aexit__ = written.__aenter__, written.__aexit__
    return made


if handles.speed is not None:
    span = _in_c(span)  # type: ignore[misc]
