"""Keeping what a program's rings would write over, while it runs."""

import os
from pathlib import Path

from ._core import ffi, lib
from ._handle import Handle
from .errors import check, text_to_bytes

__all__ = ["Drain"]


class Drain(Handle):
    """Copies from a segment, step by step, what its rings are going to write over; makes a trace file in the end.

    segment:    of a program that runs
    trace:      the file that finish() writes; until then what is kept lies in its folder, without a name
    Threads: one at a time. The program is never disturbed.
    """

    __slots__ = ("trace",)

    def __init__(self, segment: str | os.PathLike[str], trace: str | os.PathLike[str]) -> None:
        out = ffi.new("perf_drain **")
        code = lib.perf_drain_open_blocking(text_to_bytes(segment), text_to_bytes(trace), ffi.NULL, out)
        check(code, f"draining {os.fspath(segment)!r}")
        super().__init__(out[0], lib.perf_drain_close)
        self.trace = Path(trace)

    def step(self) -> None:
        """Copy what is complete since the last step: often enough, or it is lost, and counted by readers."""
        check(lib.perf_drain_step_blocking(self._get()), f"keeping records for {self.trace}")

    @property
    def chunks(self) -> int:
        """How many pieces of 64 KiB the segment itself had lost by the last step; 0: it is as good as a trace file."""
        return int(lib.perf_drain_chunks(self._get()))

    def finish(self) -> None:
        """Write the trace file, once the program has ended."""
        check(lib.perf_drain_finish_blocking(self._get()), f"cannot write {self.trace}")
