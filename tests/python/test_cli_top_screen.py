"""The screen of `libperf top` in a real terminal: keys, other sizes, signals; it is always given back as it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from libperf.cli.screen import keys_in
from libperf.live.table import NOBODY
from support_terminal import OTHER_SCREEN, Terminal

Start = Callable[..., "subprocess.Popen[str]"]
UP, DOWN, ESCAPE = "\x1b[A", "\x1b[B", "\x1b"

AGENT = """if True:
    import sys
    import libperf

    libperf.configure(service=sys.argv[1])
    names = ["plan", "ask", "read", "write"]
    for number, name in enumerate(names):
        for _ in range(int(sys.argv[2]) * (number + 1)):
            with libperf.span(name, kind="node"):
                pass
    for name in ("graph", "inner"):
        libperf.span(name, kind="graph").__enter__()
    print("ready", flush=True)
    for line in sys.stdin:
        with libperf.span("late"):
            pass
        print("done", flush=True)
    """


@pytest.fixture
def open_top(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Start `libperf top` in a terminal of 80 by 24."""
    opened: list[Terminal] = []

    def start(*words: str, interval: str = "0.1", **environment: str) -> Terminal:
        command = [sys.executable, "-m", "libperf", "top", "--interval", interval, *words]
        usual = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        opened.append(Terminal(command, {**usual, "LIBPERF_DIR": str(tmp_path), **environment}))
        return opened[-1]

    yield start
    for terminal in opened:
        with terminal:
            pass


@pytest.fixture
def agents(start: Start) -> list[subprocess.Popen[str]]:
    """Two: the first one has more to do."""
    return [start(AGENT, "alpha", 50), start(AGENT, "beta", 1)]


def lines_with(screen: str, text: str) -> list[str]:
    return [line for line in screen.splitlines() if text in line]


# ---- what is shown ----


def test_nobody_runs_and_then_somebody_does(open_top: Callable[..., Terminal], start: Start) -> None:
    """The screen says what to do; who comes is shown."""
    top = open_top()
    screen = top.shows("records now", "q quit")
    assert len(screen.splitlines()) == 24 and NOBODY in " ".join(screen.split())
    start(AGENT, "alpha", 1)
    top.shows("alpha", "1 running")
    top.press("q")
    assert (top.ends(), top.is_restored()) == (0, True)


def test_it_fits_into_the_terminal(open_top: Callable[..., Terminal], agents: object) -> None:
    """80 by 24, then other sizes, down to absurd ones: always as many lines as there are, none too wide."""
    top = open_top()
    top.shows("alpha", "beta", "open now, oldest first")
    for columns, rows in ((120, 40), (40, 10), (200, 50), (1, 1), (10, 2), (80, 24)):
        top.resize(columns, rows)
        top.until(
            lambda screen, columns=columns, rows=rows: (
                len(screen.split("\n")) == rows and all(len(line) <= columns for line in screen.split("\n"))
            )
        )
    top.shows("alpha", "beta", "q quit")


def test_choosing_and_looking_closer(open_top: Callable[..., Terminal], agents: list[subprocess.Popen[str]]) -> None:
    """Down and enter open the second process; escape goes back; another arrow, enter: the first one."""
    top = open_top("--sort", "calls")
    top.shows("alpha", "beta")
    top.press(DOWN + "\r")
    screen = top.shows("P50", "node plan", "graph inner", "esc back")
    assert f"{agents[1].pid} beta" in screen
    assert lines_with(screen, "graph inner")[-1].index("graph") > lines_with(screen, "graph graph")[-1].index("graph")
    top.press(ESCAPE)
    top.shows("enter closer", "alpha")
    top.press(UP + "\r")
    top.shows(f"{agents[0].pid} alpha", "P50")
    top.press("\x1b[D")  # left
    top.shows("enter closer")
    top.press("q")
    assert (top.ends(), top.is_restored()) == (0, True)


def test_one_process_fills_the_screen(open_top: Callable[..., Terminal], agents: list[subprocess.Popen[str]]) -> None:
    """A process that was asked for is shown closer at once; arrows choose the operation that is drawn."""

    def drawn(screen: str) -> str:
        return next(iter(lines_with(screen, "calls/s ")), "")  # while it is drawn there may be none

    top = open_top("--sort", "calls", "--window", "600", str(agents[0].pid))  # however long starting takes
    top.until(lambda screen: "P50" in screen and drawn(screen).endswith("node write"))
    top.press(DOWN + DOWN)
    top.until(lambda screen: drawn(screen).endswith("node ask"))
    top.press("\x1b[H")  # home
    top.until(lambda screen: drawn(screen).endswith("node write"))


def test_sorting(open_top: Callable[..., Terminal], agents: object) -> None:
    """s goes through all orders and comes back."""
    top = open_top()
    for order in ("by time", "by calls", "by P95", "by errors", "by time"):
        top.shows(order)
        top.press("s")


def test_a_filter(open_top: Callable[..., Terminal], agents: object) -> None:
    """What is typed narrows the list at once; enter keeps it, backspace and escape take it away. q is a letter there."""
    top = open_top()
    top.shows("alpha", "beta")
    top.press("/bq")
    top.shows("contains: bq", "no process matches 'bq'")
    top.press("\x7fe")
    top.until(lambda screen: "contains: be" in screen and "beta" in screen and "alpha" not in screen)
    top.press("\r")
    top.until(lambda screen: "only 'be'" in screen and "q quit" in screen and "alpha" not in screen)
    top.press("/")
    top.shows("contains: be")
    top.press(ESCAPE)
    top.shows("alpha", "beta", "q quit")


def test_pausing(open_top: Callable[..., Terminal], agents: list[subprocess.Popen[str]]) -> None:
    """Nothing changes until it goes on; keys still do something."""
    top = open_top()
    top.shows("2 running")
    top.press("p")
    top.shows("paused")
    agents[1].kill()
    agents[1].communicate()
    top.press("s")
    top.shows("by calls", "2 running", "paused")
    top.press("p")
    top.until(lambda screen: "1 running" in screen and "killed" in screen and "paused" not in screen)


def test_windows_and_help(open_top: Callable[..., Terminal], agents: object) -> None:
    """w: since the beginning and back; h: what keys do."""
    top = open_top("--window", "7")
    top.shows("last 7 s")
    top.press("w")
    top.shows("since the beginning")
    top.press("w")
    top.shows("last 7 s")
    top.press("h")
    top.shows("look closer at the process", "any key goes back")
    top.press("x")
    top.shows("q quit")


def test_so_many_looks(open_top: Callable[..., Terminal], agents: object) -> None:
    """-n ends it."""
    top = open_top("-n", "3")
    assert (top.ends(), top.is_restored()) == (0, True)
    assert OTHER_SCREEN in top.written


def test_no_colour(open_top: Callable[..., Terminal], agents: object) -> None:
    """NO_COLOR is followed: no colour of any kind is written; the chosen line still stands out."""
    top = open_top(NO_COLOR="1")
    top.shows("alpha")
    colours = [
        code for code in top.written.split("\x1b[")[1:] if code[:2] in ("31", "32", "33", "34", "35", "36", "38")
    ]
    assert colours == []
    with_colours = open_top()
    with_colours.shows("alpha")
    assert "\x1b[36m" in with_colours.written or "\x1b[38" in with_colours.written or "\x1b[1m" in with_colours.written


# ---- how it ends ----


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (lambda top: top.press("q"), 0),
        (lambda top: top.press("\x03"), 0),
        (lambda top: top.process.send_signal(signal.SIGINT), 0),
        (lambda top: top.process.send_signal(signal.SIGTERM), 143),
    ],
    ids=["q", "ctrl-c", "SIGINT", "SIGTERM"],
)
def test_it_ends_and_gives_the_terminal_back(
    open_top: Callable[..., Terminal], agents: object, end: Callable[[Terminal], None], status: int
) -> None:
    """The usual screen, its cursor and modes; nothing is said."""
    top = open_top(interval="30")
    top.shows("alpha")
    assert top.modes() != top.before
    end(top)
    assert (top.ends(), top.is_restored(), "Traceback" in top.written) == (status, True, False)


def test_an_exception_gives_the_terminal_back(
    open_top: Callable[..., Terminal], agents: object, tmp_path: Path
) -> None:
    """A fault of ours is told on the usual screen."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'top' in sys.argv or '-m' in sys.orig_argv:\n"
        "    from libperf.cli import top_screen\n"
        "    draw = top_screen.Top.draw\n"
        "    def fail(self, picture, times=[]):\n"
        "        times.append(1)\n"
        "        if len(times) > 3: raise RuntimeError('a fault of ours')\n"
        "        return draw(self, picture)\n"
        "    top_screen.Top.draw = fail\n"
    )
    top = open_top(PYTHONPATH=str(tmp_path))
    assert top.ends() == 1
    assert top.is_restored()
    assert "a fault of ours" in top.written.rpartition("\x1b[?1049l")[2]


def test_a_window_that_is_closed(open_top: Callable[..., Terminal], agents: object) -> None:
    """It ends by itself."""
    top = open_top()
    top.shows("alpha")
    os.close(top.far)
    top.far = -1
    top.close()
    assert top.process.wait(60) in (0, -signal.SIGHUP)


SHELL = """if True:
    import json, os, signal, sys, termios

    def say(what): os.write(1, (what + "\\n").encode())

    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
    before = termios.tcgetattr(0)[:4]
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        os.tcsetpgrp(0, os.getpid())
        if not os.WIFSTOPPED(status):
            say(f"ENDED {os.waitstatus_to_exitcode(status)}")
            break
        say(f"STOPPED by {os.WSTOPSIG(status)} restored {termios.tcgetattr(0)[:4] == before}")
        os.read(0, 100)
        os.tcsetpgrp(0, child)
        os.kill(child, signal.SIGCONT)
    """


@pytest.fixture
def in_shell(tmp_path: Path) -> Iterator[Terminal]:
    """`libperf top` as the job of a little shell."""
    command = [sys.executable, "-c", SHELL, "-m", "libperf", "top", "--interval", "0.1"]
    with Terminal(command, {**os.environ, "LIBPERF_DIR": str(tmp_path)}) as terminal:
        yield terminal


def test_ctrl_z_and_back(agents: object, in_shell: Terminal) -> None:
    """The shell gets its terminal as it was; with `fg` the screen is there again, and keys work."""
    in_shell.shows("alpha", "q quit")
    for _ in range(2):
        in_shell.press("\x1a")
        in_shell.until_written("restored True")
        assert in_shell.written.rfind("\x1b[?1049l") > in_shell.written.rfind("\x1b[?1049h")
        in_shell.press("fg\n")
        in_shell.until_written(OTHER_SCREEN)
        in_shell.shows("alpha", "q quit")
    in_shell.press("q")
    in_shell.until_written("ENDED 0")


def test_sigstop_and_sigcont(open_top: Callable[..., Terminal], agents: object) -> None:
    """Somebody stops it, uses the terminal, and lets it go on: everything is drawn again, and keys work."""
    top = open_top(interval="30")
    top.shows("alpha")
    os.kill(top.process.pid, signal.SIGSTOP)
    os.waitpid(top.process.pid, os.WUNTRACED)
    subprocess.run(["stty", "sane"], stdin=top.far, check=True)
    os.kill(top.process.pid, signal.SIGCONT)
    top.until_written(OTHER_SCREEN)
    top.shows("alpha")
    top.press("h")
    top.shows("any key goes back")
    top.press("qq")
    assert (top.ends(), top.is_restored()) == (0, True)


# ---- keys ----


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        ("qs/", ["q", "s", "/"]),
        ("\x1b[A\x1bOB\x1b[C", ["up", "down", "right"]),
        ("\x1b[5~\x1b[6~\x1b[H\x1b[F", ["page up", "page down", "home", "end"]),
        ("\x1b", ["escape"]),
        ("\x1bq", ["escape", "q"]),
        ("\x1b[1;5Aq", ["q"]),  # Ctrl-Up: nothing of ours
        ("\x1b[200~", []),
        ("\r\n\t\x7f\x08\x03", ["enter", "enter", "tab", "backspace", "backspace", "interrupt"]),
        ("ö名", ["ö", "名"]),
        ("\x1b[", []),
    ],
)
def test_keys(typed: str, keys: list[str]) -> None:
    """Characters, names, and nothing for what nobody knows."""
    assert keys_in(typed) == keys


def test_a_terminal_that_can_do_nothing(open_top: Callable[..., Terminal], agents: object) -> None:
    """On a dumb terminal there are snapshots."""
    command = [sys.executable, "-m", "libperf", "top", "--json", "-n", "1", "--interval", "0.1"]
    top = open_top("--once")
    assert top.ends() == 0
    assert OTHER_SCREEN not in top.written and "alpha" in top.written
    found = subprocess.run(
        command, env={**os.environ, "LIBPERF_DIR": "/nonexistent"}, text=True, capture_output=True, check=True
    )
    assert json.loads(found.stdout)["processes"] == []
