"""`libperf doctor`: what it finds, and what it advises."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.errors import UnsupportedError

FIELDS = {
    *(
        "libperf",
        "python",
        "system",
        "library",
        "accelerator",
        "clock",
        "allocator",
        "libraries",
        "segments",
        "cache",
        "packages",
    ),
    *("instruments", "advice"),
}
ROOT = Path(__file__).parents[2]


def doctor(*words: str, **environment: str | Path) -> tuple[int, str, str]:
    variables: dict[str, str | Path] = {
        name: value for name, value in os.environ.items() if not name.startswith("LIBPERF_")
    }
    variables |= {"LIBPERF_CACHE_DIR": environment.get("LIBPERF_DIR", "/nowhere/cache")}  # not the user's own
    variables |= environment
    command = [sys.executable, "-m", "libperf", "doctor", *words]
    told = {name: str(value) for name, value in variables.items()}
    answer = subprocess.run(command, env=told, text=True, capture_output=True, timeout=60)
    return answer.returncode, answer.stdout, answer.stderr


def found(**environment: str | Path) -> dict[str, Any]:
    status, out, err = doctor("--json", **environment)
    assert (status, "Traceback" in err) == (0, False)
    data: dict[str, Any] = json.loads(out)
    return data


def test_json(tmp_path: Path) -> None:
    """--json gives versions, machine, and folder as they are."""
    data = found(LIBPERF_DIR=tmp_path)
    assert set(data) == FIELDS
    assert data["libperf"] == libperf.__version__
    assert data["python"].split()[1:] == [platform.python_version(), sys.executable]
    assert data["system"] == f"{platform.system()} {platform.release()} {platform.machine()}"
    assert data["library"] == str(Path(libperf.__file__).parent)
    assert data["segments"].startswith(f"{tmp_path}/libperf-")
    assert data["packages"]["langgraph"] == version("langgraph")
    assert data["instruments"] == ["langchain", "langgraph"]
    assert data["allocator"].startswith(("jemalloc", "libc"))
    assert data["clock"].startswith(("tsc, ", "monotonic, "))


def test_whether_there_is_an_accelerator(tmp_path: Path) -> None:
    """On, or off and why; switched off is no reason for advice."""
    assert found(LIBPERF_DIR=tmp_path)["accelerator"] == "on"
    off = found(LIBPERF_DIR=tmp_path, LIBPERF_SPEED="0")
    assert off["accelerator"] == "off: LIBPERF_SPEED=0"
    assert not any("accelerator" in line for line in off["advice"])


def test_text(tmp_path: Path) -> None:
    """The text has the facts of the JSON, a line each, and then the advice or that there is none."""
    data = found(LIBPERF_DIR=tmp_path)
    status, out, err = doctor(LIBPERF_DIR=tmp_path)
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (status, err) == (0, "")
    for name in ("libperf", "python", "system", "library", "allocator"):
        assert lines[name] == data[name]
    assert lines["libraries"].count(" yes") == sum(data["libraries"].values())
    assert lines["instruments"] == "langchain, langgraph"
    for package, number in data["packages"].items():
        assert f"{package} {number or 'missing'}" in lines["packages"]
    assert [line for line in out.splitlines() if line.startswith("! ")] == [f"! {line}" for line in data["advice"]]
    assert out.endswith("everything is there\n") or data["advice"]


def test_without_a_folder() -> None:
    """LIBPERF_DIR=off is private memory, and the advice says how to change that."""
    data = found(LIBPERF_DIR="off")
    assert data["segments"] == "private memory"
    assert [line for line in data["advice"] if "LIBPERF_DIR" in line] != []
    status, out, _ = doctor(LIBPERF_DIR="off")
    assert (status, "\n! segments cannot be shared" in out) == (0, True)


def test_with_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """A LIBPERF_DIR that is a file gives the same advice, not a failure."""
    (tmp_path / "file").write_text("")
    assert found(LIBPERF_DIR=tmp_path / "file")["segments"] == "private memory"


@pytest.mark.parametrize("flag", ["-I", "-S"])
def test_without_frameworks(tmp_path: Path, flag: str) -> None:
    """Where LangChain is not installed the advice says that there is nothing to instrument, and no list breaks."""
    import _cffi_backend  # what lies beside libperf is all that the bare interpreter gets

    (tmp_path / "path").mkdir()
    for file in (libperf.__file__, _cffi_backend.__file__):
        path = Path(str(file)).parent if Path(str(file)).name == "__init__.py" else Path(str(file))
        (tmp_path / "path" / path.name).symlink_to(path)
    code = f"import sys; sys.path.insert(0, {str(tmp_path / 'path')!r})\n"
    code += "sys.path[:] = [p for p in sys.path if not p.endswith('site-packages')]\n"
    code += "from libperf.cli import main; sys.exit(main(['doctor', '--json']))"
    answer = subprocess.run([sys.executable, flag, "-c", code], text=True, capture_output=True, timeout=60)
    assert (answer.returncode, answer.stderr) == (0, "")
    data = json.loads(answer.stdout)
    assert data["packages"]["langchain-core"] is None
    assert [line for line in data["advice"] if "LangChain" in line] != []


# ---- the cache ----


def test_libraries(tmp_path: Path) -> None:
    """What doctor says the core was built with is what works."""
    from libperf._codec import Compressor

    libraries = found(LIBPERF_DIR=tmp_path)["libraries"]
    assert set(libraries) == {"lmdb", "hiredis", "hiredis_ssl", "zstd", "libcurl"}

    def works(**tiers: str | Path) -> bool:
        try:
            libperf.TieredCache(**tiers).close()  # type: ignore[arg-type]
        except UnsupportedError:
            return False
        return True

    assert libraries["lmdb"] == works(disk=tmp_path / "disk")
    assert libraries["hiredis"] == works(redis=f"unix://{tmp_path}/nobody.sock")
    assert libraries["hiredis_ssl"] == works(redis="rediss://127.0.0.1:1")
    try:
        Compressor(1)
    except NotImplementedError:
        assert not libraries["zstd"]
    else:
        assert libraries["zstd"]


@pytest.mark.parametrize(
    ("library", "lost"),
    [
        ("lmdb", "libperf.bg"),
        ("hiredis", "redis="),
        ("zstd", "values"),
        ("libcurl", "libperf.otlp"),
        ("hiredis_ssl", "rediss://"),
    ],
)
def test_what_a_missing_library_costs(library: str, lost: str) -> None:
    """One line for each, which says what there is not, and names a package that the project itself asks for."""
    from libperf.cli.doctor import _missing

    everything = dict.fromkeys(("lmdb", "hiredis", "hiredis_ssl", "zstd", "libcurl"), True)
    assert _missing(everything) == []
    (line,) = _missing(everything | {library: False})
    assert lost in line and "build again" in line
    if library != "hiredis_ssl":
        package = line.partition("apt-get install ")[2].partition(",")[0]
        assert package in (ROOT / "tools/packages-debian.txt").read_text().splitlines()


def test_the_cache_folder(tmp_path: Path) -> None:
    """Where it is, how large and how full; a trial leaves nothing behind."""
    folder = tmp_path / "caches"
    before = found(LIBPERF_CACHE_DIR=folder)
    assert before["cache"].startswith(f"{folder} (not made yet, ")
    assert not folder.exists()
    with libperf.TieredCache(disk=folder / "cache") as cache:
        cache.set("key", b"x" * 100_000)
    files = {path: path.stat().st_size for path in folder.rglob("*")}
    data = found(LIBPERF_CACHE_DIR=folder)
    assert (data["cache"].startswith(f"{folder} ("), " MiB used, " in data["cache"]) == (True, True)
    assert float(data["cache"].partition("(")[2].partition(" ")[0]) >= 0.1
    assert data["advice"] == before["advice"]
    assert {path: path.stat().st_size for path in folder.rglob("*")} == files


@pytest.mark.parametrize("what", ["a file", "in a file", "another's", "read-only"])
def test_a_cache_folder_that_cannot_be_used(tmp_path: Path, what: str) -> None:
    """Is advice, not a failure."""
    place = tmp_path / "place"
    if what in ("a file", "in a file"):
        place.write_text("")
    else:
        place.mkdir()
    if what == "another's":
        if os.geteuid():
            pytest.skip("needs root")
        os.chown(place, 12345, 12345)
    if what == "read-only":
        if not os.geteuid():
            pytest.skip("root may write anywhere")
        place.chmod(0o500)
    data = found(LIBPERF_CACHE_DIR=place / "deeper" if what == "in a file" else place)
    assert [line for line in data["advice"] if "LIBPERF_CACHE_DIR" in line and str(place) in line] != []
