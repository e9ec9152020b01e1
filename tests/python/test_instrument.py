"""`libperf.instrument()` in interpreters of its own: before and after imports, twice, not at all, and taken back."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import libperf

CHAIN = """
from langchain_core.runnables import RunnableLambda
RunnableLambda(lambda value: value).with_config(run_name="chain").invoke(1)
"""
GRAPH = """
from langgraph.graph import START, StateGraph
StateGraph(dict).add_node("node", lambda state: {}).add_edge(START, "node").compile(name="graph").invoke({})
"""
SPANS = """
import libperf
for row in libperf.report().rows: print(row.kind.name.lower(), row.name, row.calls)
"""


def run(code: str, *flags: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    command = [sys.executable, *flags, "-c", code]
    answer = subprocess.run(command, env={**os.environ, **environment}, text=True, capture_output=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""
    return answer.stdout


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (f"import libperf\nlibperf.instrument()\n{CHAIN}", "graph chain 1\n"),
        (f"import langchain_core.runnables, libperf\nlibperf.instrument()\n{CHAIN}", "graph chain 1\n"),
        (f"import langchain_core, libperf\nlibperf.instrument()\n{CHAIN}", "graph chain 1\n"),
        (f"{CHAIN}import libperf\nlibperf.instrument()\n{CHAIN}", "graph chain 1\n"),
        (f"import libperf\nlibperf.instrument()\n{GRAPH}", "graph graph 1\nnode node 1\n"),
        (f"import langgraph.graph, libperf\nlibperf.instrument('langgraph')\n{GRAPH}", "graph graph 1\nnode node 1\n"),
        (f"import libperf\nlibperf.instrument('langchain')\n{GRAPH}", "graph graph 1\nnode node 1\n"),
        (
            f"import libperf\nfor _ in range(3): libperf.instrument()\n{CHAIN}libperf.instrument()\n{CHAIN}",
            "graph chain 2\n",
        ),
        (f"import libperf\nlibperf.instrument(); libperf.uninstrument()\n{CHAIN}", ""),
        (f"import libperf\nlibperf.uninstrument()\n{CHAIN}libperf.uninstrument()\n{CHAIN}", ""),
        (f"import libperf\nlibperf.instrument()\n{CHAIN}libperf.uninstrument()\n{CHAIN}", "graph chain 1\n"),
        (
            f"import libperf\nlibperf.instrument();libperf.uninstrument();libperf.instrument()\n{CHAIN}",
            "graph chain 1\n",
        ),
    ],
)
def test_any_order(code: str, expected: str) -> None:
    """Each run is traced exactly once while instruments are on, whatever was imported first, however often asked."""
    assert run(code + SPANS) == expected


def test_it_imports_nothing() -> None:
    """instrument() imports no framework, nor our adapter; the first import of the framework brings it."""
    code = """
import sys, libperf
print(libperf.instrument())
print([name for name in sys.modules if name.startswith(("lang", "pydantic", "openai", "libperf.langchain"))])
import langchain_core.tracers.context
print("libperf.langchain" in sys.modules)
"""
    assert run(code) == "['langchain', 'langgraph']\n[]\nTrue\n"


def test_what_it_returns() -> None:
    """The named frameworks, in the order asked for; all without a name."""
    try:
        assert libperf.instrument() == ["langchain", "langgraph"]
        assert libperf.instrument("langgraph") == ["langgraph"]
        assert libperf.instrument("langgraph", "langchain") == ["langgraph", "langchain"]
    finally:
        libperf.uninstrument()


@pytest.mark.parametrize("name", ["crewai", "", "LangChain"])
def test_unknown_names(name: str) -> None:
    """A framework that libperf does not know is a ValueError that names those there are."""
    with pytest.raises(ValueError, match="use: langchain, langgraph"):
        libperf.instrument("langchain", name)


def test_the_import_hook() -> None:
    """While a framework is waited for there is one finder of ours; uninstrument() takes it away."""
    code = """
import sys, libperf
def ours(): return sum(type(finder).__module__.startswith("libperf") for finder in sys.meta_path)
print(ours()); libperf.instrument(); libperf.instrument(); print(ours()); libperf.uninstrument(); print(ours())
"""
    assert run(code) == "0\n1\n0\n"


def test_other_imports_are_left_alone(tmp_path: Path) -> None:
    """Other modules keep their loader as it is; the framework's own module keeps its loader's class, spec and file."""
    (tmp_path / "other.py").write_text("")
    code = """
import sys, libperf
from importlib.machinery import SourceFileLoader
libperf.instrument()
import other, langchain_core.tracers.context as context
print(type(other.__loader__) is SourceFileLoader, vars(other.__loader__).keys() == {"name", "path"})
print(type(context.__loader__) is SourceFileLoader, context.__spec__.loader is context.__loader__)
print(context.__spec__.origin == context.__file__, "exec_module" in vars(SourceFileLoader.__mro__[0]))
import importlib
importlib.reload(context), importlib.reload(other)
"""
    assert run(code, PYTHONPATH=str(tmp_path)).splitlines() == ["True True", "True True", "True False"]


def test_a_framework_that_fails_to_import(tmp_path: Path) -> None:
    """An import of the framework that fails raises what it always did, and the next one may succeed."""
    module = tmp_path / "langchain_core" / "tracers" / "context.py"
    module.parent.mkdir(parents=True)
    for folder in (module.parent, module.parent.parent):
        (folder / "__init__.py").write_text("")
    module.write_text("raise RuntimeError('broken as ever')")
    code = """
import sys, libperf
print(libperf.instrument("langchain"))
try: import langchain_core.tracers.context
except RuntimeError as error: print(error, error.__traceback__.tb_next is not None)
print("langchain_core.tracers.context" in sys.modules)
try: import langchain_core.tracers.nosuch
except ModuleNotFoundError as error: print(error)
"""
    assert run(code, PYTHONPATH=str(tmp_path)).splitlines() == [
        "['langchain']",
        "broken as ever True",
        "False",
        "No module named 'langchain_core.tracers.nosuch'",
    ]


def test_a_framework_that_we_cannot_trace(tmp_path: Path) -> None:
    """A framework of a version that our adapter does not fit is imported all the same, with a warning in the log."""
    module = tmp_path / "langchain_core" / "tracers" / "context.py"
    module.parent.mkdir(parents=True)
    for folder in (module.parent, module.parent.parent):
        (folder / "__init__.py").write_text("")
    module.write_text("version = 0")
    code = """
import logging, libperf
told = []
logging.getLogger("libperf").addFilter(lambda record: told.append(record.getMessage()))
libperf.instrument("langchain")
import langchain_core.tracers.context as context
print(context.version, told)
"""
    assert run(code, PYTHONPATH=str(tmp_path)) == "0 ['langchain_core.tracers.context cannot be traced']\n"


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A PYTHONPATH that holds libperf and cffi's own module, nothing else."""
    import _cffi_backend

    assert str(_cffi_backend.__file__).endswith(tuple(EXTENSION_SUFFIXES))
    for path in (Path(libperf.__file__).parent, Path(str(_cffi_backend.__file__))):
        (tmp_path / path.name).symlink_to(path)
    return str(tmp_path)


def test_without_any_framework(bare: str) -> None:
    """Where none is installed instrument() returns an empty list, names given or not, and everything else works."""
    code = """
import sys
sys.path = [path for path in sys.path if "site-packages" not in path]
import libperf
print(libperf.instrument(), libperf.instrument("langgraph"), len(sys.meta_path))
try: import langchain_core.tracers.context
except ModuleNotFoundError as error: print(error)
libperf.uninstrument()
with libperf.span("works"): pass
print([row.name for row in libperf.report().rows])
"""
    assert run(code, "-S", PYTHONPATH=bare).splitlines() == [
        "[] [] 3",
        "No module named 'langchain_core'",
        "['works']",
    ]


def test_off_it_costs_nothing() -> None:
    """Before instrument() and after uninstrument() no manager of LangChain's has a handler of ours."""
    code = """
import libperf
from langchain_core.callbacks.manager import AsyncCallbackManager, CallbackManager
def handlers(): return [len(manager.configure().handlers) for manager in (CallbackManager, AsyncCallbackManager)]
print(handlers()); libperf.instrument(); print(handlers()); libperf.uninstrument(); print(handlers())
"""
    assert run(code) == "[0, 0]\n[1, 1]\n[0, 0]\n"


def test_the_adapter_is_imported_by_hand() -> None:
    """instrument() before `import libperf.langchain`, whose own import of LangChain is the first: it is switched on."""
    code = """
import libperf
libperf.instrument()
import libperf.langchain
from langchain_core.callbacks.manager import CallbackManager
print(CallbackManager.configure().handlers == [libperf.langchain.handler()])
"""
    assert run(code) == "True\n"
