"""Runs a Python program the way `python SCRIPT` or `python -m MODULE` does, with libperf's instruments switched on.
`libperf run` starts this file in a process of its own, so that it can report whatever becomes of the program."""

import io
import os
import pkgutil
import runpy
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, TracebackType


def main() -> None:
    """argv: -m MODULE args… or SCRIPT args…"""
    arguments = sys.argv[1:]
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder of this file
    import libperf

    libperf.instrument()
    if os.environ.get("LIBPERF_PROFILE") is None:  # else it is on already, or not wanted
        from libperf.profiler import profile_program

        profile_program()
    # Ours ends here: threads and exit functions of the program find its own __main__, also after its last line.
    module = sys.modules["__main__"] = ModuleType("__main__")
    module.__dict__["__builtins__"] = sys.modules["builtins"]
    try:
        if arguments[0] == "-m":
            sys.argv[:] = arguments[1:]
            _put_on_path(str(Path.cwd()))
            runpy._run_module_as_main(arguments[1])  # type: ignore[attr-defined]  # what `python -m` calls
        elif pkgutil.get_importer(arguments[0]) is not None:  # a folder or zip file with a __main__.py
            sys.argv[:] = arguments
            sys.path.insert(0, _absolute(arguments[0]))
            runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]
        else:
            sys.argv[:] = arguments
            _put_on_path(str(Path(arguments[0]).resolve().parent))
            _run_script(_absolute(arguments[0]), module)
    except BaseException:
        _leave_us_out_of_the_traceback()
        raise


def _put_on_path(folder: str) -> None:
    if not sys.flags.safe_path:
        sys.path.insert(0, folder)


def _absolute(path: str) -> str:
    """As Python does it for __file__: `./a` stays as it is."""
    return path if path.startswith("/") else f"{Path.cwd()}/{path}"


def _run_script(path: str, module: ModuleType) -> None:
    module.__file__ = path
    module.__loader__ = SourceFileLoader("__main__", path)
    module.__dict__["__cached__"] = None
    with io.open_code(path) as file:
        code = pkgutil.read_code(file)  # of a .pyc, else None
    if code is None:
        with io.open_code(path) as file:
            code = compile(file.read(), path, "exec", dont_inherit=True)
    exec(code, module.__dict__)


def _leave_us_out_of_the_traceback() -> None:
    shown_by = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        while trace and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        shown_by(kind, error.with_traceback(trace), trace)

    sys.excepthook = show


if __name__ == "__main__":
    main()
