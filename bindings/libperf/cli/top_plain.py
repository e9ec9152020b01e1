"""`libperf top` without a screen: snapshots as text or JSON, into a pipe or a file."""

import argparse
import json
import os
import sys
import time

from rich.console import Console, Group, RenderableType
from rich.text import Text

from ..live import Live, Picture
from ..live.plain import picture_dict
from ..live.table import View, list_lines, process_lines, sorted_processes
from ..live.watched import SECOND

__all__ = ["snapshots", "title"]


def snapshots(live: Live, options: argparse.Namespace) -> int:
    """A look before, and then one after each interval."""
    left = 1 if options.once else options.count
    due = time.monotonic()
    try:
        live.refresh()
        while left is None or left > 0:
            due = max(due + options.interval, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            picture = live.refresh()
            if options.json:
                sys.stdout.write(json.dumps({"time": time.time(), **picture_dict(picture, options.window)}) + "\n")
            else:
                write_plain(picture, options)
            sys.stdout.flush()
            left = None if left is None else left - 1
    except KeyboardInterrupt:
        pass
    return 0


def write_plain(picture: Picture, options: argparse.Namespace) -> None:
    console = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)
    view = View(int(options.window * SECOND), options.sort)
    lines = sorted_processes(picture, view)
    parts: list[RenderableType] = [title(picture, view, options), Text()]
    if options.pids:
        for line in lines:
            parts += [*process_lines(line.process, view, console.width), Text()]
    else:
        parts += [*list_lines(picture, lines, view, console.width), Text()]
    with console.capture() as text:  # rich would end us with status 1 when nobody reads any more
        console.print(Group(*parts))
    sys.stdout.write(text.get())


def title(picture: Picture, view: View, options: argparse.Namespace, *more: str) -> Text:
    alive = sum(process.ended is None for process in picture.processes) + picture.more
    gone = sum(process.ended is not None for process in picture.processes)
    facts = [f"{alive:,} running" + (f", {gone} ended" if gone else "")]
    whole = view.window_ns is None or not picture.interval  # the first look has nothing to compare with
    facts.append("since the beginning" if whole else f"last {options.window:g} s")
    facts.append(f"by {view.sort}")
    if view.filter:
        facts.append(f"only {view.filter!r}")
    found = Text.assemble(("libperf top", "bold"), "  ", " · ".join([*facts, *more]))
    found.no_wrap, found.overflow = True, "ellipsis"
    return found
