"""What the documents say is so: their programs run, their commands parse, their links lead somewhere, fields exist."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import libperf
from libperf import Kind
from libperf.cli import build_parser
from libperf.testing import MockLLM, mock_command

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("bench/**/*.md")])
README = ROOT / "README.md"
JSON = ROOT / "docs/json.md"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


class Block(NamedTuple):
    """A fenced block of a document."""

    file: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file.name}:{self.line}"


def blocks_of(file: Path) -> Iterator[Block]:
    text = file.read_text()
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(file, text[: match.start()].count("\n") + 2, match[1], match[2])


BLOCKS = [block for file in DOCUMENTS for block in blocks_of(file)]
PYTHON = [block for block in BLOCKS if block.language == "python"]


def inline_code(file: Path) -> list[str]:
    """What stands between backticks outside of blocks."""
    text = re.sub(r"^```.*?^```$", "", file.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]


def commands(program: str) -> list[list[str]]:
    """The words of every use of a program in the documents, in blocks and in running text."""
    lines = [code for file in DOCUMENTS for code in inline_code(file)]
    for block in BLOCKS:
        if block.language in ("sh", "console", ""):
            lines += [line.removeprefix("$ ") for line in block.text.splitlines()]
    parts = [part.strip() for line in lines for part in line.split("&&")]
    return [shlex.split(part, comments=True) for part in parts if part.startswith(f"{program} ")]


# ---- programs ----


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_blocks_run(block: Block, run: Run) -> None:
    """Every Python block of the documents runs as it stands, in a fresh process, and says nothing on standard error."""
    with MockLLM() as llm:
        answer = run(block.text, **llm.environment())
    assert (answer.returncode, answer.stderr) == (0, "")
    assert ("print(" in block.text) == (answer.stdout != "")


def test_the_first_example_reports(run: Run) -> None:
    """The README's first block prints a report that has the function it called, once."""
    answer = run(PYTHON[0].text)
    assert PYTHON[0].file == README
    assert re.findall(r"^function load +(\d) ", answer.stdout, re.MULTILINE) == ["1"]


C_PROGRAM = """
#include <libperf/span.h>
int main(void)
{
    perf_span root = {0};
    for (int i = 0; i < 3; i++)
        perf_span_end(perf_span_begin(perf_name(PERF_KIND_TOOL, "in C", 4), root));
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_c_programs(tmp_path: Path) -> None:
    """A C program that starts with span.h is measured as the README says; every C block compiles with the headers."""
    compile = [
        "cc",
        "-std=c11",
        "-Wall",
        "-Werror",
        f"-I{ROOT / 'libperf/include'}",
        f"-I{ROOT / 'bench/include'}",
        f"-I{ROOT / 'batcher/include'}",
        "-xc",
        "-",
    ]
    for block in (block.text for block in BLOCKS if block.language == "c"):
        subprocess.run([*compile, "-fsyntax-only"], input=block, text=True, check=True, timeout=60)
    core = Path(str(libperf._core.__file__)).parent
    link = [f"-L{core}", "-lperfcore", f"-Wl,-rpath,{core}", "-o", "program"]
    subprocess.run([*compile, *link], input=C_PROGRAM, text=True, check=True, timeout=60, cwd=tmp_path)
    subprocess.run([tmp_path / "program"], env={**os.environ, "LIBPERF_DIR": str(tmp_path)}, check=True, timeout=60)
    (segment,) = tmp_path.glob("libperf-*/*.perf")
    with libperf.Reader(segment) as reader:
        (row,) = libperf.Report.read(reader).rows
    assert (row.kind, row.name, row.calls, row.errors) == (Kind.TOOL, "in C", 3, 0)


ISSUE = """
import asyncio
import json
import libperf
from libperf import PerformanceMonitor

monitor = PerformanceMonitor(slow_threshold=1.0, histogram_window=1000)

@libperf.trace
def plain(x): return x + 1

@libperf.trace("named")
async def waiting(x):
    await asyncio.sleep(0)
    return x + 2

@libperf.trace(operation="fetch_user", tags={"service": "user-api"})
def fetch(user): return {"user": user}

@libperf.trace
def numbers(n): yield from range(n)

@libperf.trace("async numbers")
async def async_numbers(n):
    for i in range(n):
        yield i

class Service:
    @libperf.trace(operation="method")
    def call(self, x): return x
    @libperf.trace("class method")
    @classmethod
    def of(cls): return cls.__name__
    @libperf.trace("static method")
    @staticmethod
    def add(a, b): return a + b
    @libperf.trace("async method")
    async def wait(self): return "waited"

async def main():
    return [await waiting(1), [i async for i in async_numbers(3)], await Service().wait()]

results = [plain(1), fetch("ann"), list(numbers(3)), Service().call(5), Service.of(), Service.add(1, 2)]
results += asyncio.run(main())

for user in range(10):
    ctx = monitor.start_trace("api_call")
    ctx.add_tag("user", user)
    ctx.add_log("cache miss")
    monitor.finish_trace(ctx)
stats = monitor.get_stats()
latency, rate = stats.latencies["api_call"], stats.throughput["api_call"]
again = monitor.get_latency_percentiles("api_call")
slowest = {row["name"]: row for row in libperf.snapshot()["operations"]}
with libperf.Reader() as reader:
    records = list(reader.records())
print(json.dumps({
    "results": results,
    "percentiles": [latency.p50, latency.p95, latency.p99], "again": [again.p50, again.p95, again.p99],
    "throughput": [rate.current, rate.avg, rate.max],
    "latencies": {name: value.count for name, value in stats.latencies.items()},
    "tags": [record.attributes for record in records if record.type == "span" and record.name == "fetch_user"],
    "users": [record.attributes["user"] for record in records if record.type == "span" and record.name == "api_call"],
    "logs": sum(record.type == "log" and record.name == "api_call" for record in records),
}))
"""


def test_the_interface_that_was_asked_for(run: Run) -> None:
    """Decorators on every kind of function, and the monitor: traces by hand, percentiles, throughput."""
    answer = run(ISSUE)
    assert (answer.returncode, answer.stderr) == (0, "")
    found = json.loads(answer.stdout)
    assert found["results"] == [2, {"user": "ann"}, [0, 1, 2], 5, "Service", 3, 3, [0, 1, 2], "waited"]
    named = {"named", "fetch_user", "async numbers", "method", "class method", "static method", "async method"}
    once = {name: count for name, count in found["latencies"].items() if name != "api_call"}
    assert named | {"plain", "numbers"} == set(once)
    assert set(once.values()) == {1}
    p50, p95, p99 = found["percentiles"]
    assert 0 < p50 <= p95 <= p99
    assert found["again"] == found["percentiles"]
    current, average, best = found["throughput"]
    assert 0 < best <= 10 and 0 <= current <= best and average > 0
    assert found["tags"] == [{"service": "user-api"}]
    assert (found["latencies"]["api_call"], found["users"], found["logs"]) == (10, list(range(10)), 10)


BOTTLENECKS = """
import asyncio, json, sys
import libperf

vector_db = libperf.Semaphore(1, name="vector_db")
journal = libperf.Lock(name="journal")

@libperf.trace("summarise", kind="llm")
async def summarise():
    await asyncio.sleep(0.02)

async def search():
    async with vector_db:
        await asyncio.sleep(0.01)
    await summarise()

async def main():
    jobs = libperf.Queue(0, name="jobs")
    await jobs.put(1)
    async with journal:
        await jobs.get()
    await asyncio.gather(*[search() for _ in range(10)])

with libperf.Profiler() as profiler:
    asyncio.run(main())
analysis = profiler.analyze()

detector = libperf.BottleneckDetector(time_threshold=1.0, memory_threshold=100 * 1024 * 1024)
told = []
take_back = detector.on_alert(told.append)
detector.detect_time_bottleneck("analyze_code", 2.5)
detector.detect_memory_bottleneck("load", 150 * 1024 * 1024)
take_back()
print(json.dumps({
    **analysis.to_dict(),
    "what_if": analysis.what_if({"llm:summarise": 0.5, "semaphore:vector_db": {"capacity": 2}}),
    "names": [bottleneck.name for bottleneck in analysis.bottlenecks],
    "alerts": [[each.name, each.count, each.worst.value] for each in detector.get_bottlenecks().alerts],
    "told": [str(alert) for alert in told],
}))
"""


def test_the_bottlenecks_that_were_asked_for(run: Run, tmp_path: Path) -> None:
    """Named resources, a profiler, gains of fixes as data, what-ifs, alerts; the same from a trace that a run has kept."""
    answer = run(BOTTLENECKS)
    assert answer.returncode == 0
    assert answer.stderr.splitlines() == [
        "analyze_code took 2.50 s (threshold 1.0 s)",
        "load used 150 MiB (threshold 100 MiB)",
    ]
    found = json.loads(answer.stdout)
    first = found["bottlenecks"][0]
    assert (first["name"], first["kind"], first["class"]) == ("vector_db", "semaphore", "saturated")
    assert first["fix"] == {"action": "capacity", "from": 1, "to": 2}
    assert 0.2 < first["gain_low"] <= first["gain"] <= first["gain_high"] < 0.5
    assert first["gain"] < found["what_if"] < 0.9
    assert found["reliable"] == (found["self_replay_error"] <= 0.05)  # how far it is off depends on the machine's load
    assert found["alerts"] == [["analyze_code", 1, 2.5], ["load", 1, 150 * 2**20]]
    assert found["told"] == answer.stderr.splitlines()

    program, trace = tmp_path / "agent.py", tmp_path / "agent.perf"
    program.write_text(
        BOTTLENECKS.replace("with libperf.Profiler() as profiler:", "if True:").partition("analysis =")[0]
    )
    command = "import sys, libperf.cli; sys.exit(libperf.cli.main(['run', '--trace', *sys.argv[1:]]))"
    assert "semaphore vector_db" in run(command, trace, program).stderr
    assert libperf.what_if(trace, {"semaphore:vector_db": {"capacity": 2}}) > 0.2


# ---- commands ----


def check_libperf(words: list[str]) -> None:
    """Raises SystemExit when `libperf WORDS` is wrong usage, as the command would."""
    if words[0] != "mock":
        build_parser().parse_args(words)
        return
    at = words.index("--") if "--" in words else len(words)
    if words[at + 1 : at + 2] == ["libperf"]:
        check_libperf(words[at + 2 :])
    if status := mock_command.main([*words[1:at], "--quiet", "--", "true"]):  # checks the values, too
        raise SystemExit(status)


@pytest.mark.parametrize("command", sorted({shlex.join(words) for words in commands("libperf")}))
def test_libperf_commands(command: str) -> None:
    """Every `libperf …` of the documents is one that libperf takes; one that is only named has its --help."""
    words = shlex.split(command)
    named = len(words) == 2 and words[1] not in ("mock", "run", "doctor")
    try:
        check_libperf([*words[1:], "--help"] if named else words[1:])
    except SystemExit as stop:
        assert stop.code == 0
    script = next((word for word in words if word.startswith("examples/")), None)
    assert script is None or (ROOT / script).exists()


def test_a_wrong_command_would_be_found() -> None:
    """The check above refuses unknown commands, options and values; and the documents do name commands."""
    for wrong in ("jog app.py", "run --nosuch app.py", "report", "mock --latency soon -- libperf run a.py"):
        with pytest.raises(SystemExit) as stop, contextlib.redirect_stderr(io.StringIO()):
            check_libperf(wrong.split())
        assert stop.value.code == 2
    assert {words[1] for words in commands("libperf")} >= {"run", "report", "doctor", "mock"}


def test_make_and_cmake() -> None:
    """Every `make …` is a target of the Makefile, every `cmake --preset …` a preset; HACKING lists no other."""
    rules = re.findall(r"^([a-z -]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {name for names in rules for name in names.split()}
    used = [words[1] for words in commands("make")]
    assert set(used) - targets == set()
    presets = {preset["name"] for preset in json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]}
    named = [words[words.index("--preset") + 1] for words in commands("cmake") if "--preset" in words]
    assert set(named) - presets == set()
    assert len(used) > 5 and len(named) > 1


def test_environment_variables() -> None:
    """The README's settings are all that are read."""
    sources = [
        path.read_text() for kind in ("libperf/src/**/*.c", "bindings/libperf/**/*.py") for path in ROOT.glob(kind)
    ]
    read = {name for text in sources for name in re.findall(r'"(LIBPERF_[A-Z_]+)"', text)}
    table = {name for name in re.findall(r"^\|[^|]+\| `(LIBPERF_[A-Z_]+)", README.read_text(), re.MULTILINE)}
    assert table == read


# ---- links and paths ----


def slugs(file: Path) -> set[str]:
    """The anchors that a document's headings have."""
    headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_relative_links(file: Path) -> None:
    """Every relative link of a document leads to a file of the tree, and its anchor to a heading there."""
    for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (file.parent / path).resolve() if path else file
        assert there.exists(), target
        assert not anchor or anchor in slugs(there), target


def expand(pattern: str) -> list[str]:
    """`a/{b,c}.d` as a shell expands it."""
    parts = [part.split(",") if i % 2 else [part] for i, part in enumerate(re.split(r"\{([^}]*)\}", pattern))]
    return ["".join(words) for words in itertools.product(*parts)]


def test_paths() -> None:
    """Every file and folder that a document names exists; ARCHITECTURE may leave out the folder that it speaks of."""
    homes = [ROOT, *(ROOT / part / "include" for part in ("libperf", "batcher", "profiler", "bench"))]
    short = [
        ROOT / "libperf",
        ROOT / "libperf/include/libperf",
        ROOT / "batcher/include/libperf",
        ROOT / "libperf/src/segment",
        ROOT / "profiler/src",
        ROOT / "bindings/libperf",
    ]
    tops = {path.name for path in ROOT.iterdir()} - {"build", "dist"}
    found = 0
    for file in DOCUMENTS:
        architecture = file.name == "ARCHITECTURE.md"
        for code in inline_code(file):
            if re.fullmatch(r"[\w./{},-]+(/|\.(c|h|py|md))", code) and (architecture or code.split("/")[0] in tops):
                for path in expand(code):
                    found += 1
                    assert any((home / path).exists() for home in homes + short * architecture), (file.name, path)
    assert found > 40


# ---- docs/memory.md ----


def test_the_picture_of_memory(run: Run, tmp_path: Path) -> None:
    """What docs/memory.md shows is what its program prints: the same tables, lines and columns; only numbers differ."""
    file = ROOT / "docs/memory.md"
    program, picture = (
        next(b.text for b in BLOCKS if b.file == file and b.language == kind) for kind in ("python", "text")
    )
    (tmp_path / "app.py").write_text(
        program.replace("memory.counting()", "memory.counting(sample_bytes=65536, seed=1)")
    )
    printed = run("import runpy; runpy.run_path('app.py')").stdout

    def shape(text: str) -> list[str]:
        """Headings, and the lines of code in the order of their names."""
        lines = [line for line in text.splitlines() if re.search(r"where *$|^operation|←", line)]
        heads = [" ".join(line.split()) for line in lines if "←" not in line]
        places = {match[1] for line in lines if (match := re.search(r"((json|app)\S*/\w+\.py):\d+ \S+ ←", line))}
        return [*heads, *sorted(places)]

    assert shape(picture) == shape(printed)
    assert "in no span" in picture and "in no span" in printed


# ---- docs/json.md ----

PROGRAM = """
import asyncio, sys, time, libperf
libperf.Counter("n").add(1)
libperf.Gauge("g").set(2)
libperf.Timing("t").record(0.5)
libperf.Counter("cache.users.memory.hits").add(1)
libperf.Counter("batcher.embed.items").add(1)
for _ in range(3):
    with libperf.span("s", tokens=3):
        time.sleep(0.01)
@libperf.trace
def again(n): time.sleep(0.01)
for _ in range(3): again(1)
async def small():
    with libperf.span("small"): await asyncio.sleep(0.01)
async def many(): await asyncio.gather(*[small() for _ in range(8)])
asyncio.run(many())
with libperf.memory.counting(sample_bytes=1000): kept = bytearray(1_000_000)
span = libperf.span("left open").__enter__()
if sys.argv[1:]: import json; print(json.dumps(libperf.snapshot()))
"""
FREE = {"attributes", "quantities", "counters", "gauges", "lost", "went", "dropped"}  # names of what there was
PROFILED = (  # of programs that ran in profiling mode
    "self_replay_error",
    "reliable",
    "analysed_wall_s",
    "startup_imports_s",
    "events",
    "deadlocks",
    "bottlenecks",
    "repeats",
    "merges",
)

SAMPLED = ("hotspots", "stalls", "cpu_samples", "cpu_sampled_s")  # told in words


def fields(data: Any, path: str = "") -> set[str]:
    """The paths of every field; elements of a list share one."""
    if isinstance(data, list):
        return {field for element in data for field in fields(element, path)}
    if not isinstance(data, dict):
        return set()
    found: set[str] = set()
    for name, value in data.items():
        found |= {path + name} | (fields(value, f"{path}{name}.") if name not in FREE else set())
    return found


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The example of docs/json.md, and what the three ways to get a report really give."""
    folder = tmp_path_factory.mktemp("json")
    (folder / "app.py").write_text(PROGRAM)
    environment = {**os.environ, "LIBPERF_DIR": str(folder)}

    def call(*words: str) -> Any:
        command = [sys.executable, *words]
        text = subprocess.check_output(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL, timeout=60)
        return {name: value for name, value in json.loads(text).items() if name not in SAMPLED}

    (example,) = (json.loads(block.text) for block in BLOCKS if block.file == JSON and block.language == "json")
    run = call("-m", "libperf", "run", "--json", "-", "--trace", "kept", "app.py")
    report = call("-m", "libperf", "report", "--json", "kept")
    return {"example": example, "run": run, "report": report, "snapshot": call("app.py", "snapshot")}


def test_every_field_is_documented(reports: dict[str, Any]) -> None:
    """The example has the fields of a real report, no more and no fewer; rows and calls have theirs wherever they are."""
    example, real = fields(reports["example"]), fields(reports["run"])
    assert {field for field in real if not field.startswith(("timings.", "open."))} == example
    for name, like in (("timings.", "operations."), ("open.", "slowest.")):
        assert {like + field.removeprefix(name) for field in real if field.startswith(name)} == {
            field for field in example if field.startswith(like)
        }
    ours = {"program.exit_status", "program.took_s", "program.trace"}
    assert list(reports["example"]["program"])[-3:] == [field.partition(".")[2] for field in sorted(ours)]
    assert fields(reports["report"]) == real - ours
    assert fields(reports["snapshot"]) == {field for field in real - ours if not field.startswith(PROFILED)}
    assert {type(value) for value in reports["run"]["operations"][0].values()} == {
        type(value) for value in reports["example"]["operations"][0].values()
    }
    assert reports["run"]["libperf"] == reports["example"]["libperf"] == libperf.__version__
    assert reports["run"]["schema"] == reports["example"]["schema"]


def test_the_table_of_fields(reports: dict[str, Any]) -> None:
    """The table explains fields that exist, and the values it lists are all there are."""
    rows = dict(re.findall(r"^\| (`.+?) \| (.+) \|$", JSON.read_text(), re.MULTILINE))
    known = fields(reports["run"])
    leaves = {field.rpartition(".")[2] for field in known}
    for cell in rows:
        for name in re.findall(r"`([\w.]+)`", cell):
            assert name in known or name in leaves, name
    kinds = re.findall(r"`(\w+)`", rows["`operations`"])
    assert set(kinds) - {"kind"} == {kind.name.lower() for kind in Kind if kind.is_operation}
    assert reports["run"]["program"]["state"] in re.findall(r"`(\w+)`", rows["`program.state`"])
