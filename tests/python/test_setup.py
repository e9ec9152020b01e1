"""tools/setup.sh on a copy of the tree: what it does the first time, the second time, and what it says when it cannot.

The script is the real one, and so are venv, pip, CMake and the compiler. Stand-ins in PATH play the machine only: which
packages it has, who runs the script, and an apt without network. Packages for Python are links to those of this process.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSION = re.findall(r'#define PERF_VERSION "(.+)"', (ROOT / "libperf/include/libperf/base.h").read_text())[0]
OURS = ("LIBPERF_", "PYTHON", "LD_PRELOAD", "CFLAGS", "LDFLAGS", "MAKE", "PIP_")
UNTRACKED = (".*", "build", "dist", "*.egg-info", "*.so", "__pycache__")
LACKS_TWO = 'case "$*" in *" cmake" | *" pkgconf" | *" pkg-config") exit 1 ;; esac; echo installed'
LOG = 'echo "$(basename "$0")" "$@" >>"$CALLS"; '
OFFLINE = LOG + 'echo "E: could not resolve the host" >&2; exit 100'
OLD_PYTHON = "case $1 in -V) echo Python 3.9.2 ;; *) exit 1 ;; esac"
VENV = """\
[ "$1 $2" = "-m venv" ] || exec {python} "$@"
{python} -m venv --without-pip "$3" && echo {packages} >"$3"/lib/python3.{minor}/site-packages/borrowed.pth
"""

pytestmark = pytest.mark.skipif(shutil.which("apt-config") is None, reason="needs a Debian-like system")


class Machine:
    """A folder with the tree or a part of it, and a PATH of stand-ins."""

    def __init__(self, folder: Path, **commands: str) -> None:
        self.tree = folder / "tree"
        self.bin = folder / "bin"
        self.calls = folder / "calls"
        self.bin.mkdir()
        self.calls.touch()
        for name, code in commands.items():
            self.stand_in(name.replace("_", "-"), code)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        self.environment |= {
            "PATH": f"{self.bin}:{os.environ['PATH']}",
            "CALLS": str(self.calls),
            "TMPDIR": str(folder),
        }
        self.environment |= {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "LIBPERF_DIR": str(folder)}

    def stand_in(self, name: str, code: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{code}\n")
        (self.bin / name).chmod(0o755)

    def only(self, *names: str) -> None:
        """Leave nothing in PATH but the stand-ins and these."""
        for name in names:
            (self.bin / name).symlink_to(str(shutil.which(name)))
        self.environment["PATH"] = str(self.bin)

    def run(self, *words: str, **variables: str) -> tuple[int, str, str]:
        answer = subprocess.run(
            ["/bin/sh", *words],
            cwd=self.tree,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            text=True,
            capture_output=True,
            timeout=100,
        )
        return answer.returncode, answer.stdout, answer.stderr

    def setup(self) -> tuple[int, list[str], str]:
        """Status, what was said without the seconds, and the standard error of the script."""
        status, out, err = self.run("tools/setup.sh")
        lines = [re.fullmatch(r"setup +\d+ s: (.*)", line) for line in out.splitlines()]
        assert None not in lines, out
        return status, [line[1] for line in lines if line], err


def bare(folder: Path, **commands: str) -> Machine:
    """A machine whose tree holds tools/ only: the script ends at a Python that is too old."""
    machine = Machine(folder, **{"dpkg_query": LACKS_TWO, "apt_get": LOG, "python3": OLD_PYTHON, **commands})
    shutil.copytree(ROOT / "tools", machine.tree / "tools")
    return machine


HINT = "as root run:\n    apt-get install --no-install-recommends cmake pkgconf\n"
INSTALL = "-qq install -y --no-install-recommends --no-remove cmake pkgconf"
TOO_OLD = "setup: Python 3.11 or newer is needed; this is Python 3.9.2\n"
NOT_ROOT, IS_ROOT = "echo 1000", "echo 0"


@pytest.fixture(scope="module", autouse=True)
def etc_stays_as_it_was() -> Iterator[None]:
    """Nothing in here adds a file to /etc or changes one of apt's."""

    def look() -> tuple[set[str], dict[str, int]]:
        apt = {str(path): path.lstat().st_mtime_ns for path in Path("/etc/apt").rglob("*")}
        return {str(path) for path in Path("/etc").rglob("*")}, apt

    before, apt_before = look()
    yield
    after, apt_after = look()
    assert after - before == set()
    assert apt_after == apt_before


# ---- the machine lacks something ----


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "tools").glob("*.sh")))
def test_the_scripts_are_plain_sh(script: str) -> None:
    """`sh -n` accepts every script of tools/."""
    answer = subprocess.run(["sh", "-n", ROOT / "tools" / script], capture_output=True, text=True, timeout=60)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_missing_packages_without_root(tmp_path: Path) -> None:
    """One who is not root and has no sudo is told the command to run; nothing is tried."""
    machine = bare(tmp_path, id=NOT_ROOT, sudo="exit 1")
    assert machine.setup() == (1, [], "setup: these packages are missing; " + HINT)
    assert machine.calls.read_text() == ""


@pytest.mark.parametrize("user", ["root", "one with sudo"])
def test_missing_packages_are_installed(tmp_path: Path, user: str) -> None:
    """What is missing is installed, of alternatives the first, and nothing is removed; root needs no sudo for it."""
    root = user == "root"
    machine = bare(tmp_path, id=IS_ROOT if root else NOT_ROOT, sudo=LOG + '[ "$1" = -n ] || "$@"')
    assert machine.setup() == (1, ["installing cmake pkgconf"], TOO_OLD)
    calls = [call.split(" ", 1) for call in machine.calls.read_text().splitlines()]
    assert [words for name, words in calls if name == "apt-get"] == ["-qq update", INSTALL]
    assert {name for name, _ in calls} == ({"apt-get"} if root else {"apt-get", "sudo"})


def test_an_alternative_is_enough(tmp_path: Path) -> None:
    """Of pkgconf|pkg-config one is enough: with either installed, and the rest, apt is not called."""
    machine = bare(tmp_path, dpkg_query='case "$*" in *" pkgconf") exit 1 ;; esac; echo installed', id=IS_ROOT)
    assert machine.setup() == (1, [], TOO_OLD)
    assert machine.calls.read_text() == ""


def test_apt_without_network(tmp_path: Path) -> None:
    """When apt fails its words are shown, and the command to repeat; a failing update alone is no reason to stop."""
    machine = bare(tmp_path, id=IS_ROOT, apt_get=OFFLINE)
    status, said, err = machine.setup()
    assert (status, said) == (1, ["installing cmake pkgconf"])
    assert "could not resolve the host" in err
    assert err.endswith("setup: apt-get failed (log: .setup.log); " + HINT)
    machine.stand_in("apt-get", 'case "$*" in *update) exit 100 ;; esac')
    assert machine.setup() == (1, ["installing cmake pkgconf"], TOO_OLD)


def test_another_distribution(tmp_path: Path) -> None:
    """Where there is no dpkg the list to read is named; without any python3 that is said."""
    machine = bare(tmp_path)
    for name in ("dpkg-query", "apt-get", "python3"):
        (machine.bin / name).unlink()
    machine.only("dirname", "date", "mkdir")
    note = ["not a Debian-like system; you need what tools/packages-debian.txt lists"]
    assert machine.setup() == (1, note, "setup: python3 is missing\n")
    machine.stand_in("python3", OLD_PYTHON)
    assert machine.setup() == (1, note, TOO_OLD)


def test_jemalloc_that_cannot_be_had(tmp_path: Path) -> None:
    """Said once, with the reason, as status 3; a later call is quiet, and a day later it tries and says it again."""
    machine = bare(tmp_path)
    prefix = tmp_path / "deps/jemalloc"
    said = "jemalloc: no-such-cc is missing; going on with libc's malloc\n"
    assert machine.run("tools/jemalloc.sh", str(prefix), CC="no-such-cc") == (3, "", said)
    assert machine.run("tools/jemalloc.sh", str(prefix), CC="no-such-cc") == (3, "", "")
    missing = prefix.with_suffix(".missing")
    os.utime(missing, (missing.stat().st_atime, missing.stat().st_mtime - 2 * 86400))
    assert machine.run("tools/jemalloc.sh", str(prefix), CC="no-such-cc") == (3, "", said)
    assert sorted(path.name for path in prefix.parent.iterdir()) == ["jemalloc.missing"]


# ---- from nothing to ready ----


def links_to_packages(folder: Path) -> Path:
    """The packages of this process, without libperf itself."""
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "libperf" not in path.name and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    return folder


def contents(*folders: Path) -> dict[str, int]:
    paths = [path for folder in folders for path in folder.rglob("*")]
    return {str(path): path.lstat().st_mtime_ns for path in paths if "__pycache__" not in str(path)}


def test_from_nothing_to_ready(tmp_path: Path) -> None:
    """The first run makes everything, the second nothing; after a change as much as is needed. All without network."""
    packages = links_to_packages(tmp_path / "packages")
    venv = VENV.format(python=sys.executable, packages=packages, minor=sys.version_info.minor)
    machine = Machine(tmp_path, dpkg_query="echo installed", apt_get=OFFLINE, python3=venv)
    shutil.copytree(ROOT, machine.tree, ignore=shutil.ignore_patterns(*UNTRACKED))
    base = machine.tree / "libperf/include/libperf/base.h"
    base.write_text(base.read_text().replace(f'PERF_VERSION "{VERSION}"', 'PERF_VERSION "9.8.7"'))

    status, said, err = machine.setup()
    steps = ["building jemalloc", "making .venv", "fetching Python packages", "building", "ready"]
    assert (status, said) == (0, steps), err
    assert "jemalloc: its source package cannot be fetched; going on with libc's malloc\n" in err
    calls = machine.calls.read_text()
    assert {line.split()[0] for line in calls.splitlines()} == {"apt-get"}
    assert "install" not in calls

    # The version is the header's everywhere, and there is no other; the allocator is what was at hand.
    command = str(machine.tree / ".venv/bin/libperf")
    doctor = subprocess.run([command, "doctor"], env=machine.environment, capture_output=True, text=True, timeout=60)
    facts = dict(line.split(maxsplit=1) for line in doctor.stdout.splitlines() if line[:1] != "!")
    assert (facts["libperf"], facts["allocator"]) == ("9.8.7", "libc")
    assert "! built without jemalloc" in doctor.stdout
    assert facts["library"] == str(machine.tree / "bindings/libperf")
    assert "CMAKE_PROJECT_VERSION:STATIC=9.8.7\n" in (machine.tree / "build/py/CMakeCache.txt").read_text()
    assert [path.name for path in machine.tree.glob(".venv/lib/*/site-packages/libperf-*.dist-info")] == [
        "libperf-9.8.7.dist-info"
    ]

    before = contents(machine.tree / "build", machine.tree / ".venv", machine.tree / "bindings")
    assert machine.setup() == (0, ["ready"], "")
    assert contents(machine.tree / "build", machine.tree / ".venv", machine.tree / "bindings") == before
    assert machine.calls.read_text() == calls

    # A build that fails is shown, and not taken for done.
    lists = machine.tree / "CMakeLists.txt"
    text = lists.read_text()
    lists.write_text(text + 'message(FATAL_ERROR "no further")\n')
    status, said, err = machine.setup()
    assert (status, said) == (1, ["building"])
    assert "no further" in err
    assert err.endswith("setup: the build failed (log: .setup.log)\n")
    lists.write_text(text)
    assert machine.setup() == (0, ["building", "ready"], "")

    # In another folder everything is made anew; a package that cannot be had is named.
    project = machine.tree / "pyproject.toml"
    text = project.read_text()
    project.chmod(0o644)
    project.write_text(text.replace('"pytest>=8"', '"pytest>=8", "no-such-package"'))
    machine.tree = machine.tree.rename(tmp_path / "moved")
    status, said, err = machine.setup()
    assert (status, said) == (1, ["making .venv", "fetching Python packages"])
    assert re.search(
        r"^setup: pip could not fetch \(the network is needed once\):\n.* no-such-package ", err, re.MULTILINE
    )
    assert not (machine.tree / "build").exists()


# ---- make, and the version ----


def test_make_lists_the_targets() -> None:
    """`make` alone prints a line for each target; what it leaves out is a part of one that it lists."""
    answer = subprocess.run(["make", "-C", ROOT, "--no-print-directory"], capture_output=True, text=True, timeout=60)
    assert (answer.returncode, answer.stderr) == (0, "")
    listed: list[str] = []
    for line in answer.stdout.splitlines():
        names, _, text = re.split(r"(\s{2,}|(?<=\S{13}) )", line, maxsplit=1)
        assert text
        listed += names.split()
    makefile = (ROOT / "Makefile").read_text()
    targets = " ".join(re.findall(r"^\.PHONY:(.*)", makefile, re.MULTILINE)).split()
    rules = dict(re.findall(r"^([a-z -]+):(?!=)([^#\n]*)", makefile, re.MULTILINE))
    parts = {part for names, needs in rules.items() if set(names.split()) & set(listed) for part in needs.split()}
    assert len(listed) == len(set(listed))
    assert set(listed) <= set(targets)
    assert set(targets) - set(listed) <= parts
    assert {name for names in rules for name in names.split()} == set(targets)


def test_the_version_is_in_one_place() -> None:
    """The header's version heads the changelog, and no other file of code or metadata repeats it."""
    heading = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert heading == VERSION
    code = [
        *ROOT.glob("bindings/**/*.py"),
        *ROOT.glob("libperf/**/*.[ch]"),
        *ROOT.glob("cmake/*"),
        *ROOT.glob("*.toml"),
    ]
    code += [ROOT / "setup.py", ROOT / "CMakeLists.txt", ROOT / "CMakePresets.json", ROOT / "Makefile"]
    quoted = re.compile(rf"""["' ]{re.escape(VERSION)}["'\s]""")
    found = [str(path.relative_to(ROOT)) for path in code if quoted.search(path.read_text())]
    assert found == ["libperf/include/libperf/base.h"]
