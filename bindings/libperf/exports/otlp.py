"""Segments and trace files as OTLP: files that OpenTelemetry's tools read, or requests to a receiver.

A file of JSON has a request a line, as the collector's file exporter writes them and its `otlpjsonfile` receiver reads
them. A file of protobuf holds one signal: it is one ExportTraceServiceRequest (or of metrics, or logs), whatever its
size, for requests that follow each other are one request.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

from .._core import ffi, lib
from .._handle import Handle
from ..errors import InvalidError, UnreachableError, check
from ..otlp import Exporter, Stats, configure_encoder
from ..otlp.settings import SIGNALS, Settings, settle
from ..reader import Reader

__all__ = ["Encoder", "send", "write"]


class Encoder(Handle):
    """Requests, one after the other, of what a reader has. `settings.urls` says which signals."""

    __slots__ = ("_kept", "_reader")

    def __init__(self, reader: Reader, settings: Settings) -> None:
        config, out = ffi.new("perf_otlp_config *"), ffi.new("perf_otlp **")
        self._kept: list[Any] = []
        self._reader = reader
        lib.perf_otlp_config_init(config, ffi.sizeof(config[0]))
        config.signals = sum(1 << SIGNALS.index(signal) for signal in settings.urls)
        configure_encoder(config, settings, self._kept)
        check(lib.perf_otlp_create(reader._get(), config, out), "encoding as OTLP")
        super().__init__(out[0], lib.perf_otlp_destroy)

    def bodies(self) -> Iterator[tuple[str, int, bytes]]:
        """Signal, items and bytes of each request: records, lines without their span, then totals."""
        body = ffi.new("perf_otlp_body *")
        more: tuple[Callable[[], int], ...] = (
            lambda: int(lib.perf_otlp_records(self._get(), body)),
            lambda: int(lib.perf_otlp_rest(self._get(), body)),
            lambda: int(lib.perf_otlp_metrics(self._get(), 0, body)),
        )
        for next_body in more:
            while True:
                check(next_body(), "encoding as OTLP")
                if not body.items:
                    break
                yield SIGNALS[body.signal], int(body.items), bytes(ffi.buffer(body.bytes, body.size))

    @property
    def stats(self) -> dict[str, int]:
        """spans, events, log_records, data_points, dropped, lost, lines_waiting."""
        raw = ffi.new("perf_otlp_stats *")
        lib.perf_otlp_stats_now(self._get(), raw)
        return {name: int(getattr(raw, name)) for name, _ in ffi.typeof("perf_otlp_stats").fields}


def write(
    reader: Reader,
    out: IO[bytes] | None,
    *,
    encoding: str = "json",
    signals: str | Iterable[str] | None = None,
    endpoint: str | None = None,
    **options: Any,
) -> list[str]:
    """Write what a reader has to a binary stream, or send it; returns notes about what is missing.

    encoding: "json": all signals, a request a line; "protobuf": one signal, "traces" unless `signals` says another
    signals:  names, or a text with commas between them
    endpoint: send it there in place of writing; `out` is None
    options:  as of libperf.otlp.start()
    """
    if encoding not in ("json", "protobuf"):
        raise InvalidError(f"encoding={encoding!r} is none of: json, protobuf")
    if isinstance(signals, str):
        signals = signals.split(",")
    if endpoint is not None:
        if reader.path is None:
            raise InvalidError("endpoint: this process itself is exported by libperf.otlp.start()")
        send(reader.path, endpoint, signals=signals, **options)
        return []
    if out is None:
        raise InvalidError("there is neither a file to write into nor an endpoint to send to")
    if signals is None and encoding == "protobuf":
        signals = ["traces"]
    settings = settle(signals=signals, protocol=f"http/{encoding}", environment={}, **options)
    if encoding == "protobuf" and len(settings.urls) != 1:
        raise InvalidError(
            f"signals={list(settings.urls)!r}: a file of protobuf holds one signal; name one, or use JSON"
        )
    with Encoder(reader, settings) as encoder:
        for _, _, body in encoder.bodies():
            out.write(body if encoding == "protobuf" else body + b"\n")
        return _notes(encoder.stats)


def _notes(stats: dict[str, int]) -> list[str]:
    words = {"lost": "records had been overwritten", "dropped": "items found no memory, or no place"}
    return [f"{stats[name]:,} {text}" for name, text in words.items() if stats[name]]


def send(
    path: str | os.PathLike[str],
    endpoint: str | None = None,
    *,
    within: float = 60.0,
    **options: Any,
) -> Stats:
    """Send a segment or trace file to a receiver; UnreachableError when not all of it was taken `within` so many seconds.
    Options are those of libperf.otlp.start(), and so is what the environment says."""
    settings = settle(endpoint=endpoint, environment=os.environ, **options)
    exporter = Exporter(settings, path)
    try:
        done = exporter.flush(within) and exporter.stop(within)
        stats = exporter.stats()
    finally:
        exporter.close()
    lanes = (stats.traces, stats.metrics, stats.logs)
    if not done or any(lane.rejected or lane.dropped for lane in lanes):
        raise UnreachableError(
            f"{os.fspath(path)!r} was not taken as a whole: {stats.error or 'there was not enough time'}"
        )
    return stats
