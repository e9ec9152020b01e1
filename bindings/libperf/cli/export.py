"""`libperf export`: a recording as a file of another tool."""

import argparse
import sys
import time
from collections.abc import Callable
from io import BufferedIOBase
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from ..errors import InvalidError
from ..exports import FORMATS, Format, default_name, find_format, write
from ..exports.folded import WEIGHTS
from ..reader import Reader
from ..units import size
from .report import resolve

EPILOG = """\
examples:
  libperf export agent.perf --to perfetto              a file written by `libperf run --trace agent.perf agent.py`
  libperf export 4711 --to speedscope                  the process with this id, running or dead
  libperf export agent.perf --to pprof -o agent.pb.gz
  libperf export agent.perf --to folded -o - | flamegraph.pl --countname ns > agent.svg
  libperf export agent.perf --to folded --weight cpu   CPU samples in place of the time that spans took
  libperf export agent.perf --to otlp --endpoint http://localhost:4318

formats:
"""

LARGE = 16 << 20  # bytes of a recording that take a second to read
NEWS_AFTER_S, NEWS_EVERY_S = 1.0, 0.25
CLEAR = "\r\x1b[K"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write a recording as a file that other tools open."
    parser.epilog = EPILOG + "\n".join(f"  {format.name:<12} {format.help}" for format in FORMATS.values())
    parser.add_argument("target", metavar="FILE|PID", help="a trace file, or the id of a process of this machine")
    parser.add_argument("--to", metavar="FORMAT", required=True, choices=FORMATS, help="see below")
    parser.add_argument("-o", "--out", metavar="OUT", help="the file; - is standard output (default: named after FILE)")
    parser.add_argument("--weight", choices=WEIGHTS, help="of folded stacks (default: cpu where there are samples)")
    parser.add_argument("--endpoint", metavar="URL", help="of otlp: send it there in place of writing a file")
    parser.add_argument("--encoding", choices=("json", "protobuf"), help="of otlp (default: json)")
    parser.add_argument("--signals", metavar="LIST", help="of otlp: traces,metrics,logs, or some of them")


# Words of the command line that become options of formats.
OPTIONS = ("weight", "endpoint", "encoding", "signals")


class Progress(BufferedIOBase):
    """A file that tells a terminal how much was written into it, when that takes long."""

    def __init__(self, file: BinaryIO, terminal: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.file = file
        self.terminal = terminal
        self.clock = clock
        self.bytes = 0
        self.next = clock() + NEWS_AFTER_S
        self.told = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.bytes += self.file.write(data)
        now = self.clock()
        if now >= self.next:
            self.next = now + NEWS_EVERY_S
            self.told = True
            self.terminal.write(f"{CLEAR}libperf: {size(self.bytes)} written")
            self.terminal.flush()
        return len(data)

    def flush(self) -> None:
        self.file.flush()

    def clear(self) -> None:
        """Take the line back."""
        if self.told:
            self.terminal.write(CLEAR)
            self.terminal.flush()


def main(options: argparse.Namespace) -> int:
    from ..reporting.table import LOSSES

    given = {word: value for word in OPTIONS if (value := getattr(options, word)) is not None}
    format = find_format(options.to, given)
    with Reader(resolve(options.target)) as reader:
        if options.out == "-":
            if format.binary and sys.stdout.isatty():
                raise InvalidError(f"{format.name} is binary, and standard output is a terminal: -o FILE, or a pipe")
            notes = write(format, reader, sys.stdout.buffer, given)
        else:
            source = options.target if options.target.isdecimal() else reader.path
            out = Path(options.out) if options.out else default_name(format, source)
            notes = _write_file(format, reader, out, given)
        losses = reader.info.losses
    for note in (*notes, *(f"{count:,} {LOSSES[name]}" for name, count in losses.items())):
        print(f"libperf: {note}", file=sys.stderr)
    return 0


def _write_file(format: Format, reader: Reader, out: Path, given: dict[str, Any]) -> list[str]:
    """Write, and say what was written and with what it is opened."""
    shown: list[Progress] = []

    def watch(file: BinaryIO) -> BinaryIO:
        shown.append(Progress(file, sys.stderr))
        return cast(BinaryIO, shown[0])

    if not sys.stderr.isatty():
        notes = write(format, reader, out, given)
    else:
        if (large := reader.info.used_bytes) >= LARGE:
            print(f"libperf: reading {size(large)} …", file=sys.stderr)
        try:
            notes = write(format, reader, out, given, watch)
        finally:
            for progress in shown:
                progress.clear()
    if not (format.instead and format.instead in given):
        written = f" ({size(out.stat().st_size)})" if out.is_file() else ""
        print(f"libperf: wrote {out}{written}; open it with: {format.opens.format(file=out)}", file=sys.stderr)
    return notes
