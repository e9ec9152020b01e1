"""Errors: one class for each code of the C core, messages that name the value, and no use of what was closed."""

from __future__ import annotations

import builtins
import os
import pickle
import resource
from array import array
from collections.abc import Callable
from typing import Any

import pytest

import libperf
from libperf import Histogram, PerfError, Reader, errors
from libperf._core import ffi, lib
from libperf.errors import ClosedError, InvalidError, NotFoundError, SystemCallError, check
from libperf.names import Kind
from libperf.reader import Name

CODES = {name: getattr(lib, name) for name in dir(lib) if name.startswith("PERF_ERR_")}
CLASSES = [cls for cls in PerfError.__subclasses__() if cls.__module__ == errors.__name__]


def words_of(code: int) -> str:
    return bytes(ffi.string(lib.perf_strerror(code))).decode()


# ---- the table ----


def test_there_are_codes() -> None:
    """What follows is about something; success is none of them."""
    assert len(CODES) >= 11
    assert len(set(CODES.values())) == len(CODES)
    assert max(CODES.values()) < lib.PERF_OK == 0


@pytest.mark.parametrize("constant", sorted(CODES))
def test_every_code_has_its_class(constant: str) -> None:
    """check() raises it; it knows its code and constant, and its message says what was tried and what went wrong."""
    code = CODES[constant]
    (expected,) = (cls for cls in CLASSES if constant == cls.CONSTANT)
    with pytest.raises(PerfError) as raised:
        check(code, "trying value=7")
    assert type(raised.value) is expected
    assert (raised.value.code, raised.value.CONSTANT) == (code, constant)
    assert str(raised.value).startswith(f"trying value=7: {words_of(code)}")
    assert bytes(ffi.string(lib.perf_err_name(code))).decode() == constant


def test_every_class_has_a_code_and_is_listed() -> None:
    """No class without a constant of C's, none twice, and all are in errors.__all__."""
    assert sorted(cls.CONSTANT for cls in CLASSES) == sorted(CODES)
    assert sorted(errors.__all__) == sorted(["PerfError", *(cls.__name__ for cls in CLASSES)])


@pytest.mark.parametrize(
    ("constant", "base"),
    [
        ("PERF_ERR_INVALID", ValueError),
        ("PERF_ERR_NOMEM", MemoryError),
        ("PERF_ERR_RANGE", ValueError),
        ("PERF_ERR_FULL", PerfError),
        ("PERF_ERR_CLOSED", RuntimeError),
        ("PERF_ERR_NOT_FOUND", LookupError),
        ("PERF_ERR_DENIED", PermissionError),
        ("PERF_ERR_VERSION", PerfError),
        ("PERF_ERR_CORRUPT", ValueError),
        ("PERF_ERR_SYSTEM", OSError),
        ("PERF_ERR_STARTED", RuntimeError),
        ("PERF_ERR_UNSUPPORTED", NotImplementedError),
        ("PERF_ERR_TIMEOUT", TimeoutError),
        ("PERF_ERR_UNREACHABLE", ConnectionError),
    ],
)
def test_who_knows_python_can_catch_it(constant: str, base: type[Exception]) -> None:
    """Each is also the built-in exception that a Python programmer would expect."""
    with pytest.raises(base):
        check(CODES[constant], "x")


def test_every_expectation_above_is_there(request: pytest.FixtureRequest) -> None:
    """A new code cannot be forgotten in the list of built-in exceptions."""
    (mark,) = test_who_knows_python_can_catch_it.pytestmark  # type: ignore[attr-defined]
    assert sorted(constant for constant, _ in mark.args[1]) == sorted(CODES)


def test_success_raises_nothing() -> None:
    """PERF_OK is no error."""
    check(lib.PERF_OK, "x")


@pytest.mark.parametrize("code", [1, -1000, 2**31 - 1, -(2**31)])
def test_an_unknown_code_is_an_error_too(code: int) -> None:
    """A core that is newer than the binding: PerfError itself, with C's words for it."""
    with pytest.raises(PerfError) as raised:
        check(code, "trying")
    assert type(raised.value) is PerfError
    assert (raised.value.code, str(raised.value)) == (0, f"trying: {words_of(code)}")


@pytest.mark.parametrize("cls", [PerfError, *CLASSES], ids=lambda cls: cls.__name__)
def test_errors_survive_pickling(cls: type[PerfError]) -> None:
    """They come through a process pool as what they were."""
    back = pickle.loads(pickle.dumps(cls("message")))
    assert (type(back), str(back), back.code) == (cls, "message", cls("message").code)


def test_no_class_hides_a_builtin() -> None:
    """`from libperf.errors import *` is safe."""
    assert [name for name in errors.__all__ if hasattr(builtins, name)] == []


# ---- what the messages say ----


def test_a_system_call_that_failed_is_explained() -> None:
    """The reason is the system's: a path that is too long is called that."""
    with pytest.raises(SystemCallError, match="File name too long"):
        Reader("x" * 300)


def test_no_more_file_descriptors(name: str) -> None:
    """It is said for what it is, and goes by as soon as there are some again."""
    libperf.Counter(name).add()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        with pytest.raises(SystemCallError, match=r"own segment.*Too many open files"):
            Reader()
        with pytest.raises(SystemCallError, match=r"a\.perf.*Too many open files"):
            Reader("/a.perf")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    Reader().close()


@pytest.mark.parametrize("path", ["\0", "a\0b", "/dev/shm/x\0.perf"])
def test_a_path_with_a_nul_is_named(path: str) -> None:
    """C would see the part before it, and open another file."""
    for use in (lambda: Reader(path), lambda: libperf.configure(dir=path), lambda: libperf.configure(service=path)):
        with pytest.raises(InvalidError) as raised:
            use()
        assert repr(path) in str(raised.value)


def test_a_name_of_another_segment_is_named() -> None:
    """totals() and histogram() of a number that is not there: NotFoundError holds the text."""
    wrong = Name(4095 << 8, Kind.SPAN, "of another")
    with Reader() as reader:
        for ask in (reader.totals, reader.histogram):
            with pytest.raises(NotFoundError, match="of 'of another'"):
                ask(wrong)


@pytest.mark.parametrize(
    ("wrong", "error", "named"),
    [
        (lambda: libperf.nothing, AttributeError, "'nothing'"),
        (lambda: libperf.instrument("django"), Exception, "django"),
        (lambda: libperf.Reader(5), TypeError, "int"),
        (lambda: libperf.configure(max_bytes="big"), ValueError, "big"),
    ],
)
def test_a_wrong_value_is_in_the_message(wrong: Callable[[], Any], error: type[Exception], named: str) -> None:
    """Whatever kind of error it is."""
    with pytest.raises(error) as raised:
        wrong()
    assert named in str(raised.value)


# ---- what was closed ----

OTHER = Histogram([1.0])
NAME = Name(0, Kind.SPAN, "(other)")
USES: dict[str, Callable[[Any], Any]] = {
    "Histogram.copy": lambda h: h.copy(),
    "Histogram.count": lambda h: h.count,
    "Histogram.max": lambda h: h.max,
    "Histogram.merge": lambda h: h.merge(OTHER),
    "Histogram.min": lambda h: h.min,
    "Histogram.quantile": lambda h: h.quantile(0.5),
    "Histogram.quantiles": lambda h: h.quantiles([0.5]),
    "Histogram.record": lambda h: h.record(1.0),
    "Histogram.record_intended": lambda h: h.record_intended(0.0, 1.0),
    "Histogram.record_many": lambda h: h.record_many([1.0]),
    "Histogram.record_many_ns": lambda h: h.record_many_ns(array("Q", [1])),
    "Histogram.subtract": lambda h: h.subtract(OTHER),
    "Histogram.sum": lambda h: h.sum,
    "Reader.buckets": lambda r: r.buckets(NAME),
    "Reader.forget_news": lambda r: r.forget_news(),
    "Reader.histogram": lambda r: r.histogram(NAME),
    "Reader.info": lambda r: r.info,
    "Reader.lost": lambda r: r.lost,
    "Reader.open_count": lambda r: r.open_count,
    "Reader.open_spans": lambda r: r.open_spans(),
    "Reader.records": lambda r: list(r.records()),
    "Reader.refresh": lambda r: r.refresh(),
    "Reader.totals": lambda r: r.totals(NAME),
}


def test_every_use_of_a_handle_is_listed() -> None:
    """A new method cannot be forgotten above."""
    public = {f"{cls.__name__}.{name}" for cls in (Histogram, Reader) for name in dir(cls) if not name.startswith("_")}
    allowed = {f"{cls}.{name}" for cls in ("Histogram", "Reader") for name in ("close", "closed")}
    allowed |= {"Reader.path", "Reader.names"}  # Python's own, once they were read
    assert public - allowed == set(USES)


@pytest.mark.parametrize("use", sorted(USES))
def test_what_is_closed_raises(use: str) -> None:
    """ClosedError names the class and the way out, in place of touching memory that was freed."""
    handle = Histogram([1.0]) if use.startswith("Histogram") else Reader()
    USES[use](handle)
    handle.close()
    handle.close()
    assert handle.closed
    for again in (USES[use], lambda handle: handle.__enter__()):
        with pytest.raises(ClosedError, match=f"this {type(handle).__name__} is closed: make a new one"):
            again(handle)


def test_with_closes_whatever_happens() -> None:
    """Also when the block raises, and the error goes on."""
    with pytest.raises(ZeroDivisionError), Histogram() as histogram:
        1 / 0  # noqa: B018
    assert histogram.closed


def test_a_closed_argument_raises_too() -> None:
    """It is not the object that is asked, but the one that it is given."""
    closed, fine = Histogram([1.0]), Histogram([1.0])
    closed.close()
    for use in (fine.merge, fine.subtract):
        with pytest.raises(ClosedError):
            use(closed)
    with Reader() as reader, pytest.raises(ClosedError):
        reader.histogram(NAME, into=closed)
    assert fine.count == 1
