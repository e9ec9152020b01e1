"""`import libperf` is cheap and quiet: no framework, no asyncio, no thread, no file, however Python is started."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import _cffi_backend
import pytest

import libperf
from libperf import handles

ROOT = Path(__file__).parents[2]
PACKAGE = Path(libperf.__file__).parent
HEAVY = {
    "asyncio", "concurrent.futures", "dataclasses", "email", "http", "inspect", "json", "langchain_core", "langgraph",
    "multiprocessing", "numpy", "openai", "pydantic", "rich", "selectors", "socket", "ssl", "subprocess", "tempfile",
    "unittest",
}  # fmt: skip
NEW = "import sys\nbefore = set(sys.modules)\n{}\nprint(*sorted(set(sys.modules) - before), sep='\\n')"
OWN = {
    "libperf", "libperf._core", "libperf._core.lib", "libperf._handle", "libperf.context", "libperf.errors",
    "libperf.handles", "libperf.instrument", "libperf.metrics", "libperf.names", "libperf.segment", "libperf.slow", "libperf.spans",
    "libperf.task", "libperf.tracing",
}  # fmt: skip
if handles.speed:
    OWN |= {"libperf._speed", "libperf.accelerated"}

TRACED = """
import libperf

@libperf.trace(tags={"a": 1}, slow=10)
def function():
    with libperf.span("inner", b="x") as span:
        span.log("line")

@libperf.trace
def generator():
    yield 1

@libperf.trace
async def coroutine():
    raise KeyError(1)

function()
list(generator())
try:
    coroutine().send(None)
except KeyError:
    pass
libperf.instrument()
libperf.wrap(function)()
libperf.Counter("a").add()
libperf.Histogram([1.0]).quantile(0.5)
libperf.flush()
"""


def python(
    *arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """This Python, with other options than usual."""
    return subprocess.run(
        [sys.executable, *arguments],
        text=True,
        capture_output=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, "LIBPERF_DIR": "off", **(env or {})},
    )


# ---- what comes with it ----


def modules(code: str) -> set[str]:
    """What is imported by it in a fresh interpreter."""
    done = python("-c", NEW.format(code))
    assert (done.stderr, done.returncode) == ("", 0)
    return set(done.stdout.split())


def test_import_brings_little() -> None:
    """Our modules are those that a traced program needs, and all others are Python's own, and few."""
    found = modules("import libperf")
    assert {name for name in found if name.startswith("libperf")} == OWN
    others = {name.partition(".")[0] for name in found - OWN}
    assert others - sys.stdlib_module_names <= {"_cffi_backend"}
    assert len(found) < 100
    assert found & HEAVY == set()


def test_a_traced_program_imports_no_more() -> None:
    """Decorated functions, spans, errors, coroutines, instrument(), metrics: still nothing heavy."""
    found = modules(TRACED)
    assert {name for name in found if name.startswith("libperf")} == OWN
    assert found & HEAVY == set()


def test_a_snapshot_needs_no_rich() -> None:
    """Only a table that is printed does."""
    found = modules(TRACED + "libperf.snapshot()\nlibperf.report()\nlibperf.PerformanceMonitor().get_stats()")
    assert found & (HEAVY - {"dataclasses", "inspect"}) == set()


def test_later_names_are_imported_when_asked_for() -> None:
    """Reader, report() and the like come with the first use, and all of __all__ can be had."""
    code = "import libperf\nbefore = set(sys.modules)\nfor name in libperf.__all__: getattr(libperf, name)"
    assert {"libperf.executor", "libperf.monitor", "libperf.reader", "libperf.reporting"} <= modules(code)


def test_a_star_import_gives_what_is_public() -> None:
    """`from libperf import *` is __all__, and dir() knows it before it is imported."""
    done = python("-c", "from libperf import *\nprint(*[n for n in dir() if n[0] != '_'])")
    assert set(done.stdout.split()) == set(libperf.__all__)
    assert set(libperf.__all__) <= set(dir(libperf))
    assert libperf.__all__ == sorted(libperf.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """With the name in it; hasattr() works."""
    assert not hasattr(libperf, "no_such_thing")
    with pytest.raises(AttributeError, match="module 'libperf' has no attribute 'no_such_thing'"):
        libperf.no_such_thing  # noqa: B018
    assert "cannot import name 'nothing'" in python("-c", "from libperf import nothing").stderr


# ---- what it leaves alone ----


def test_import_starts_and_changes_nothing(run: Any, tmp_path: Path) -> None:
    """No thread, no open file, no file made, no hook, no handler of a signal or of logging."""
    code = """if True:
        import gc, logging, os, signal, sys, threading

        def state():
            return {
                "threads": (threading.active_count(), len(os.listdir("/proc/self/task"))),
                "files": sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")[:-1]),
                "signals": [signal.getsignal(number) for number in sorted(signal.valid_signals())],
                "hooks": [sys.excepthook, sys.unraisablehook, threading.excepthook, sys.getprofile(), sys.gettrace()],
                "finders": [*sys.meta_path, *sys.path_hooks],
                "logging": [logging.root.handlers[:], logging.getLogger("libperf").handlers[:], logging.root.level],
                "gc": [gc.isenabled(), gc.get_threshold(), *gc.callbacks],
                "environment": dict(os.environ),
                "switch": sys.getswitchinterval(),
                "path": sys.path[:],
            }

        before = state()
        import libperf
        after = state()
        print([what for what in before if before[what] != after[what]])
        """
    done = run(code)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    assert list(tmp_path.iterdir()) == []


def test_reloading_the_package_goes_on(run: Any) -> None:
    """importlib.reload(): what was recorded before is still there, and recording goes on."""
    code = """if True:
        import importlib
        import libperf

        work = libperf.trace("work")(lambda: None)
        work()
        importlib.reload(libperf)
        libperf.trace("work")(work.__wrapped__)()
        work()
        print(libperf.snapshot()["operations"][0]["calls"])
        """
    assert run(code).stdout == "3\n"


# ---- however Python is started ----


@pytest.mark.parametrize(
    "options",
    [["-I"], ["-E"], ["-O"], ["-OO"], ["-B"], ["-u"], ["-W", "error"], ["-X", "dev"], ["-bb"], ["-X", "utf8=0"]],
    ids=lambda options: " ".join(options),
)
def test_every_way_to_start_python(options: list[str]) -> None:
    """A traced program does the same, and says nothing, whatever the interpreter is told."""
    code = TRACED + "print(*sorted((row['name'], row['calls']) for row in libperf.snapshot()['operations']))"
    done = python(*options, "-c", code)
    assert (done.stderr, done.stdout, done.returncode) == (
        "",
        "('coroutine', 1) ('function', 2) ('generator', 1) ('inner', 2)\n",
        0,
    )


def test_without_site_packages() -> None:
    """-S: with the two folders that are needed, it works."""
    path = os.pathsep.join([str(PACKAGE.parent), str(Path(_cffi_backend.__file__).parent)])
    done = python("-S", "-c", TRACED + "print('ok')", env={"PYTHONPATH": path})
    assert (done.stderr, done.stdout) == ("", "ok\n")


def test_with_a_plain_locale() -> None:
    """LC_ALL=C and no UTF-8: names of any script are still recorded and printed."""
    code = (
        "import libperf\nwith libperf.span('gr\\u00fc\\u00dfe \\U0001f41d'): pass\nprint(ascii(str(libperf.report())))"
    )
    done = python("-X", "utf8=0", "-c", code, env={"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"})
    assert done.stderr == ""
    assert "gr\\xfc\\xdfe \\U0001f41d" in done.stdout


@pytest.mark.parametrize("how", ["-c", "file", "-m"])
def test_a_folder_of_that_name_is_not_the_package(tmp_path: Path, how: str) -> None:
    """Beside the C folder `libperf/`, as at the root of the repository, `import libperf` is still the package."""
    (tmp_path / "libperf/include/libperf").mkdir(parents=True)
    (tmp_path / "libperf/src").mkdir()
    code = "import libperf\nprint(libperf.__file__, libperf.__version__)"
    (tmp_path / "program.py").write_text(code)
    arguments = {"-c": ["-c", code], "file": ["program.py"], "-m": ["-m", "program"]}[how]
    done = python(*arguments, cwd=tmp_path)
    assert (done.stdout.split(), done.stderr) == ([libperf.__file__, libperf.__version__], "")


def test_the_c_folder_of_the_repository_is_no_package() -> None:
    """No __init__.py may ever be put there, and `python -m libperf` works from the root."""
    assert (ROOT / "libperf/include").is_dir()
    assert list((ROOT / "libperf").rglob("*.py")) == []
    done = python("-m", "libperf", "--version", cwd=ROOT)
    assert (done.stdout.split()[-1], done.returncode) == (libperf.__version__, 0)


def test_the_version_is_the_headers() -> None:
    """It is written in one place."""
    assert f'#define PERF_VERSION "{libperf.__version__}"' in (ROOT / "libperf/include/libperf/base.h").read_text()


def test_the_package_says_that_it_is_typed() -> None:
    """py.typed is there, and so is the stub of the C module."""
    assert (PACKAGE / "py.typed").is_file()
    assert (PACKAGE / "_core.pyi").is_file()
