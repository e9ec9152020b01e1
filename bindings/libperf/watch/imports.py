"""Imports that take time, and what is to be patched when a module has been imported."""

import importlib
import logging
import sys
from typing import Any

from .._core import lib
from .._scheduler import emit, enter_import, leave_import
from ..names import TEXT, intern
from .patch import Patches

IMPORT: int = lib.PERF_EVENT_IMPORT
IMPORTED: int = lib.PERF_EVENT_IMPORTED

logger = logging.getLogger("libperf")

_waiting: dict[str, tuple[str, Patches]] = {}  # module -> what to call after its import


def after(module: str, part: str, patches: Patches) -> None:
    """Call `part` of this package ("file.function") when a module is there: now, or right after its import."""
    if module in sys.modules:
        importlib.import_module(module)  # another thread may be in the middle of it
        _install(part, patches)
    else:
        _waiting[module] = part, patches


def forget() -> None:
    _waiting.clear()


def _install(part: str, patches: Patches) -> None:
    file, _, function = part.partition(".")
    try:
        getattr(importlib.import_module(f"{__package__}.{file}"), function)(patches)
    except Exception:  # a version we do not know: not the program's problem
        logger.warning("%s is not recorded", function.removeprefix("watch_"), exc_info=True)


# ---- imports, and what takes as long and happens as seldom; the outermost is said ----


def _begin(name: str) -> bool:
    outermost = enter_import()
    if outermost:
        emit(IMPORT, 0, 0, intern(TEXT, name))
    return outermost


def _end(outermost: bool) -> None:
    leave_import()
    if outermost:
        emit(IMPORTED)


def watch_imports(patches: Patches) -> None:
    """What comes here is looked for, but for what importlib.import_module() is asked for again."""
    from importlib import _bootstrap

    def make(original: Any) -> Any:
        def _find_and_load(name: str, import_: Any) -> Any:
            if name in sys.modules:
                return original(name, import_)
            outermost = _begin(name)
            try:
                module = original(name, import_)
                if name in _waiting:
                    _install(*_waiting.pop(name))
                return module
            finally:
                _end(outermost)

        # Python takes importlib's own lines out of tracebacks, by their file
        _find_and_load.__code__ = _find_and_load.__code__.replace(co_filename=original.__code__.co_filename)
        return _find_and_load

    patches.wrap(_bootstrap, "_find_and_load", "name, import_", make)


def watch_certificates(patches: Patches) -> None:
    import ssl

    def make(original: Any) -> Any:
        def load(*args: Any, **kwargs: Any) -> Any:
            outermost = _begin("ssl certificates")
            try:
                return original(*args, **kwargs)
            finally:
                _end(outermost)

        return load

    patches.wrap(ssl, "create_default_context", None, make)
    patches.wrap(ssl.SSLContext, "load_verify_locations", None, make)
