"""`libperf run` as a program: what runs under it behaves as under plain Python, and is reported however it ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import libperf
from libperf.cli.run import News
from support_cli import Runner

PROBE = """\
import atexit, json, os, sys, threading
import __main__
known = {name: type(value).__name__ for name, value in globals().items() if name != "__annotations__"}
print(json.dumps({
    "argv": sys.argv, "name": __name__, "file": __file__, "package": __package__, "path": sys.path,
    "spec": __spec__ and __spec__.name, "flags": str(sys.flags), "known": known, "hook": str(sys.excepthook),
    "main": __main__.__dict__ is globals(), "cwd": os.getcwd(), "input": sys.stdin.read(),
}), flush=True)
def late(when):
    print(when, sys.modules["__main__"].__dict__ is globals(), flush=True)
atexit.register(late, "at exit")
ended = threading.main_thread().join
threading.Thread(target=lambda: (ended(), late("in a thread"))).start()
"""
WORK = """\
import sys
import libperf
@libperf.trace
def work(): pass
@libperf.trace("other work", kind="tool")
def other(): pass
for _ in range(3): work()
other()
"""
BLOCK = WORK + 'with libperf.span("waiting"): print("ready", flush=True), sys.stdin.read()\n'
OPERATION = {
    *("kind", "name", "calls", "errors", "cancelled", "total_s", "mean_s", "min_s", "p50_s", "p95_s", "p99_s", "max_s"),
    *("calls_per_s", "share_of_wall", "input_tokens", "output_tokens", "quantities"),
}
CALL = {"kind", "name", "start_s", "duration_s", "status", "attributes", "trace_id", "span_id"}
PROGRAM = {
    *("pid", "command", "service", "state", "started_at", "clock", "segment_bytes"),
    *("exit_status", "took_s", "trace"),
}
REPORT = {
    *("schema", "libperf", "program", "wall_s", "operations", "slowest", "open", "counters", "gauges", "timings"),
    *("caches", "batchers", "allocations", "records", "lost"),
    *("self_replay_error", "reliable", "analysed_wall_s", "startup_imports_s", "events", "deadlocks", "bottlenecks"),
    "repeats",
    "merges",
}


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def end_of(process: subprocess.Popen[str], number: signal.Signals, *, group: bool = False) -> tuple[int, str, str]:
    """Send a signal to a program that says it is ready and then blocks on its input, which stays open to its end."""
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "ready\n"
    (os.killpg if group else os.kill)(process.pid, number)
    status = process.wait(60)
    return status, process.stdout.read(), process.stderr.read()


def calls_of(report: dict[str, Any]) -> dict[str, int]:
    return {row["name"]: row["calls"] for row in report["operations"]}


# ---- the same as plain Python ----


@pytest.mark.parametrize(
    "words",
    [
        ["probe.py"],
        ["./probe.py", "--json", "x", "--trace=y", "-m", "--", "-h", "", "-"],
        ["below/../probe.py", "a b"],
        ["below/probe.py"],
        ["link.py"],
        ["-m", "probe", "--json", "x"],
        ["-m", "pack", "-m", "-h"],
        ["-m", "pack.inner"],
        ["pack/", "--trace"],
        ["archive.zip", "1"],
    ],
    ids=str,
)
def test_a_program_cannot_tell_the_difference(runner: Runner, words: list[str]) -> None:
    """argv, __main__, sys.path, flags and standard input are those of plain Python, for every way to start."""
    for name in ("probe.py", "below/probe.py", "pack/__main__.py", "pack/inner.py"):
        runner.write(name, PROBE)
    (runner.folder / "link.py").symlink_to("below/probe.py")
    with zipfile.ZipFile(runner.folder / "archive.zip", "w") as archive:
        archive.writestr("__main__.py", PROBE)
    status, expected, _ = runner.plain(*words, stdin="some\ninput")
    assert (status, expected.count(" True\n")) == (0, 2)
    status, actual, _ = runner.run(*words, stdin="some\ninput")
    assert (status, actual) == (0, expected)


def test_the_safe_path_stays_safe(runner: Runner) -> None:
    """Under PYTHONSAFEPATH no folder is put on sys.path."""
    runner.write("probe.py", PROBE)
    runner.environment["PYTHONSAFEPATH"] = "1"
    expected = runner.plain("probe.py")
    assert runner.run("probe.py")[:2] == expected[:2]


def test_modules_of_the_current_folder_are_not_imported(runner: Runner) -> None:
    """A module beside the caller that is called like one of the standard library disturbs nothing."""
    runner.write("below/app.py", WORK)
    for name in ("types", "json", "threading", "logging"):
        runner.write(f"{name}.py", "raise SystemExit('the wrong module')")
    command = "from libperf.cli import main; import sys; sys.exit(main(['run', 'below/app.py']))"
    status, _, err = runner.plain("-P", "-c", command)
    assert (status, "wrong module" in err, "other work" in err) == (0, False, True)


@pytest.mark.parametrize(
    "words",
    [
        ["app.py", "a"],
        ["--", "app.py", "a"],
        ["python", "app.py", "a"],
        ["python3.11", "app.py", "a"],
        ["--", "python", "app.py", "a"],
        [sys.executable, "app.py", "a"],
        ["-m", "app", "a"],
        ["--", "-m", "app", "a"],
        ["python", "-m", "app", "a"],
    ],
    ids=str,
)
def test_ways_to_name_the_program(runner: Runner, words: list[str]) -> None:
    """A script, a module, either behind `--` or behind the interpreter's name: the same program with its arguments."""
    runner.write("app.py", "import sys, libperf\nwith libperf.span(sys.argv[1]): print(sys.argv[1:])")
    status, out, err = runner.run(*words)
    assert (status, out) == (0, "['a']\n")
    assert "libperf report" in err


def test_options_behind_the_program_are_the_programs(runner: Runner) -> None:
    """What looks like an option of ours behind the script writes no file of ours."""
    runner.write("app.py", WORK)
    for words in (["app.py", "--json", "o.json", "--trace", "o.perf"], ["-m", "app", "--json", "o.json"]):
        assert runner.run(*words)[0] == 0
    assert sorted(path.name for path in runner.folder.glob("o.*")) == []


# ---- endings ----

RAISES = "def inner(): raise ValueError('no') from KeyError(1)\n"


@pytest.mark.parametrize(
    "code",
    [
        RAISES + "inner()",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    [][1]",
        "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])",
        "import sys\nsys.exit(3)",
        "import sys\nsys.exit('in words')",
        "import sys\nsys.exit()",
        "raise SystemExit",
        "import os\nos._exit(7)",
        "import sys\nsys.excepthook = lambda *all: print(all[0].__name__, all[2].tb_frame.f_code.co_name)\n1 / 0",
        "import atexit\natexit.register(print, 'last words')\n1 / 0",
        "import threading\nthreading.Thread(target=lambda: 1 / 0, name='T').start()",
        "raise SystemExit(163)",  # would be a signal without a name
        "raise SystemExit(-1)",
    ],
)
def test_endings(runner: Runner, code: str) -> None:
    """Status, output and traceback are plain Python's, and a report follows on standard error."""
    runner.write("app.py", WORK + code + "\n")
    expected = runner.plain("app.py")
    status, out, err = runner.run("app.py")
    assert (status, out, err[: len(expected[2])]) == expected
    rest = err[len(expected[2]) :]
    assert rest.count("libperf report") == 1
    assert "Traceback" not in rest
    assert f"exit status {status}" in rest or status == 0


@pytest.mark.parametrize("words", [["-m", "broken"], ["-m", "nosuch"], ["-m", "wrong"], ["wrong.py"]], ids=str)
def test_programs_that_never_start(runner: Runner, words: list[str]) -> None:
    """Errors before the first line look as they always do; nothing was recorded, and that is said."""
    runner.write("broken.py", "import nosuch_at_all")
    runner.write("wrong.py", "def :")
    expected = runner.plain(*words)
    status, out, err = runner.run(*words)
    assert (status, out, err[: len(expected[2])]) == expected
    assert err[len(expected[2]) :].startswith("libperf: nothing was recorded")


@pytest.mark.parametrize(
    ("code", "number"),
    [
        ("os.kill(os.getpid(), 9)", signal.SIGKILL),
        ("ctypes.string_at(0)", signal.SIGSEGV),
        ("os.abort()", signal.SIGABRT),
    ],
)
def test_sudden_deaths(runner: Runner, code: str, number: signal.Signals) -> None:
    """SIGKILL, a segmentation fault and abort() give 128 + n, the counts so far, and the spans that were open."""
    prepare = "import ctypes, os, resource\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
    runner.write("app.py", f"{WORK}{prepare}with libperf.span('outside'), libperf.span('inside', step=7): {code}\n")
    status, _, err = runner.run("--json", "out.json", "app.py")
    report = json.loads((runner.folder / "out.json").read_text())
    assert status == 128 + number
    assert number.name in err
    assert report["program"]["state"] == "killed"
    assert report["program"]["exit_status"] == 128 + number
    assert calls_of(report) == {"work": 3, "other work": 1}
    assert [(call["name"], call["status"], call["attributes"]) for call in report["open"]] == [
        ("outside", "open", {}),
        ("inside", "open", {"step": 7}),
    ]
    assert "outside" in err and "inside" in err


def test_sigterm_is_passed_on(runner: Runner) -> None:
    """SIGTERM and SIGHUP sent to the runner run the program's own handlers; a report follows."""
    handler = "import signal\ndef stop(number, frame): print('stopped by', number); sys.exit(5)\n"
    handler += "signal.signal(signal.SIGTERM, stop); signal.signal(signal.SIGHUP, stop)\n"
    runner.write("app.py", handler + BLOCK)
    for number in (signal.SIGTERM, signal.SIGHUP):
        with runner.start("-m", "libperf", "run", "app.py") as process:
            status, out, err = end_of(process, number)
        assert (status, out) == (5, f"stopped by {number.value}\n")
        assert "other work" in err and "exit status 5" in err


def test_sigterm_without_a_handler(runner: Runner) -> None:
    """A program that SIGTERM ends gives 143, and its open spans."""
    runner.write("app.py", BLOCK)
    with runner.start("-m", "libperf", "run", "--json", "out.json", "app.py") as process:
        status, _, _ = end_of(process, signal.SIGTERM)
    report = json.loads((runner.folder / "out.json").read_text())
    assert status == 143
    assert [call["name"] for call in report["open"]] == ["waiting"]


def test_ctrl_c(runner: Runner) -> None:
    """SIGINT to the whole group interrupts the program, with its usual traceback; the runner stays to report."""
    runner.write("app.py", BLOCK)
    with runner.start("-m", "libperf", "run", "app.py", start_new_session=True) as process:
        status, _, err = end_of(process, signal.SIGINT, group=True)
    assert status == 130
    assert err.count("\nKeyboardInterrupt\n") == 1
    assert err.count("Traceback") == 1
    assert "child.py" not in err
    assert "waiting" in err and "SIGINT" in err


def test_what_is_ignored_stays_ignored(runner: Runner) -> None:
    """Under nohup the program ignores SIGHUP as it would without us."""
    runner.write("app.py", "import signal\nprint(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)\n" + WORK)
    code = "import os, signal, sys\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    code += "os.execv(sys.executable, [sys.executable, '-m', 'libperf', 'run', 'app.py'])"
    status, out, _ = runner.plain("-c", code)
    assert (status, out) == (0, "True\n")


# ---- what it writes ----


def test_json(runner: Runner) -> None:
    """--json FILE holds the fields of docs/json.md and no other, durations as floats, and the rows of the table."""
    runner.write("app.py", WORK + "libperf.Timing('waits').record(0.25)\nlibperf.Counter('hits').add(2)\n")
    status, out, err = runner.run("--json", "out.json", "app.py")
    report = json.loads((runner.folder / "out.json").read_text())
    assert (status, out) == (0, "")
    assert set(report) == REPORT
    assert set(report["program"]) == PROGRAM
    assert report["schema"] == 1
    assert report["libperf"] == libperf.__version__
    assert report["program"]["command"] == "app.py"
    assert report["program"]["state"] == "finished"
    assert report["program"]["exit_status"] == 0
    assert report["program"]["took_s"] >= report["wall_s"] > 0
    assert Path(report["program"]["trace"]).parent.parent == runner.segments
    assert (report["records"], report["lost"], report["open"]) == (4, {}, [])
    assert calls_of(report) == {"work": 3, "other work": 1}
    assert report["counters"] == {"hits": 2}
    assert [(row["name"], row["max_s"]) for row in report["timings"]] == [("waits", 0.25)]
    for row in [*report["operations"], *report["timings"]]:
        assert set(row) == OPERATION
        assert {type(value) for name, value in row.items() if name.endswith("_s")} == {float}
        assert 0 < row["min_s"] <= row["mean_s"] <= row["max_s"] <= row["total_s"]
    for call in report["slowest"]:
        assert set(call) == CALL
        assert (len(call["trace_id"]), len(call["span_id"])) == (32, 16)
    lines = [line for line in err.splitlines() if re.match(r"(function|tool) ", line)]
    assert [re.findall(r"other work|work|\b\d\b", line)[:2] for line in lines] == [
        [row["name"], str(row["calls"])] for row in report["operations"]
    ]
    assert "out.json" in err


def test_json_to_standard_output(runner: Runner) -> None:
    """`--json -` adds nothing but JSON behind the program's own output; the table stays on standard error."""
    runner.write("app.py", WORK + 'print("own output")\n')
    status, out, err = runner.run("--json", "-", "app.py")
    own, _, rest = out.partition("\n")
    assert (status, own) == (0, "own output")
    assert calls_of(json.loads(rest)) == {"work": 3, "other work": 1}
    assert "other work" in err


def test_numbers_that_json_does_not_have(runner: Runner) -> None:
    """The report is JSON that any parser takes, also when the program recorded infinity or not-a-number."""
    code = "with libperf.span('s', x=float('nan'), y=float('-inf')): pass\nlibperf.Gauge('g').set(float('inf'))\n"
    runner.write("app.py", "import libperf\n" + code)
    assert runner.run("--json", "out.json", "app.py")[0] == 0

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    report = json.loads((runner.folder / "out.json").read_text(), parse_constant=refuse)
    assert calls_of(report) == {"s": 1}


def test_a_kept_trace(runner: Runner) -> None:
    """`libperf report FILE` on what --trace kept says the same as the run itself, when the segment is gone."""
    runner.write("app.py", WORK)
    status, _, err = runner.run("--json", "out.json", "--trace", "kept.perf", "app.py")
    assert (status, "kept.perf" in err) == (0, True)
    shutil.rmtree(runner.segments)
    first = json.loads((runner.folder / "out.json").read_text())
    status, out, _ = runner.plain("-m", "libperf", "report", "--json", "kept.perf")
    again = json.loads(out)
    for name in ("exit_status", "took_s", "trace"):
        del first["program"][name]
    assert (status, again) == (0, first)


@pytest.mark.parametrize("option", ["--json", "--trace"])
@pytest.mark.parametrize("target", ["nosuch/out", "segments", "/dev/full"])
def test_files_that_cannot_be_written(runner: Runner, option: str, target: str) -> None:
    """An unwritable file is said in one line; the table is printed and the program's status passes through."""
    runner.write("app.py", WORK + "sys.exit(4)\n")
    status, _, err = runner.run(option, target, "app.py")
    assert status == 4
    assert "Traceback" not in err
    assert "other work" in err
    assert re.findall("^libperf run: cannot write (.*?):", err, re.MULTILINE) == [target]


def test_a_reader_that_leaves(runner: Runner) -> None:
    """`libperf run --json - app.py | head` ends without a complaint, with the program's status."""
    runner.write("app.py", WORK + "sys.stdout.close()\nsys.exit(4)\n")
    with runner.start("-m", "libperf", "run", "--json", "-", "app.py", bufsize=0) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(60) == 4
    assert "Broken" not in err and "Traceback" not in err


MANY = """\
import libperf
@libperf.trace
def work(): pass
for _ in range(300_000): work()
"""


def test_more_spans_than_a_ring_holds(runner: Runner) -> None:
    """Nothing is lost: what the ring writes over is in a trace file, which the report names."""
    runner.write("app.py", MANY)
    status, report = runner.json("app.py")
    assert (status, report["records"], report["lost"], calls_of(report)) == (0, 300_000, {}, {"work": 300_000})
    (trace,) = runner.folder.glob("libperf-*.perf")
    assert (report["program"]["trace"], trace.stat().st_mode & 0o777) == (str(trace), 0o600)
    shutil.rmtree(runner.segments)
    status, out, _ = runner.plain("-m", "libperf", "report", "--json", trace)
    assert (status, json.loads(out)["operations"]) == (0, report["operations"])


def test_more_spans_than_a_ring_holds_in_a_kept_trace(runner: Runner) -> None:
    """--trace FILE has them all, and there is no other file."""
    runner.write("app.py", MANY)
    status, _, err = runner.run("--trace", "kept.perf", "app.py")
    assert (status, "overwritten" in err) == (0, False)
    assert {path.name for path in runner.folder.iterdir()} == {"app.py", "kept.perf", "segments"}
    _, out, _ = runner.plain("-m", "libperf", "report", "--json", "kept.perf")
    report = json.loads(out)
    assert (report["records"], report["lost"]) == (300_000, {})


def test_more_spans_than_a_ring_holds_without_segments(runner: Runner) -> None:
    """Under LIBPERF_DIR=off the report has them all, and no file stays behind."""
    runner.environment["LIBPERF_DIR"] = "off"
    runner.write("app.py", MANY)
    status, out, err = runner.run("--json", "-", "app.py")
    report = json.loads(out)
    assert (status, report["records"], report["lost"], "not kept" in err) == (0, 300_000, {}, True)
    assert sorted(path.name for path in runner.folder.iterdir()) == ["app.py", "segments"]


def test_no_room_for_more_spans_than_a_ring_holds(runner: Runner) -> None:
    """Where nothing can be kept the report says how much was lost, and why."""
    runner.environment["LIBPERF_RING_BYTES"] = "65536"  # what is set already stays
    runner.write("app.py", MANY + "raise SystemExit(3)\n")
    status, _, err = runner.run("--trace", "nosuch/out", "--json", "out.json", "app.py")
    report = json.loads((runner.folder / "out.json").read_text())
    assert (status, calls_of(report)) == (3, {"work": 300_000})
    assert report["records"] + report["lost"]["records_overwritten"] == 300_000
    assert re.findall("^libperf run: cannot write (.*?):", err, re.MULTILINE) == ["nosuch/out"]


def test_without_segments(runner: Runner) -> None:
    """Under LIBPERF_DIR=off there is a report, and no file stays behind, unless --trace asks for one."""
    runner.environment["LIBPERF_DIR"] = "off"
    runner.write("app.py", WORK)
    status, _, err = runner.run("app.py")
    assert (status, "other work" in err, "not kept" in err) == (0, True, True)
    assert sorted(path.name for path in runner.folder.iterdir()) == ["app.py", "segments"]
    status, _, err = runner.run("--trace", "kept.perf", "app.py")
    assert (status, "kept.perf" in err, "not kept" in err) == (0, True, False)
    assert runner.plain("-m", "libperf", "report", "kept.perf")[0] == 0


def test_a_segment_that_breaks(runner: Runner) -> None:
    """A segment that cannot be read any more is an error of the report; the program's status passes through."""
    code = "libperf.segment_path().open('r+b').write(bytes(64))\nsys.exit(6)\n"
    runner.write("app.py", WORK + code)
    status, _, err = runner.run("app.py")
    assert status == 6
    assert "Traceback" not in err


# ---- wrong usage ----


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Give a script or -m MODULE"),
        (["--"], "Give a script or -m MODULE"),
        (["python"], "Give a script or -m MODULE"),
        (["-m"], "needs the name of a module"),
        (["missing.py", "app.py"], "'missing.py'"),
        (["python_missing.py", "app.py"], "'python_missing.py'"),
        (["--nosuch", "app.py"], "--nosuch"),
        (["--json"], "--json"),
    ],
    ids=str,
)
def test_wrong_usage(runner: Runner, words: list[str], said: str) -> None:
    """Status 2, and what to do instead; nothing is run."""
    runner.write("app.py", "print('it ran')")
    status, out, err = runner.run(*words)
    assert (status, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_nothing_was_recorded(runner: Runner) -> None:
    """A program without a span is reported as such, with its own status."""
    runner.write("app.py", "raise SystemExit(9)")
    status, out, err = runner.run("app.py")
    assert (status, out, err.count("\n")) == (9, "", 1)
    assert "nothing was recorded" in err


# ---- programs that do more ----


def test_a_program_that_configures(runner: Runner) -> None:
    """Our instruments leave configure() to the program: its service is the one in the report."""
    runner.write("app.py", "import libperf\nlibperf.configure(service='shop')\n" + WORK)
    status, report = runner.json("app.py")
    assert (status, report["program"]["service"]) == (0, "shop")


def test_multiprocessing_spawn(runner: Runner) -> None:
    """Processes that the program spawns find its functions, also those that they get by pickle."""
    code = """
import multiprocessing
def double(number): return 2 * number
if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool: print(pool.map(double, [1, 2]))
"""
    runner.write("app.py", WORK + code)
    for words in (["app.py"], ["-m", "app"]):
        status, out, err = runner.run(*words)
        assert (status, out) == (0, "[2, 4]\n")
        assert "other work" in err


def test_a_program_that_forks(runner: Runner) -> None:
    """The report is about the process that was started; what a fork's child records is the child's own."""
    code = """
import os
if (child := os.fork()) == 0:
    with libperf.span("in the child"): pass
    os._exit(0)
os.waitpid(child, 0)
with libperf.span("after it"): pass
"""
    runner.write("app.py", WORK + code)
    status, report = runner.json("app.py")
    assert status == 0
    assert calls_of(report) == {"work": 3, "other work": 1, "after it": 1}
    assert len(list(runner.segments.rglob("*.perf"))) == 2


# ---- news ----


def test_news(capsys: pytest.CaptureFixture[str]) -> None:
    """A line after 10 s, then ever more rarely, at least once a minute; it says what is going on."""
    news = News(1000.0)
    told: dict[int, str] = {}
    with libperf.span("an earlier one"), libperf.span("what is going on"), libperf.Reader() as reader:
        for second in range(300):
            news.tell(reader, 1000.0 + second)
            if text := capsys.readouterr().err:
                told[second] = text
    assert list(told) == [10, 30, 70, 130, 190, 250]
    assert all(text.count("\n") == 1 and "what is going on" in text for text in told.values())
    assert "10.0 s" in told[10]
    assert "250 s" in told[250]


def test_news_of_a_program_that_waits(runner: Runner) -> None:
    """The runner itself tells the news of a program that runs for long."""
    runner.write("app.py", BLOCK)
    code = "from libperf.cli import main, run\nrun.FIRST_NEWS_S = 0\nmain(['run', 'app.py'])"
    with runner.start("-c", code) as process:
        assert process.stderr is not None and process.stdin is not None
        line = process.stderr.readline()
        process.stdin.close()
        process.stderr.read()
    assert re.fullmatch(r"libperf: \S+ (s|ms|µs), \d spans(, now in span waiting)?\n", line)


def test_html(runner: Runner) -> None:
    """--html FILE writes a page; where it cannot be written that is said, and the status is the program's."""
    runner.write("app.py", WORK)
    status, _, err = runner.run("--html", "out.html", "app.py")
    assert (status, "cannot write" in err) == (0, False)
    assert (runner.folder / "out.html").read_text().startswith("<!doctype html>")
    status, _, err = runner.run("--html", "nosuch/out.html", "app.py")
    assert status == 0
    assert "cannot write nosuch/out.html: No such file or directory" in err
