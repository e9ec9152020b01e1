"""Builds libperfcore with CMake, then the cffi module that links to it. The metadata is in pyproject.toml."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
BASE = (ROOT / "libperf/include/libperf/base.h").read_text()
VERSION = re.search(r'#define PERF_VERSION "(.+)"', BASE)[1]
CORE = "libperfcore.dylib" if sys.platform == "darwin" else "libperfcore.so"
ORIGIN = "@loader_path" if sys.platform == "darwin" else "$ORIGIN"
INCLUDE = ["libperf/include", "batcher/include", "profiler/include"]


class BuildExt(build_ext):
    """The C core first, by the CMake preset `py`; then cffi's generated module."""

    def run(self):
        build = ROOT / self.get_finalized_command("build").build_base / "py"
        self.build_core(build)
        load_builder().make().emit_c_code(str(build / "_core.c"))  # written only when it differs
        self.extensions[0].sources = [os.path.relpath(build / "_core.c", ROOT)]
        for extension in self.extensions:
            extension.library_dirs.append(str(build))
            extension.depends.append(str(build / CORE))
        super().run()
        self.place_core(build / CORE)

    def build_core(self, build):
        options = shlex.split(os.environ.get("LIBPERF_CMAKE_ARGS", ""))
        jobs = os.environ.get("LIBPERF_JOBS", "2")
        subprocess.check_call(["cmake", "--preset", "py", "-B", str(build), *options], cwd=ROOT)
        subprocess.check_call(["cmake", "--build", str(build), "--parallel", jobs], cwd=ROOT)

    def place_core(self, core):
        folder = Path("bindings/libperf") if self.inplace else Path(self.build_lib, "libperf")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CORE).unlink(missing_ok=True)
        if self.inplace:  # a link: after a change in C, `cmake --build build/py` is all that is needed
            (folder / CORE).symlink_to(os.path.relpath(core, folder))
        else:
            shutil.copy2(core, folder / CORE)


class BuildPy(build_py):
    def run(self):
        if not self.editable_mode:  # or a module deleted since would still be shipped
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


def load_builder():
    """bindings/libperf/_build.py by its path: importing the package would need what we are building."""
    spec = importlib.util.spec_from_file_location("_libperf_build", ROOT / "bindings/libperf/_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


core_module = Extension(
    "libperf._core",
    ["build/py/_core.c"],
    depends=[str(header) for folder in INCLUDE for header in Path(folder).rglob("*.h")],
    include_dirs=INCLUDE,
    libraries=["perfcore"],
    extra_link_args=[f"-Wl,-rpath,{ORIGIN}"],
)


def extension(name, *parts):
    """libperf._name, of _name.c and _name_part.c: CPython code over the core's public functions."""
    stem = f"bindings/libperf/{name}"
    return Extension(
        f"libperf.{name}",
        [f"{stem}.c", *(f"{stem}_{part}.c" for part in parts)],
        depends=[*core_module.depends, *map(str, Path("bindings/libperf").glob(f"{name}*.h"))],
        include_dirs=INCLUDE,
        libraries=["perfcore"],
        extra_compile_args=["-std=c11", "-fvisibility=hidden"],
        extra_link_args=[f"-Wl,-rpath,{ORIGIN}"],
    )


setup(
    version=VERSION,
    setup_requires=[] if shutil.which("cmake") else ["cmake>=3.25"],  # the build backend reports it as a requirement
    ext_modules=[
        core_module,
        extension("_scheduler", "event", "handle", "types", "loop"),
        extension("_codec", "encode", "decode", "error", "weigh", "entry", "compressor", "fingerprint"),
        extension("_disk"),
        extension("_allocations", "hook", "sample", "span"),
        extension("_speed", "attribute", "block", "context", "current", "handle", "running", "traced"),
        extension("_sampler", "calls", "setprofile", "stack", "thread", "ticks", "watch"),
        extension("_memory", "change", "entry", "front", "look", "set"),
        extension(
            "_batcher",
            *("await", "batch", "calls", "deliver", "finish", "future", "post", "queue", "results", "seen", "series"),
            *("submit", "wait"),
        ),
    ],
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy},
)
