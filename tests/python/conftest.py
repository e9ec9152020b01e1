"""What the tests share: a folder of their own for segments, a look at what was recorded, and fresh interpreters."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_FOLDER = tempfile.mkdtemp(prefix="libperf-tests-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
os.environ["LIBPERF_DIR"] = _FOLDER  # before anything is recorded: this process's segment and its children's
os.environ["LIBPERF_CACHE_DIR"] = f"{_FOLDER}/cache"  # never what the user has cached
os.environ.pop("LIBPERF_QUIET", None)

import libperf  # noqa: E402
from libperf.reader import Reader, Record, Totals  # noqa: E402
from libperf.testing import MockLLM  # noqa: E402
from support_http import Client  # noqa: E402
from support_spans import Spans  # noqa: E402

libperf.configure(
    max_bytes=1 << 30
)  # of thousands of tests in one process none may find it full: that counts as a loss

_numbers = itertools.count()


def pytest_unconfigure() -> None:
    shutil.rmtree(_FOLDER, ignore_errors=True)


class Seen:
    """What this process recorded since the test began."""

    def __init__(self) -> None:
        self._reader = Reader()
        for _ in self._reader.records():
            pass
        self._records: list[Record] = []

    def _refresh(self) -> None:
        self._reader.refresh()
        self._records += self._reader.records()

    def spans(self, name: str) -> list[Record]:
        """Finished spans of that name, in the order of their starts."""
        self._refresh()
        found = (record for record in self._records if record.type == "span" and record.name == name)
        return sorted(found, key=lambda record: record.start)

    def span(self, name: str) -> Record:
        """The only one of that name."""
        found = self.spans(name)
        assert len(found) == 1, (name, len(found))
        return found[0]

    def logs(self, name: str) -> list[Record]:
        """Log lines of spans of that name."""
        self._refresh()
        return [record for record in self._records if record.type == "log" and record.name == name]

    def open(self, name: str) -> list[Record]:
        self._refresh()
        return [record for record in self._reader.open_spans() if record.name == name]

    def totals(self, text: str, kind: libperf.Kind = libperf.Kind.SPAN) -> Totals:
        self._refresh()
        names = [name for name in self._reader.names if name.text == text and name.kind is kind]
        if not names:
            return Totals(0, 0, 0, 0.0, 0.0, 0.0, 0, None, {})
        return self._reader.totals(names[0])

    def counts(self, text: str, kind: libperf.Kind = libperf.Kind.SPAN) -> tuple[int, int, int]:
        """Calls, errors among them, and cancelled ones."""
        totals = self.totals(text, kind)
        return totals.count, totals.errors, totals.cancelled

    def losses(self) -> dict[str, int]:
        self._refresh()
        return self._reader.info.losses

    def close(self) -> None:
        self._reader.close()


@pytest.fixture
def seen() -> Iterator[Seen]:
    found = Seen()
    yield found
    found.close()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for spans or metrics that no other test has."""
    return f"{request.function.__name__}.{next(_numbers)}"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program in a fresh interpreter, whose segments lie in this test's folder."""

    def run(code: str, *args: object, **env: str) -> subprocess.CompletedProcess[str]:
        folder = {"LIBPERF_DIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, args)],
            env={**os.environ, **folder, **env},
            text=True,
            capture_output=True,
            timeout=60,
            cwd=tmp_path,
        )

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a program that says "ready" on its standard output and then goes on living until it is told otherwise."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *args: object, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, args)],
            env={**os.environ, "LIBPERF_DIR": str(tmp_path), **env},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=tmp_path,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def segments(tmp_path: Path) -> Callable[[], list[Path]]:
    """The segments in this test's folder."""
    return lambda: sorted(tmp_path.glob("libperf-*/*.perf"))


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Instruments are on; afterwards nothing is open, current, or remembered."""
    import libperf.langchain

    libperf.instrument()
    found = Spans()
    try:
        yield found
        assert found.open() == []
        assert dict(libperf.langchain.handler()._runs) == {}
        assert not libperf.current_span()
    finally:
        libperf.uninstrument()


@pytest.fixture
def llm() -> Iterator[MockLLM]:
    with MockLLM(reply_tokens=12) as server:
        yield server


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    """Closes the connections a test leaves open."""
    yield
    while Client.opened:
        Client.opened.pop().close()


@pytest.fixture(autouse=True)
def _current_span_is_left_as_it_was() -> Iterator[None]:
    """No test may leave a span behind: its successors would become its children."""
    before: Any = libperf.current_span().id
    yield
    assert libperf.current_span().id == before
