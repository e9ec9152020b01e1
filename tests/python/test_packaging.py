"""The wheel and the sdist: what is in them, and that an installed libperf works where there is no checkout.

One wheel is built from a copy of the tree, another from the sdist of that copy, without network; both copies are gone
when the installed package runs. The second one is built without jemalloc, which is no part of an sdist.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import libperf

ROOT = Path(__file__).parents[2]
VERSION = re.findall(r'#define PERF_VERSION "(.+)"', (ROOT / "libperf/include/libperf/base.h").read_text())[0]
UNTRACKED = (".*", "build", "dist", "*.egg-info", "*.so", "__pycache__")
# A sanitizer that this process runs under is not the build's, nor is its search path.
OURS = ("LIBPERF_", "PYTHON", "LD_PRELOAD", "CFLAGS", "LDFLAGS", "OPENAI_")
APP = """\
import json, sys
import libperf
from libperf.testing import MockLLM
@libperf.trace
def work(): pass
for _ in range(3): work()
libraries = {line.split()[-1] for line in open("/proc/self/maps") if line.split("/")[-2:-1] == ["libperf"]}
print(json.dumps({
    "file": libperf.__file__, "version": libperf.__version__, "libraries": sorted(libraries),
    "calls": {row["name"]: row["calls"] for row in libperf.snapshot()["operations"]},
}))
sys.exit(3)
"""


def call(*words: str | Path, cwd: Path, status: int = 0, **variables: str) -> str:
    """Run a command without what this process has in its environment; returns its standard output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    environment |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "LIBPERF_DIR": str(cwd), **variables}
    command = [str(word) for word in words]
    answer = subprocess.run(command, cwd=cwd, env=environment, text=True, capture_output=True, timeout=600)
    assert answer.returncode == status, answer.stdout[-2000:] + answer.stderr[-4000:]
    return answer.stdout


def build_wheel(source: Path, target: Path) -> Path:
    """What `make wheel` does, and `pip install .` behind its isolation."""
    call(sys.executable, "-m", "pip", "-q", "wheel", "--no-deps", "--no-build-isolation", "-w", target, ".", cwd=source)
    (wheel,) = target.glob("*.whl")
    return wheel


class Venv:
    """An environment with a wheel and the packages that the wheel requires, nothing else."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        self.python = folder / "venv/bin/python"
        folder.mkdir()
        call(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
        call(sys.executable, "-m", "pip", "--python", self.python, "-q", "install", "--no-deps", wheel, cwd=folder)
        self.site = self.python.parents[1] / f"lib/python3.{sys.version_info.minor}/site-packages"
        self._borrow(metadata_of(wheel).get_all("Requires-Dist") or [])

    def _borrow(self, required: list[str]) -> None:
        """Links in place of downloads: without a network, and nothing that is not required can be imported."""
        for requirement in map(Requirement, required):
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            found = distribution(requirement.name)
            assert requirement.specifier.contains(found.version)
            for top in {PurePosixPath(file).parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                if not (self.site / top).exists():
                    (self.site / top).symlink_to(str(found.locate_file(top)))
            self._borrow(found.requires or [])

    def run(self, *words: str | Path, status: int = 0, **variables: str) -> str:
        """A program of the environment's bin folder."""
        return call(self.python.parent / words[0], *words[1:], cwd=self.folder, status=status, **variables)


class Built(NamedTuple):
    wheel: Path
    sdist: Path
    files: set[str]  # of the tree, without hidden ones
    from_wheel: Venv
    from_sdist: Venv


def metadata_of(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("packaging")
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*UNTRACKED))
    files = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    call(sys.executable, "setup.py", "-q", "sdist", "-d", folder / "sdist", cwd=tree)
    (sdist,) = (folder / "sdist").iterdir()
    (folder / "unpacked").mkdir()
    call("tar", "-xzf", sdist, "-C", folder / "unpacked", cwd=tree)
    (unpacked,) = (folder / "unpacked").iterdir()
    if (ROOT / ".deps/jemalloc").exists():
        shutil.copytree(ROOT / ".deps/jemalloc", tree / ".deps/jemalloc")
    wheel = build_wheel(tree, folder / "wheel")
    second = build_wheel(unpacked, folder / "wheel-of-sdist")
    assert names_in(second) == names_in(wheel)
    environments = Venv(folder / "one", wheel), Venv(folder / "two", second)
    for gone in (tree, unpacked):
        shutil.rmtree(gone)
    return Built(wheel, sdist, files, *environments)


def test_what_the_wheel_contains(built: Built) -> None:
    """Modules, stubs, the marker for type checkers, the HTML page, the extensions and the core; no C, no tests, nothing else."""
    names = names_in(built.wheel)
    own = {name for name in names if name.startswith("libperf/")}
    assert {name.split("/")[0] for name in names} == {"libperf", f"libperf-{VERSION}.dist-info"}
    compiled = sorted(name for name in own if name.endswith(".so"))
    assert [name.partition(".")[0] for name in compiled] == [
        "libperf/_allocations",
        "libperf/_batcher",
        "libperf/_codec",
        "libperf/_core",
        "libperf/_disk",
        "libperf/_memory",
        "libperf/_sampler",
        "libperf/_scheduler",
        "libperf/_speed",
        "libperf/libperfcore",
    ]
    sources = {
        name.removeprefix("bindings/")
        for name in built.files
        if re.match(r"bindings/libperf/.+\.(py|pyi|typed|html|css|js)$", name)
    }
    assert own - set(compiled) == sources
    assert {"libperf/py.typed", "libperf/_core.pyi", "libperf/testing/__init__.py"} <= own
    assert f"libperf-{VERSION}.dist-info/licenses/LICENSE" in names


def test_what_the_wheel_says(built: Built) -> None:
    """The version is the header's; cffi and rich are required, the frameworks only by extras."""
    metadata = metadata_of(built.wheel)
    assert (metadata["Name"], metadata["Version"]) == ("libperf", VERSION)
    needed = [Requirement(line) for line in metadata.get_all("Requires-Dist") or []]
    always = {canonicalize_name(need.name) for need in needed if need.marker is None}
    assert always == {"cffi", "rich"}
    assert built.wheel.name.startswith(f"libperf-{VERSION}-cp3{sys.version_info.minor}-")


def test_what_the_sdist_contains(built: Built) -> None:
    """All of the tree: its tests run and its documents are whole without the repository."""
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert built.files - names == set()
    assert [name for name in names if name.endswith((".so", ".o", ".pyc"))] == []


@pytest.mark.skipif(shutil.which("readelf") is None, reason="needs binutils")
def test_the_core_is_found_beside_the_extension(built: Built) -> None:
    """The extensions look for the core in their own folder; none names the place where it was built."""
    for library in (built.from_wheel.site / "libperf").glob("*.so"):
        dynamic = call("readelf", "-d", library, cwd=built.from_wheel.folder)
        paths = ":".join(re.findall(r"R(?:UN)?PATH\).*\[(.*)\]", dynamic)).split(":")
        assert ("$ORIGIN" in paths) == library.name.startswith("_")
        assert [path for path in paths if "packaging" in path or str(ROOT) in path] == []
        assert "STATIC_TLS" not in dynamic  # or a Python process with many modules could not load it


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs binutils")
def test_exported_symbols(built: Built) -> None:
    """An extension exports its entry alone, the core perf_ functions alone: no malloc, nothing of jemalloc."""
    for library in (built.from_wheel.site / "libperf").glob("*.so"):
        lines = call("nm", "-D", "--defined-only", library, cwd=built.from_wheel.folder).splitlines()
        names = [line.split()[-1] for line in lines]
        module = library.name.partition(".")[0]
        expected = rf"(PyInit_|_cffi_pypyinit_){module}" if module.startswith("_") else r"perf_\w+"
        assert names != []
        assert [name for name in names if not re.fullmatch(expected, name)] == []


@pytest.mark.parametrize("source", ["from_wheel", "from_sdist"])
def test_the_installed_package_works(built: Built, source: str) -> None:
    """Spans are recorded, `libperf run` reports them; every library comes from the environment."""
    venv: Venv = getattr(built, source)
    (venv.folder / "app.py").write_text(APP)
    out = json.loads(venv.run("libperf", "run", "--json", "out.json", "app.py", status=3))
    assert (out["version"], out["calls"]) == (VERSION, {"work": 3})
    assert Path(out["file"]).parent == venv.site / "libperf"
    assert {Path(path).parent for path in out["libraries"]} == {venv.site / "libperf"}
    assert len(out["libraries"]) == 6
    report = json.loads((venv.folder / "out.json").read_text())
    assert report["program"]["exit_status"] == 3
    assert [(row["name"], row["calls"]) for row in report["operations"]] == [("work", 3)]
    assert venv.run("python", "-m", "libperf", "--version") == f"libperf {VERSION}\n"


def test_doctor_of_the_installed_package(built: Built) -> None:
    """`libperf doctor` names what is installed here, what is not, and which allocator each wheel got."""
    jemalloc = (ROOT / ".deps/jemalloc").exists()
    for venv, allocator in ((built.from_wheel, "jemalloc" if jemalloc else "libc"), (built.from_sdist, "libc")):
        found = json.loads(venv.run("libperf", "doctor", "--json"))
        assert found["library"] == str(venv.site / "libperf")
        assert found["allocator"].split()[0] == allocator
        assert found["packages"]["rich"] is not None
        assert found["packages"]["langgraph"] is None
        assert any("without jemalloc" in line for line in found["advice"]) == (allocator == "libc")


def test_the_installed_package_is_typed(built: Built) -> None:
    """A program that uses the installed package passes `mypy --strict`, and a wrong call in it does not."""
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", built.from_wheel.python, "--cache-dir")
    code = "import libperf\n@libperf.trace\ndef f(x: int) -> str:\n    return str(x)\nprint(f({}).upper())\n"
    for argument, status in (("1", 0), ("'1'", 1)):
        (built.from_wheel.folder / "typed.py").write_text(code.format(argument))
        out = call(*mypy, built.from_wheel.folder / ".mypy", "typed.py", cwd=built.from_wheel.folder, status=status)
        assert ("[arg-type]" in out) == bool(status)


def test_import_from_the_root_of_the_checkout() -> None:
    """In the checkout `import libperf` is the Python package, not the folder with the C core."""
    code = "import libperf; print(libperf.__file__, libperf.trace.__name__)"
    answer = subprocess.run([sys.executable, "-B", "-c", code], cwd=ROOT, text=True, capture_output=True, timeout=60)
    assert (answer.stdout, answer.stderr) == (f"{libperf.__file__} trace\n", "")
