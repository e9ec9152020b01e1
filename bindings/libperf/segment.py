"""Where this process's measurements lie, and the settings it starts with."""

import logging
import os
from pathlib import Path
from typing import Any

from ._core import ffi, lib
from .errors import StartedError, check, text_to_bytes
from .metrics import UINT64_MAX

__all__ = ["configure", "flush", "segment_path"]

logger = logging.getLogger("libperf")

_started_early = False  # before the program's first line, by `libperf run` or LIBPERF_PROFILE=1


def stay_as_started() -> None:
    """The segment has started before the program could configure() it: from now on that is no error."""
    global _started_early
    _started_early = True


def configure(
    *,
    service: str | None = None,
    dir: str | os.PathLike[str] | None = None,
    max_bytes: int | None = None,
    ring_bytes: int | None = None,
) -> None:
    """Settings, before the first span or metric. Optional: arguments > LIBPERF_* environment > defaults.

    service:    shown by reports (LIBPERF_SERVICE)
    dir:        folder for the segment, best on a memory file system; "off" keeps it private (LIBPERF_DIR)
    max_bytes:  bound of the segment, 256 KiB to 4 GiB; default 64 MiB (LIBPERF_MAX_BYTES)
    ring_bytes: finished spans kept per thread, 64 KiB to 1 GiB; default 4 MiB, 65 thousand spans
                (LIBPERF_RING_BYTES)
    Raises StartedError when something has been recorded already, OutOfRangeError for sizes. Under `libperf run`, which
    records from before the first line, the service is set and a warning names what is not.
    """
    config = ffi.new("perf_segment_config *")
    lib.perf_segment_config_init(config, ffi.sizeof(config[0]))
    kept: list[Any] = []  # the texts, until C has copied them

    def text(value: str | os.PathLike[str]) -> Any:
        kept.append(ffi.new("char[]", text_to_bytes(value)))
        return kept[-1]

    if service is not None:
        config.service = text(service)
    if dir is not None:
        config.dir = text(dir)
    for field, value in (("max_bytes", max_bytes), ("ring_bytes", ring_bytes)):
        if value is not None:
            setattr(config, field, min(max(0, int(value)), UINT64_MAX))
    try:
        check(lib.perf_segment_start(config), f"configure(max_bytes={max_bytes!r}, ring_bytes={ring_bytes!r})")
    except StartedError as error:
        if not _started_early:
            late = "configure() comes too late, a span or metric was recorded before: call it first"
            raise StartedError(late) from error
        if service is not None:
            check(lib.perf_segment_set_service(config.service), f"configure(service={service!r})")
        given = {"dir": dir, "max_bytes": max_bytes, "ring_bytes": ring_bytes}
        if ignored := [name for name, value in given.items() if value is not None]:
            names = ", ".join(f"{name} (LIBPERF_{name.upper()})" for name in ignored)
            logger.warning("the program was being recorded before configure(), which does not change %s", names)


def segment_path() -> Path | None:
    """This process's segment; None while nothing was recorded, or when it is private memory."""
    out = ffi.new("char[]", lib.PERF_PATH_MAX_BYTES)
    if lib.perf_segment_path(out, lib.PERF_PATH_MAX_BYTES):
        return None
    raw = bytes(ffi.string(out))
    return Path(os.fsdecode(raw)) if raw else None


def flush() -> None:
    """Mark the segment as complete up to now: for programs that end by os._exit(). Recording goes on afterwards."""
    lib.perf_segment_finish()
