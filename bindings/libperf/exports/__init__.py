"""Recordings as files of other tools: `libperf export FILE|PID --to FORMAT` and libperf.export().

A format is a module of this package and one entry of FORMATS. The module has

    write(reader, out, **options) -> list[str] | None

which writes what the reader's file holds into an open file, a binary one or UTF-8 text as the entry says, and returns
notes for people (what is missing). Formats share trace.py, tracks.py, paths.py, conventions.py, and do not know each other.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..errors import InvalidError, PerfError
from ..reader import Reader, find_segment

__all__ = ["FORMATS", "Format", "default_name", "export", "write"]


class Format(NamedTuple):
    """What a recording can be exported as."""

    name: str  # of --to
    module: str  # of this package
    suffix: str  # of a file that is not named
    binary: bool
    help: str  # one line
    opens: str  # with what it is looked at; {file} stands for the file
    options: tuple[str, ...] = ()  # keywords that write() takes; on the command line --WORD
    instead: str = ""  # the one of them with which nothing is written into a file, and `out` is None


FORMATS: dict[str, Format] = {
    format.name: format
    for format in (
        Format(
            "perfetto",
            "perfetto",
            ".perfetto.json",
            False,
            "timeline of spans, tasks, threads, samples and memory (Chrome's Trace Event Format)",
            "https://ui.perfetto.dev",
        ),
        Format(
            "speedscope",
            "speedscope",
            ".speedscope.json",
            False,
            "flame graph of each task and thread, in order of time or by weight",
            "https://www.speedscope.app",
        ),
        Format(
            "folded",
            "folded",
            ".folded",
            False,
            "one line a stack, for flamegraph.pl and many others",
            "flamegraph.pl --countname ns {file} > flame.svg",
            ("weight",),
        ),
        Format("pprof", "pprof", ".pb.gz", True, "Go's profile.proto", "go tool pprof -http=: {file}"),
        Format(
            "otlp",
            "otlp",
            ".otlp.jsonl",
            True,
            "OpenTelemetry's requests as lines of JSON, or sent: --endpoint URL",
            "the collector's otlpjsonfile receiver",
            ("endpoint", "encoding", "signals"),
            "endpoint",
        ),
        Format(
            "openmetrics",
            "openmetrics",
            ".openmetrics.txt",
            False,
            "metrics with exemplars, as Prometheus reads them",
            "promtool check metrics < {file}",
        ),
    )
}


def export(
    source: "Reader | str | os.PathLike[str] | int | None" = None,
    *,
    to: str,
    out: "str | os.PathLike[str] | BinaryIO | None" = None,
    **options: Any,
) -> Path | None:
    """Write a recording as a file of another tool.

    >>> libperf.export("agent.perf", to="speedscope")
    PosixPath('agent.speedscope.json')

    source: a trace or segment file, a process id, a Reader, or None: this process up to now
    to: "perfetto", "speedscope", "folded", "pprof", "otlp" or "openmetrics"
    out: a path, replaced when it exists, and only when everything is written; or a binary file that is open. None: a name
        made of the source's, in the current folder
    options: of the format: `weight` of folded stacks ("wall", "cpu", "allocated"); of OTLP `endpoint` (sent there, no file is
        written), `encoding` ("json", "protobuf"), `signals` ("traces", "metrics", "logs", with commas)
    Returns the path that was written; None for an open file.
    InvalidError names what there is; NotFoundError: there is no such recording, or nothing of that kind in it; PerfError:
    the file cannot be written.
    """
    format = find_format(to, options)
    if isinstance(source, Reader):
        path = _target(format, out, source.path)
        write(format, source, path, options)
    else:
        found = find_segment(source) if isinstance(source, int) else source
        with Reader(found) as reader:
            path = _target(format, out, f"{source}" if isinstance(source, int) else reader.path)
            write(format, reader, path, options)
    return path if isinstance(path, Path) else None


def find_format(to: str, options: dict[str, Any]) -> Format:
    """The format of that name; InvalidError when there is none, or when it does not take these options."""
    format = FORMATS.get(to)
    if format is None:
        raise InvalidError(f"to={to!r} is no format: use one of {', '.join(FORMATS)}")
    for option in options:
        if option not in format.options:
            known = f"takes {', '.join(format.options)}" if format.options else "has no options"
            raise InvalidError(f"{option}={options[option]!r}: format {to} {known}")
    return format


def default_name(format: Format, source: "str | os.PathLike[str] | None") -> Path:
    """`agent.perf` becomes `agent.speedscope.json` in the current folder; a process is called by its id."""
    return Path(f"{Path(source).stem if source else os.getpid()}{format.suffix}")


def _target(
    format: Format, out: "str | os.PathLike[str] | BinaryIO | None", source: "str | os.PathLike[str] | None"
) -> "Path | BinaryIO":
    if out is None:
        return default_name(format, source)
    return Path(out) if isinstance(out, (str, os.PathLike)) else out


def write(
    format: Format,
    reader: Reader,
    out: "Path | BinaryIO",
    options: dict[str, Any],
    watch: Callable[[BinaryIO], BinaryIO] = lambda file: file,
) -> list[str]:
    """Let a format write; returns its notes. PerfError when the file cannot be written; then an old one is still there.

    watch: given the open file, returns what is written into in its place
    """
    module = import_module(f"{__name__}.{format.module}")
    if format.instead and options.get(format.instead) is not None:
        return list(module.write(reader, None, **options) or ())
    if isinstance(out, Path):
        try:
            with written_whole(out) as file:
                return _write_open(module, format, reader, watch(file), options)
        except OSError as error:
            if isinstance(error, PerfError):
                raise
            raise PerfError(f"cannot write {out}: {error.strerror or error}") from None
    return _write_open(module, format, reader, watch(out), options)


def _write_open(module: Any, format: Format, reader: Reader, file: BinaryIO, options: dict[str, Any]) -> list[str]:
    if format.binary:
        return list(module.write(reader, file, **options) or ())
    text = TextIOWrapper(file, encoding="utf-8", errors="replace", newline="\n")
    try:
        notes = list(module.write(reader, text, **options) or ())
    except BaseException:
        with suppress(OSError, ValueError):
            text.detach()  # or it would close the file, which may be the caller's
        raise
    text.detach()
    return notes


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path`, which takes its place when everything is in it. What is no ordinary file (/dev/stdout, a pipe)
    is written into as it is."""
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve()  # a link stays a link
    beside = path.with_name(f".libperf-{os.urandom(8).hex()}")
    try:
        with beside.open("xb") as file:
            yield file
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o777)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
