"""Makes the cffi module `libperf._core`: its declarations are the preprocessed public headers of the C core.

`python bindings/libperf/_build.py` prints what cffi is given.
"""

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

from cffi import FFI

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = [ROOT / folder / "include" for folder in ("libperf", "batcher", "profiler")]
HEADERS = sorted(header.name for folder in INCLUDE for header in (folder / "libperf").glob("*.h"))
SOURCE = "".join(f"#include <libperf/{name}>\n" for name in HEADERS)

# cffi releases the GIL around every call. Beside one busy thread that costs a call its turn: 5 ms. So it is released
# only where the name says that the function may wait; the compiler folds the test, each wrapper keeps one way.
GIL_RULE = r"""
#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define PERF_BLOCKS (__builtin_strstr(__func__, "_blocking") != 0)
#define Py_BEGIN_ALLOW_THREADS { PyThreadState *_save = PERF_BLOCKS ? PyEval_SaveThread() : NULL;
#define Py_END_ALLOW_THREADS   if (PERF_BLOCKS) PyEval_RestoreThread(_save); }
"""


def preprocess() -> str:
    """The headers as one text that cffi understands."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    command = [*compiler, "-E", "-P", "-nostdinc", "-DPERF_CDEF", *(f"-I{folder}" for folder in INCLUDE), "-xc", "-"]
    return subprocess.run(command, input=SOURCE, text=True, stdout=subprocess.PIPE, check=True).stdout


def make() -> FFI:
    ffi = FFI()
    ffi.cdef(preprocess())
    ffi.set_source("libperf._core", SOURCE + GIL_RULE)  # how it is compiled and linked is in setup.py
    return ffi


if __name__ == "__main__":
    print(preprocess())
