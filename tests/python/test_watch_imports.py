"""Events of imports."""

from __future__ import annotations

import importlib
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from support_events import record

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for modules of names that no other test uses."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_outermost_import(modules: Path, name: str) -> None:
    """It is said once, with all that it imports; what is there already is not."""
    outer, inner = (f"{name}_{part}".replace(".", "_") for part in ("outer", "inner"))
    (modules / f"{outer}.py").write_text(f"import {inner}")
    (modules / f"{inner}.py").write_text("")

    def program() -> None:
        for _ in range(2):
            importlib.import_module(outer)
            __import__(inner)

    events = record(program)
    assert [event.text for event in events.of("IMPORT")] == [outer]
    assert len(events.of("IMPORTED")) == 1
    assert inner in sys.modules


def test_each_thread_has_its_own(modules: Path, name: str) -> None:
    """A thread that the import of another module starts imports on its own account."""
    outer, inner = (f"{name}_{part}".replace(".", "_") for part in ("outer", "inner"))
    code = f"import threading\nt = threading.Thread(target=lambda: __import__({inner!r}))\nt.start()\nt.join()"
    (modules / f"{outer}.py").write_text(code)
    (modules / f"{inner}.py").write_text("")
    events = record(lambda: importlib.import_module(outer))
    assert [(e.text, e.kind) for e in events.of("IMPORT")] == [(outer, "main"), (inner, "thread")]


@pytest.mark.parametrize("code", [None, "import no_such_module_at_all", "1 // 0", "wrong ="])
def test_tracebacks_are_as_ever(run: Run, tmp_path: Path, code: str | None) -> None:
    """An import that fails shows none of our lines, and is over."""
    if code is not None:
        (tmp_path / "failing.py").write_text(code)
    program = "import libperf\nimport failing"
    plain, profiled = (run(program, LIBPERF_PROFILE=value).stderr for value in "01")
    assert plain == profiled != ""


def test_certificates() -> None:
    """Loading them takes as long as an import; the parts of it are not said."""
    events = record(lambda: threading.Thread(target=ssl.create_default_context).run())
    assert [e.text for e in events.of("IMPORT")] == ["ssl certificates"]
    assert len(events.of("IMPORTED")) == 1
