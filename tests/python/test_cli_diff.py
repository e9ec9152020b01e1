"""`libperf diff` as a command: what it prints, its exit status, its JSON, what it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support_diff import recorded

DOCUMENT = Path(__file__).parents[2] / "docs/diff.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diff")
    for name, seed, factor, calls in (("old", 1, 1.0, 1200), ("same", 2, 1.0, 1200), ("new", 3, 1.3, 1200)):
        recorded(folder, f"{name}.perf", seed=seed, factor=factor, calls=calls)
    recorded(folder, "short.perf", seed=4, calls=100)
    return folder


def diff(folder: Path, *words: str) -> tuple[int, str, str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")}
    command = [sys.executable, "-m", "libperf", "diff", *words]
    done = subprocess.run(
        command, cwd=folder, env={**environment, "LIBPERF_DIR": str(folder)}, text=True, capture_output=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


def data(folder: Path, *words: str) -> tuple[int, Any]:
    status, out, err = diff(folder, "--json", *words)
    assert err == ""
    return status, json.loads(out)


@pytest.mark.parametrize(
    ("words", "status", "verdict"),
    [
        (["old.perf", "same.perf"], 0, "same"),
        (["old.perf", "new.perf"], 3, "regression"),
        (["new.perf", "old.perf"], 0, "improvement"),
        (["old.perf", "short.perf"], 4, "undecided"),
        (["--fail-on", "never", "old.perf", "new.perf"], 0, "regression"),
        (["--fail-on", "never", "old.perf", "short.perf"], 0, "undecided"),
        (["--fail-on", "regression", "old.perf", "new.perf"], 3, "regression"),
        (["--threshold", "60%", "--only", "plan", "old.perf", "new.perf"], 0, "same"),
        (["--only", "span:new way", "old.perf", "new.perf"], 4, "undecided"),
        (["--min-calls", "50", "--only", "plan", "old.perf", "short.perf"], 0, "same"),
        (["--old", "old.perf", "--new", "new.perf"], 3, "regression"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_status(folder: Path, words: list[str], status: int, verdict: str) -> None:
    """0 without a regression, 3 with one, 4 when nothing could be compared; --fail-on never is 0."""
    got, found = data(folder, *words)
    assert (got, found["verdict"]) == (status, verdict)


def test_the_table(folder: Path) -> None:
    """What is slower is the first row; the last lines say how many there are, and what to make of it."""
    status, out, err = diff(folder, "old.perf", "new.perf")
    lines = out.splitlines()
    assert (status, err, lines[1]) == (3, "", "libperf diff  old.perf → new.perf")
    assert {line.split()[1] for line in lines if line.startswith(("llm ", "tool ", "cache "))} == {
        "plan",
        "search",
        "users",
    }
    assert re.search(r"^llm plan .*slower, slower tail *$", out, re.MULTILINE)
    assert "3 regressions in 3 operations" in out
    assert "new function new way (1 calls)" in out and "gone function old way (1 calls)" in out


def test_several_runs(folder: Path) -> None:
    """--old and --new take any number, and may be given again."""
    words = ["--old", "old.perf", "same.perf", "--old", "short.perf", "--new", *["new.perf"] * 3]
    status, found = data(folder, *words)
    assert (status, len(found["old"]), len(found["new"])) == (3, 3, 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "what should be compared"),
        (["old.perf"], "give two: OLD NEW"),
        (["a", "b", "c"], "give two: OLD NEW"),
        (["old.perf", "new.perf", "--old", "x"], "not both"),
        (["--old", "old.perf"], "what should be compared"),
        (["--alpha", "0", "old.perf", "new.perf"], "alpha=0.0 is not a chance"),
        (["--alpha", "x", "old.perf", "new.perf"], "--alpha"),
        (["--threshold", "-5%", "old.perf", "new.perf"], "--threshold"),
        (["--threshold=-5%", "old.perf", "new.perf"], "--threshold"),
        (["--min-calls", "5", "old.perf", "new.perf"], "min_calls=5: at least 20"),
        (["--fail-on", "monday", "old.perf", "new.perf"], "--fail-on"),
    ],
    ids=str,
)
def test_wrong_usage(folder: Path, words: list[str], said: str) -> None:
    """Status 2, the usage, and what is wrong."""
    status, out, err = diff(folder, *words)
    assert (status, out) == (2, "")
    assert err.startswith("usage: libperf diff") and said in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.perf", "new.perf"], "missing.perf"),
        (["999999999", "new.perf"], "no segment of process 999999999"),
        (["old.perf", "text.perf"], "text.perf"),
        (["old.perf", "report.json"], "'report.json' is JSON"),
        (["old.perf", "nothing"], "no *.perf in the folder 'nothing'"),
        (["--only", "jump", "old.perf", "new.perf"], "only='jump'"),
        (["--old", "old.perf", "--new", "new.perf", "new.perf"], "old has 1 and new 2 runs"),
    ],
    ids=str,
)
def test_what_cannot_be_compared(folder: Path, words: list[str], said: str) -> None:
    """Status 1, and one line that names it."""
    (folder / "text.perf").write_text("hello")
    (folder / "report.json").write_text("{}")
    (folder / "nothing").mkdir(exist_ok=True)
    status, out, err = diff(folder, *words)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("libperf: ") and said in err


def test_a_process(folder: Path) -> None:
    """The id of a process that lives is a side."""
    code = "import libperf\nfor _ in range(30):\n    with libperf.span('plan', kind='llm'): pass\nprint('ready', flush=True)\ninput()"
    environment = {**os.environ, "LIBPERF_DIR": str(folder)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == "ready\n"
        status, found = data(folder, "--min-calls", "20", "--only", "plan", str(process.pid), str(process.pid))
        process.communicate("\n")
    assert (status, found["verdict"], found["operations"][0]["old"]["calls"]) == (0, "same", 30)


def test_a_reader_that_leaves(folder: Path) -> None:
    """`libperf diff … | head` ends without a traceback."""
    command = [sys.executable, "-m", "libperf", "diff", "old.perf", "new.perf"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""


# ---- docs/diff.md ----


def fields(value: Any, path: str = "") -> set[str]:
    if isinstance(value, list):
        return {field for each in value for field in fields(each, path)}
    if not isinstance(value, dict):
        return set()
    found: set[str] = set()
    for name, each in value.items():
        found |= {path + name} | (set() if name == "quantities" else fields(each, f"{path}{name}."))
    return found


def test_the_documented_json(folder: Path) -> None:
    """The example of docs/diff.md has the fields of a real one, and the table explains fields and verdicts that exist."""
    text = DOCUMENT.read_text()
    (example,) = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    real = fields(data(folder, "old.perf", "new.perf")[1])
    assert fields(json.loads(example)) == real
    leaves = {field.rpartition(".")[2] for field in real}
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", text, re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert named and named <= leaves


def test_the_documented_status() -> None:
    """The document's table of exit statuses is that of --help."""
    rows = re.findall(r"^\| (\d) \|", DOCUMENT.read_text(), re.MULTILINE)
    out = subprocess.check_output([sys.executable, "-m", "libperf", "diff", "--help"], text=True)
    assert rows == ["0", "1", "2", "3", "4"]
    assert [number for number in rows if not re.search(rf"\b{number} [a-z]", out)] == []
