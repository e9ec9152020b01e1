"""Cached functions: whose code it is belongs to their namespace, so that other code never finds their values."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.cache.naming import name_of, namespace_of

PROGRAM = """
import sys, libperf

@libperf.cached(disk=sys.argv[1])
def load(x):
    return {result}

print(load(1))
load.cache.close()
"""


def made(source: str, name: str = "f") -> Callable[..., Any]:
    space: dict[str, Any] = {"__name__": "somewhere"}
    exec(source, space)
    function: Callable[..., Any] = space[name]
    return function


def run(path: Path, folder: Path) -> str:
    return subprocess.run(
        [sys.executable, path, folder], check=True, stdout=subprocess.PIPE, text=True, timeout=60
    ).stdout.strip()


def test_other_code_does_not_find_it(tmp_path: Path) -> None:
    """A program is changed and run again on the same folder: its function is called again, not answered by the old one."""
    program, folder = tmp_path / "program.py", tmp_path / "cache"
    program.write_text(PROGRAM.format(result='"old"'))
    assert run(program, folder) == "old"
    program.write_text(PROGRAM.format(result='"new"'))
    assert run(program, folder) == "new"


def test_two_programs_do_not_meet(tmp_path: Path) -> None:
    """Both are `__main__`, with the same function over other globals: each has its own values."""
    folder = tmp_path / "cache"
    for name in ("one", "two"):
        program = tmp_path / f"{name}.py"
        program.write_text(f"NAME = {name!r}\n{PROGRAM.format(result='NAME')}")
    assert [run(tmp_path / f"{name}.py", folder) for name in ("one", "two", "one")] == ["one", "two", "one"]


@pytest.mark.parametrize(
    "source",
    [
        "def f(a): return a + 2",
        "def f(a): return a - 1",
        "def f(a): return g(a) + 1",
        "def f(a): return [a + 1 for a in [a]][0]",
        "def f(a): return a in {1, 2}",
        "def f(a): return a in {1, 3}",
        "def f(a): return (1.0, 1j, ..., b'x')",
    ],
)
def test_code_counts(source: str) -> None:
    """What it computes with: operators, constants, names of what it calls, the code inside it."""
    assert namespace_of(made(source)) != namespace_of(made("def f(a): return a + 1"))
    assert namespace_of(made(source)) == namespace_of(made(source))


def test_layout_does_not_count() -> None:
    """Comments, blank lines, names of variables."""
    one = made("def f(a):\n    b = a\n    return b + 1")
    two = made("\n\n# moved\ndef f(x):\n    # why\n    y = x\n    return y + 1")
    assert namespace_of(one) == namespace_of(two)


def test_sets_are_the_same_in_every_process() -> None:
    """The order of a set of texts differs from process to process; its digest does not."""
    program = (
        "from libperf.cache.naming import namespace_of\n"
        "def f(a): return a in {'x', 'y', 'z', 'u', 'v'}\n"
        "f.__module__ = 'm'\n"
        "print(namespace_of(f))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, check=True, stdout=subprocess.PIPE
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_the_function_behind_counts() -> None:
    """Of partials and wrapped functions; builtins have a name only."""
    one, two = made("def f(a): return a + 1"), made("def f(a): return a + 2")
    assert namespace_of(functools.partial(one)) == namespace_of(one) != namespace_of(functools.partial(two))

    def wrapped(function: Any) -> Any:
        return functools.wraps(function)(lambda *args: function(*args))

    assert namespace_of(wrapped(one)) != namespace_of(wrapped(two))
    assert namespace_of(len) == name_of(len) == "builtins.len"


def test_a_name_is_the_namespace() -> None:
    """Who gives one says himself when the values are others."""
    one = libperf.cached(name="load-2")(made("def f(a): return a + 1"))
    assert (one.cache.name, one.cache._flow.namespace) == ("load-2", "load-2")  # type: ignore[attr-defined]
    bare = libperf.cached(made("def f(a): return a + 1"))
    assert bare.cache.name == "somewhere.f"  # type: ignore[attr-defined]
