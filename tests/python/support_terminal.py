"""A terminal to run a program in: a pty, what is on its screen, keys, and other sizes."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable
from typing import Any, Self

PATIENCE_S = 60.0  # a generous bound: nothing here is right because of it
SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
OTHER_SCREEN, USUAL_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """Runs a command as the leader of its own session on a pty."""

    def __init__(self, command: list[str], environment: dict[str, str], size: tuple[int, int] = (80, 24)) -> None:
        self.near, self.far = pty.openpty()
        self.written = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.resize(*size, tell=False)
        self.before: list[Any] = termios.tcgetattr(self.far)
        environment = {**environment, "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=self.far,
            stdout=self.far,
            stderr=self.far,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        for end in (self.near, self.far):
            if end >= 0:
                os.close(end)

    def resize(self, columns: int, rows: int, tell: bool = True) -> None:
        fcntl.ioctl(self.near, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if tell:
            os.kill(self.process.pid, signal.SIGWINCH)

    def press(self, keys: str) -> None:
        os.write(self.near, keys.encode())

    def modes(self) -> list[Any]:
        """Of the terminal now, as termios has them."""
        return termios.tcgetattr(self.far)

    @property
    def screen(self) -> list[str]:
        """The lines of the last whole picture, without colours."""
        last = self.written.rpartition("\x1b[H")[2]
        return [line.rstrip() for line in SEQUENCE.sub("", last).replace("\r", "").split("\n")]

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self.near], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            self.written += self._decoder.decode(os.read(self.near, 65536))
        except OSError:  # the other end is closed
            return False
        return True

    def until(self, holds: Callable[[str], bool]) -> str:
        """Read until that holds of the screen; what is on it then."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds("\n".join(self.screen)):
            if not self._read(deadline):
                raise AssertionError(f"status {self.process.poll()}, screen:\n" + "\n".join(self.screen))
        return "\n".join(self.screen)

    def shows(self, *texts: str) -> str:
        return self.until(lambda screen: all(text in screen for text in texts))

    def until_written(self, text: str) -> None:
        """Read until the program has written that, from now on."""
        start, deadline = len(self.written), time.monotonic() + PATIENCE_S
        while text not in self.written[start:]:
            assert self._read(deadline), self.written[start:]

    def close(self) -> None:
        """The window is closed."""
        os.close(self.near)
        self.near = os.open(os.devnull, os.O_RDONLY)

    def ends(self) -> int:
        """Wait for the program's end; its status."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            self._read(min(deadline, time.monotonic() + 0.05))
            assert time.monotonic() < deadline
        while self._read(time.monotonic()):
            pass
        return self.process.returncode

    def is_restored(self) -> bool:
        """The usual screen, a cursor, and the modes of before."""
        return (
            self.written.rfind(USUAL_SCREEN) > self.written.rfind(OTHER_SCREEN)
            and self.written.rfind(SHOWN) > self.written.rfind(HIDDEN)
            and self.modes() == self.before
        )
