"""The terminal while it is ours: the other screen, keys without Enter, and everything put back however it ends."""

import os
import select
import signal
import sys
import termios
import tty
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live as Drawing
from rich.segment import Segment
from rich.text import Text

__all__ = ["Frame", "Gone", "Screen", "keys_in"]

ESCAPES = {
    "[A": "up", "OA": "up", "[B": "down", "OB": "down", "[C": "right", "OC": "right", "[D": "left", "OD": "left",
    "[5~": "page up", "[6~": "page down", "[H": "home", "OH": "home", "[F": "end", "OF": "end",
}  # fmt: skip
PLAIN = {"\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\x08": "backspace", "\x03": "interrupt"}
SIGNALS = {
    signal.SIGWINCH: "resize",
    signal.SIGINT: "interrupt",
    signal.SIGTERM: "terminate",
    signal.SIGTSTP: "suspend",
    signal.SIGCONT: "continue",
}
REST_S = 0.025  # an arrow's bytes may come in pieces


class Gone(Exception):
    """There is no terminal any more."""


class Frame:
    """A body, cut to what fits, above a last line."""

    def __init__(self, body: RenderableType, last: Text) -> None:
        self.body = body
        self.last = last

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        lines = console.render_lines(self.body, options.reset_height(), pad=False)[: max(0, height - 1)]
        for line in lines:
            yield from line
            yield Segment.line()
        for _ in range(height - 1 - len(lines)):
            yield Segment.line()
        yield from console.render_lines(self.last, options.update(height=1), pad=False)[0]


def keys_in(text: str) -> list[str]:
    """What was typed: characters, and names of other keys. An escape that nobody knows is none."""
    found, at = [], 0
    while at < len(text):
        if text[at] != "\x1b":
            found.append(PLAIN.get(text[at], text[at]))
            at += 1
            continue
        known = next((escape for escape in ESCAPES if text.startswith(escape, at + 1)), None)
        if known:
            found.append(ESCAPES[known])
            at += 1 + len(known)
        elif text[at + 1 : at + 2] in ("[", "O"):
            at += 2
            while at < len(text) and not "@" <= text[at] <= "~":
                at += 1
            at += 1
        else:
            found.append("escape")
            at += 1
    return found


class Screen:
    """`with Screen(console) as screen:` show() draws, wait() gives keys and what happened to the terminal.

    Only in the main thread. Gone is raised when the terminal has been closed.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._in = sys.stdin.fileno()
        self._drawing: Drawing | None = None
        self._events: list[str] = []
        self._modes: list[Any] | None = None
        self._handlers: dict[int, Any] = {}
        self._wakeup = -1
        self._pipe = (-1, -1)

    # ---- taking the terminal, and giving it back ----

    def __enter__(self) -> Self:
        self._modes = termios.tcgetattr(self._in)
        self._pipe = os.pipe()
        for end in self._pipe:
            os.set_blocking(end, False)
        self._wakeup = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        try:
            for number in SIGNALS:
                self._handlers[number] = signal.signal(number, self._note)
            self._take()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._give_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        for end in self._pipe:
            os.close(end)

    def _take(self) -> None:
        tty.setcbreak(self._in, termios.TCSANOW)
        self._drawing = Drawing(
            console=self.console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._drawing.start()

    def _give_back(self) -> None:
        drawing, self._drawing = self._drawing, None
        with suppress(OSError):  # it may be gone
            if drawing:
                drawing.stop()
        with suppress(OSError, termios.error):
            if self._modes is not None:
                termios.tcsetattr(self._in, termios.TCSADRAIN, self._modes)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._events.append(SIGNALS[signal.Signals(number)])

    # ---- drawing, waiting ----

    def show(self, renderable: RenderableType) -> None:
        """Draw it over what was there."""
        try:
            if self._drawing:
                self._drawing.update(renderable, refresh=True)
        except OSError:
            raise Gone from None

    def wait(self, timeout: float) -> list[str]:
        """Keys, "resize", "interrupt" or "terminate"; nothing when the time is over. Suspending is done in here."""
        if not self._events:
            ready, _, _ = select.select([self._in, self._pipe[0]], [], [], max(0.0, timeout))
            if self._pipe[0] in ready:
                with suppress(BlockingIOError):
                    os.read(self._pipe[0], 4096)
            if self._in in ready:
                self._events += keys_in(self._read())
        events, self._events = self._events, []
        if "suspend" in events:
            self._suspend()
        elif "continue" in events:  # somebody stopped us by SIGSTOP: the terminal was another's meanwhile
            self._give_back()
            self._take()
        return ["resize" if event in ("suspend", "continue") else event for event in events]

    def _read(self) -> str:
        try:
            raw = os.read(self._in, 4096)
            while raw and b"\x1b" in raw[-3:-1] + raw[-1:] and select.select([self._in], [], [], REST_S)[0]:
                more = os.read(self._in, 4096)
                if not more:
                    break
                raw += more
        except OSError:
            raise Gone from None
        if not raw:
            raise Gone
        return raw.decode("utf-8", "replace")

    def _suspend(self) -> None:
        """Ctrl-Z: the shell gets its terminal back as it was, until `fg`."""
        self._give_back()
        handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, handler)
        self._take()
        self._events = [event for event in self._events if event != "continue"]
