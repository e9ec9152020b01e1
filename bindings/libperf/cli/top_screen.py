"""The screen of `libperf top`: what it shows, and what keys do."""

import argparse
import time

from rich.console import Console, Group, RenderableType
from rich.text import Text

from ..live import SORTS, Live, Picture
from ..live.table import NOBODY, Line, View, list_lines, operations_of, process_lines, sorted_processes
from ..live.watched import SECOND, Watched
from .screen import Frame, Gone, Screen
from .top_plain import title

__all__ = ["Top"]

AROUND = 3  # lines that are no list: the title, the one below it, the keys
PAUSED_S = 3600.0
KEYS = "q quit  ↑↓ choose  enter closer  s sort  / filter  w window  p pause  h help"
KEYS_OF_ONE = "q quit  ↑↓ choose  esc back  s sort  / filter  w window  p pause  h help"
HELP = """\
q, Ctrl-C        quit
↑ ↓              choose a process; an operation, whose last minute is drawn
enter, →         look closer at the process that is chosen
escape, ←        back to all processes
s                sort by time spent, calls, P95, errors
/                show only what contains a text; enter keeps it, escape ends it
w                rates and percentiles: of the last seconds, or of all time
p, space         pause, go on

calls/s, err/s   spans that ended; of those, with an error
open, oldest     spans that go on now; how long the oldest has lasted
busiest, P95     where calls spent the most time, all calls added up; its P95
P50, P95, P99    nearest rank over the window, within 0.4 %
lost             what found no room in the process's segment
"""


class Top:
    """`run()` follows the processes until somebody quits."""

    def __init__(self, live: Live, options: argparse.Namespace, console: Console) -> None:
        self.live = live
        self.options = options
        self.console = console
        self.view = View(int(options.window * SECOND), options.sort)
        self.filters = {"processes": "", "operations": ""}
        self.chosen: Watched | None = None  # None: the first one
        self.row = 0  # of its operations
        self.closer = len(options.pids) == 1
        self.paused = self.helping = self.typing = False
        self.picture: Picture | None = None

    def run(self) -> int:
        """The command's status: 0, also when the terminal has gone; 143 after SIGTERM."""
        try:
            with Screen(self.console) as screen:
                return self._follow(screen)
        except (Gone, KeyboardInterrupt):
            return 0

    def _follow(self, screen: Screen) -> int:
        looks = 0
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if self.picture is None or (not self.paused and now >= due):
                if looks == self.options.count:
                    return 0
                looks += 1
                self.picture = self.live.refresh()
                due = max(due + self.options.interval, now)  # what was missed is not made up for
            screen.show(self.draw(self.picture))
            for event in screen.wait(PAUSED_S if self.paused else due - time.monotonic()):
                if event == "terminate":
                    return 143
                if event == "interrupt" or (event == "q" and not self.typing):
                    return 0
                self.press(event)

    # ---- what is shown ----

    @property
    def place(self) -> str:
        return "operations" if self.closer else "processes"

    def draw(self, picture: Picture) -> Frame:
        width, height = self.console.size
        self.view.height = height - AROUND
        if self.closer and self._process(picture) is None and self.options.pids == []:
            self.closer = False
        self.view.filter = self.filters[self.place]
        more = ["paused"] if self.paused else []
        head = [title(picture, self.view, self.options, *more), Text()]
        return Frame(Group(*head, *self._body(picture, width)), self._last())

    def _body(self, picture: Picture, width: int) -> list[RenderableType]:
        if self.helping:
            return [Text(HELP)]
        if not self.closer:
            lines = sorted_processes(picture, self.view)
            self.view.chosen = self._place_of(lines)
            return [*list_lines(picture, lines, self.view, width)]
        process = self._process(picture)
        if process is None:
            return [Text(NOBODY)]
        self.row = max(0, min(self.row, len(operations_of(process, self.view)) - 1))
        self.view.chosen = self.row
        return process_lines(process, self.view, width)

    def _last(self) -> Text:
        if self.typing:
            text = f"show only what contains: {self.filters[self.place]}▏  enter keeps it, escape ends it"
        elif self.helping:
            text = "any key goes back"
        else:
            text = KEYS_OF_ONE if self.closer else KEYS
        return Text(text, style="dim", no_wrap=True, overflow="ellipsis")

    def _place_of(self, lines: list[Line]) -> int:
        return next((at for at, line in enumerate(lines) if line.process is self.chosen), 0)

    def _process(self, picture: Picture) -> Watched | None:
        """The one that is looked at closer."""
        if self.chosen in picture.processes:
            return self.chosen
        self.chosen = next(iter(picture.processes), None) if self.options.pids else None
        return self.chosen

    # ---- keys ----

    def press(self, key: str) -> None:
        """What a key does; others do nothing."""
        if key == "resize":
            return
        if self.typing:
            self._type(key)
        elif self.helping:
            self.helping = False
        elif key in ("h", "?"):
            self.helping = True
        elif key in ("p", " "):
            self.paused = not self.paused
        elif key == "s":
            self.view.sort = SORTS[(SORTS.index(self.view.sort) + 1) % len(SORTS)]
        elif key == "w":
            self.view.window_ns = None if self.view.window_ns else int(self.options.window * SECOND)
        elif key == "/":
            self.typing = True
        else:
            self._move(key)

    def _type(self, key: str) -> None:
        text = self.filters[self.place]
        if key == "enter":
            self.typing = False
        elif key == "escape":
            self.typing, text = False, ""
        elif key == "backspace":
            text = text[:-1]
        elif len(key) == 1 and key.isprintable():
            text += key
        self.filters[self.place] = text

    def _move(self, key: str) -> None:
        page = max(1, (self.view.height or 2) - 2)
        steps = {
            "up": -1,
            "k": -1,
            "down": 1,
            "j": 1,
            "page up": -page,
            "page down": page,
            "home": -(10**6),
            "end": 10**6,
        }
        if key in steps and self.closer:
            self.row = max(0, self.row + steps[key])
        elif key in steps and self.picture:
            if lines := sorted_processes(self.picture, self.view):
                at = min(max(0, self._place_of(lines) + steps[key]), len(lines) - 1)
                self.chosen = lines[at].process
        elif key in ("enter", "right") and not self.closer and self.picture:
            if lines := sorted_processes(self.picture, self.view):
                self.chosen = lines[self._place_of(lines)].process
                self.closer, self.row = True, 0
        elif key in ("escape", "left", "backspace") and self.closer:
            self.closer = False
        elif key == "escape":
            self.filters[self.place] = ""
