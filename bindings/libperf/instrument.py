"""`libperf.instrument()`: switches on tracing for the frameworks that are installed, without importing one.

A framework that is imported already is switched on at once. For the others a finder waits at the front of
`sys.meta_path` and switches them on right after their import.
"""

import importlib
import importlib.util
import logging
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["instrument", "uninstrument"]

logger = logging.getLogger("libperf")

# framework -> (the module whose import makes it usable, our adapter with switch_on() and switch_off())
FRAMEWORKS = {
    "langchain": ("langchain_core.tracers.context", "libperf.langchain"),
    "langgraph": ("langchain_core.tracers.context", "libperf.langchain"),  # it runs on langchain_core's callbacks
}


class _Finder:
    """Switches adapters on when what they adapt has been imported."""

    def __init__(self) -> None:
        self.waiting: dict[str, str] = {}  # module -> adapter

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.waiting:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec: ModuleSpec | None = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                self._watch(spec.loader, name)
                return spec
        return None

    def _watch(self, loader: Any, name: str) -> None:
        run = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            adapter = self.waiting.pop(name, None) if module.__name__ == name else None
            if adapter:
                try:
                    _switch_on(adapter)
                except Exception:  # a version we do not know: not the program's problem
                    logger.warning("%s cannot be traced", name, exc_info=True)

        loader.exec_module = exec_module  # this import's own loader: nobody else sees it, except in a zip file


_finder = _Finder()
_asked_for: set[str] = set()  # adapters that were being imported when their framework became usable


def _switch_on(adapter: str) -> None:
    if _is_importing(adapter):  # its own import of the framework brought us here
        _asked_for.add(adapter)
    else:
        importlib.import_module(adapter).switch_on()


def switch_on_if_asked(adapter: str) -> None:
    """What an adapter's last line calls."""
    if adapter in _asked_for:
        _asked_for.remove(adapter)
        sys.modules[adapter].switch_on()


def _is_importing(module: str) -> bool:
    return bool(getattr(getattr(sys.modules.get(module), "__spec__", None), "_initializing", False))


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    except (ImportError, ValueError):
        return False


def instrument(*frameworks: str) -> list[str]:
    """Trace graphs, nodes, models and tools of the named frameworks, or of every one that is installed.

    >>> libperf.instrument()
    ['langchain', 'langgraph']

    Call it anywhere: before or after the frameworks' imports, any number of times. Returns what is (or will be, when
    it gets imported) traced. ValueError names the frameworks there are. `uninstrument()` takes it back.
    """
    unknown = [name for name in frameworks if name not in FRAMEWORKS]
    if unknown:
        raise ValueError(f"instrument({unknown[0]!r}): not a framework libperf knows; use: {', '.join(FRAMEWORKS)}")
    found = [
        name for name in frameworks or FRAMEWORKS if _is_installed(name if name != "langchain" else "langchain_core")
    ]
    for module, adapter in {FRAMEWORKS[name] for name in found}:
        if module in sys.modules and not _is_importing(module):
            _switch_on(adapter)
        else:
            _finder.waiting[module] = adapter
    if _finder.waiting and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    return found


def uninstrument() -> None:
    """Take `instrument()` back: runs that start from now on are not traced, and cost nothing."""
    _finder.waiting.clear()
    _asked_for.clear()
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    for _module, adapter in set(FRAMEWORKS.values()):
        if adapter in sys.modules:
            sys.modules[adapter].switch_off()
