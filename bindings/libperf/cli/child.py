"""Runs a Python program the way `python SCRIPT` or `python -m MODULE` does, with libperf's instruments switched on.
`libperf run` starts this in a process of its own, so that it can report whatever becomes of the program."""

import runpy
import sys
from pathlib import Path


def main() -> None:
    """argv: -m MODULE args… or SCRIPT args…"""
    arguments = sys.argv[1:]
    import libperf

    libperf.instrument()
    if arguments[0] == "-m":
        sys.argv[:] = arguments[1:]
        sys.path[0] = str(Path.cwd())
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv[:] = arguments
        # a folder or zip file with a __main__.py is put on the path by runpy itself
        sys.path[0] = str(Path(arguments[0]).resolve().parent)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
