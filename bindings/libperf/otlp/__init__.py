"""OpenTelemetry: spans, metrics and log lines of this process, sent by a thread that never takes the GIL.

>>> libperf.otlp.start("http://localhost:4318")    # or LIBPERF_OTLP=1, and nothing in the program
>>> libperf.otlp.flush()
True
>>> libperf.otlp.stop()
True

What a program says nothing about is taken from OpenTelemetry's own variables: OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS,
_TIMEOUT, _COMPRESSION, _PROTOCOL, _CERTIFICATE, _CLIENT_CERTIFICATE, _CLIENT_KEY; for one signal alone
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT and so on; OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_EXPORTER=none.
"""

import atexit
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .._core import ffi, lib
from ..errors import ClosedError, StartedError, UnsupportedError, check, text_to_bytes
from .settings import SIGNALS, Settings, settle

__all__ = ["Exporter", "Lane", "Stats", "flush", "start", "stats", "stop"]

logger = logging.getLogger("libperf")

GZIP, CURL = 2, 1


@dataclass(frozen=True, slots=True)
class Lane:
    """What became of one signal's items: spans, data points, log records."""

    sent: int  # accepted by the receiver
    rejected: int  # refused by it: partial success, 400 and the like
    dropped: int  # no room while it was away, or no time at the end
    superseded: int  # data points: newer totals took their place
    waiting: int  # now
    requests: int
    failures: int  # requests that are made again
    bytes: int  # of accepted bodies, as they were sent


@dataclass(frozen=True, slots=True)
class Stats:
    """Everything since start()."""

    traces: Lane
    metrics: Lane
    logs: Lane
    lost: int  # records that were overwritten before they were read: a larger ring_bytes keeps them
    unencoded: int  # items that found no memory
    queue_bytes: int
    most_queue_bytes: int
    reads: int  # of the segment
    running: bool
    error: str  # the last thing that went wrong, in words; empty: nothing did


class Exporter:
    """One exporter; see start() for the settings. `path`: a segment or trace file in place of this process's own.
    Threads: any."""

    def __init__(self, settings: Settings, path: str | os.PathLike[str] | None = None) -> None:
        if not lib.perf_exporter_features() & CURL:
            raise UnsupportedError(
                "libperf was built without libcurl, so it sends nothing: apt-get install libcurl4-openssl-dev, then build "
                "again; `libperf export --to otlp -o FILE` works without it"
            )
        if settings.gzip and not lib.perf_exporter_features() & GZIP:
            raise UnsupportedError(
                "compression='gzip': libperf was built without zlib: apt-get install zlib1g-dev, then build again"
            )
        self.settings = settings
        self._pointer: Any = None
        self._lock = threading.Lock()  # of closing
        kept: list[Any] = []  # the texts, until C has copied them
        config = _config(settings, path, kept)
        field, out = ffi.new("char **"), ffi.new("perf_exporter **")
        code = lib.perf_exporter_start_blocking(config, ffi.cast("const char **", field), out)
        if code:
            check(code, _what(settings, ffi.string(field[0]).decode() if field[0] else "", path))
        self._pointer = out[0]

    def flush(self, timeout: float = 10.0) -> bool:
        """Read what was recorded up to now, and wait until it was sent, or refused. False: not within `timeout` seconds,
        or it has stopped; what is left goes on waiting for its turn."""
        code = lib.perf_exporter_flush_blocking(self._pointer, _ns(timeout, "timeout"))
        if code in (lib.PERF_ERR_TIMEOUT, lib.PERF_ERR_CLOSED):
            return False
        check(code, "flush()")
        return True

    def stop(self, timeout: float = 5.0) -> bool:
        """Send what there is, each body once, within `timeout` seconds. False: something had to be dropped, and was
        counted. Stopping twice is allowed."""
        return not lib.perf_exporter_stop_blocking(self._pointer, _ns(timeout, "timeout"))

    def stats(self) -> Stats:
        raw = ffi.new("perf_exporter_stats *")
        lib.perf_exporter_stats_now(self._pointer, raw)
        lanes = [Lane(*(getattr(raw.lane[i], name) for name in Lane.__slots__)) for i in range(len(SIGNALS))]
        numbers = (raw.lost, raw.unencoded, raw.queue_bytes, raw.most_queue_bytes, raw.reads)
        error = bytes(ffi.string(raw.error)).decode("utf-8", "replace")
        traces, metrics, logs = lanes
        return Stats(traces, metrics, logs, *numbers, bool(raw.running), error)

    def close(self) -> None:
        """Stop it without waiting, and free it. Nobody may be using it."""
        with self._lock:
            pointer, self._pointer = self._pointer, ffi.NULL
        lib.perf_exporter_destroy_blocking(pointer or ffi.NULL)


def _ns(seconds: float, name: str) -> int:
    if not isinstance(seconds, (int, float)) or not seconds >= 0:
        raise ValueError(f"{name}={seconds!r} is not a number of seconds (0 or more)")
    return int(min(seconds, 1e9) * 1e9)


def _what(settings: Settings, field: str, path: object) -> str:
    """What was tried, for an error: the setting that is wrong, with its value but for headers, which are secret."""
    if field.endswith("_url"):
        url = settings.urls.get(field.removesuffix("_url"))
        return f"exporting to {url!r}: neither a user nor a password in it, and header names and values must be plain"
    if field:
        return f"exporting with {field.removesuffix('_ns')}={getattr(settings, field.removesuffix('_ns'), '?')!r}"
    return f"exporting {os.fspath(path)!r}" if isinstance(path, (str, os.PathLike)) else "starting to export"


def _config(settings: Settings, path: str | os.PathLike[str] | None, kept: list[Any]) -> Any:
    config = ffi.new("perf_exporter_config *")
    lib.perf_exporter_config_init(config, ffi.sizeof(config[0]))

    def text(value: str | os.PathLike[str] | None) -> Any:
        if value is None:
            return ffi.NULL
        kept.append(ffi.new("char[]", text_to_bytes(value)))
        return kept[-1]

    def pairs(values: Mapping[str, str]) -> Any:
        kept.append(ffi.new("char *[]", [*(text(part) for pair in values.items() for part in pair), ffi.NULL]))
        return kept[-1]

    for signal in SIGNALS:
        setattr(config, f"{signal}_url", text(settings.urls.get(signal)))
        setattr(config, f"{signal}_headers", pairs(settings.headers.get(signal, {})))
    config.ca, config.certificate, config.key = map(
        text, (settings.certificate, settings.client_certificate, settings.client_key)
    )
    config.path = text(path)
    config.gzip = settings.gzip
    config.interval_ns = _ns(settings.interval, "interval")
    config.metrics_interval_ns = _ns(settings.metrics_interval, "metrics_interval")
    config.timeout_ns = _ns(settings.timeout, "timeout")
    config.backoff_min_ns, config.backoff_max_ns = (_ns(seconds, "backoff") for seconds in settings.backoff)
    config.max_queue_bytes = settings.max_queue_bytes
    configure_encoder(config.otlp, settings, kept)
    return config


def configure_encoder(config: Any, settings: Settings, kept: list[Any]) -> None:
    """A perf_otlp_config; `kept` holds the texts as long as it is used."""
    config.format = lib.PERF_OTLP_JSON if settings.json else lib.PERF_OTLP_PROTOBUF
    config.lines = lib.PERF_OTLP_LINES_RECORDS if settings.logs == "records" else lib.PERF_OTLP_LINES_EVENTS
    config.histograms = lib.PERF_OTLP_EXPLICIT if settings.histograms == "explicit" else lib.PERF_OTLP_EXPONENTIAL
    if settings.max_body_bytes:
        config.max_bytes = settings.max_body_bytes
    parts = [part.encode("utf-8", "replace").replace(b"\0", b"") for pair in settings.resource.items() for part in pair]
    texts = [ffi.new("char[]", part) for part in parts]
    kept += texts
    kept.append(ffi.new("char *[]", [*texts, ffi.NULL]))
    config.resource = kept[-1]


# ---- the one of this process ----

_lock = threading.Lock()
_running: Exporter | None = None
_exit_timeout = 5.0


def start(
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    interval: float = 5.0,
    protocol: str | None = None,
    *,
    metrics_interval: float = 60.0,
    signals: Iterable[str] | None = None,
    service: str | None = None,
    resource: Mapping[str, object] | None = None,
    timeout: float | None = None,
    compression: str | None = None,
    certificate: str | os.PathLike[str] | None = None,
    client_certificate: str | os.PathLike[str] | None = None,
    client_key: str | os.PathLike[str] | None = None,
    logs: str = "events",
    histograms: str = "exponential",
    max_queue_bytes: int = 32 << 20,
    backoff: tuple[float, float] = (1.0, 30.0),
    exit_timeout: float = 5.0,
) -> Exporter:
    """Send what this process records, from now on until stop(), or its end. Arguments > OTEL_* variables > defaults.

    endpoint:    of the receiver; "v1/traces" and so on is added. Default http://localhost:4318
    headers:     for every request: {"authorization": "Bearer ..."}
    interval:    seconds between readings of the segment; it is read more often while there is much
    protocol:    "http/protobuf" (default) or "http/json"
    metrics_interval: seconds between sendings of all totals
    signals:     which of "traces", "metrics", "logs"; default all
    service:     service.name; default the segment's service (libperf.configure), else "unknown_service"
    resource:    more attributes of the resource
    timeout:     seconds for one request; default 10
    compression: "gzip", or "none" (default)
    certificate: file with the certificates to trust (PEM); client_certificate, client_key: our own
    logs:        "events": a log line becomes an event of its span; "records": a log record with the span's ids
    histograms:  "exponential" or "explicit": what durations become
    max_queue_bytes: bodies that wait while the receiver is away; beyond it the oldest are dropped, and counted
    backoff:     shortest and longest time between attempts, in seconds
    exit_timeout: seconds that the end of the program may wait for what is not sent yet
    A forked child starts its own. Raises StartedError (it runs already), InvalidError, OutOfRangeError, UnsupportedError
    (built without libcurl).
    """
    settings = settle(
        endpoint=endpoint,
        headers=headers,
        interval=interval,
        protocol=protocol,
        metrics_interval=metrics_interval,
        signals=signals,
        service=service,
        resource={"host.name": socket.gethostname(), **(resource or {})},
        timeout=timeout,
        compression=compression,
        certificate=certificate,
        client_certificate=client_certificate,
        client_key=client_key,
        logs=logs,
        histograms=histograms,
        max_queue_bytes=max_queue_bytes,
        backoff=backoff,
        environment=os.environ,
    )
    _ns(exit_timeout, "exit_timeout")
    global _running, _exit_timeout
    with _lock:
        if _running is not None:
            raise StartedError("libperf.otlp has been started already: stop() it first")
        _running, _exit_timeout = Exporter(settings), exit_timeout
        return _running


def _take() -> Exporter | None:
    global _running
    with _lock:
        exporter, _running = _running, None
    return exporter


def stop(timeout: float = 5.0) -> bool:
    """Send what is left, at most `timeout` seconds long, and stop. False: something was dropped. True when it does not
    run."""
    exporter = _take()
    return exporter is None or exporter.stop(timeout)


def flush(timeout: float = 10.0) -> bool:
    """Send what was recorded up to now: Exporter.flush(). False when it does not run."""
    exporter = _running
    return exporter is not None and exporter.flush(timeout)


def stats() -> Stats:
    """What was sent, refused, dropped. ClosedError when it does not run."""
    exporter = _running
    if exporter is None:
        raise ClosedError("libperf.otlp does not run: start() it")
    return exporter.stats()


def start_from_environment() -> None:
    """For LIBPERF_OTLP=1: the program goes on, whatever is wrong with the settings."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return
    try:
        start()
    except Exception as error:
        logger.warning("LIBPERF_OTLP: nothing is exported: %s", error)


# ---- the end of the process, and forks ----


def _at_exit() -> None:
    exporter = _take()
    if exporter is not None and not exporter.stop(_exit_timeout):
        logger.debug("libperf.otlp: not all was sent: %s", exporter.stats())


def _in_child() -> None:
    global _lock, _running
    _lock = threading.Lock()
    before, _running = _running, None
    if before is None:
        return
    try:
        _running = Exporter(before.settings)
    except Exception as error:
        logger.warning("libperf.otlp: nothing is exported in this child process: %s", error)
    util = sys.modules.get("multiprocessing.util")
    if util is not None:  # its children end without atexit; it clears what was registered before it begins
        util.register_after_fork(_multiprocessing, lambda _: util.Finalize(None, _at_exit, exitpriority=0))


def _multiprocessing() -> None:
    """Something that lives as long as this module: multiprocessing keeps hooks only with their object."""


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_in_child)
