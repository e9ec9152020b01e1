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
from libperf.testing import MockLLM  # noqa: E402
from support_http import Client  # noqa: E402
from support_seen import Seen  # noqa: E402
from support_spans import Spans  # noqa: E402

# Of thousands of tests in one process none may find the segment full: that would count as a loss.
libperf.configure(max_bytes=1 << 30)

_numbers = itertools.count()


def pytest_unconfigure() -> None:
    shutil.rmtree(_FOLDER, ignore_errors=True)


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
