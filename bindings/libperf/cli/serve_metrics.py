"""`libperf serve-metrics`: what all processes of this user record, for Prometheus to scrape."""

import argparse
import json
import os
import signal
import threading
from typing import get_args

from ..errors import NotFoundError, PerfError
from ..folders import folders, segments
from ..metrics_server import MetricsServer
from ..processes.counts import Bounds
from ..prometheus import Gathering, Gauges

EPILOG = """\
examples:
  libperf serve-metrics                          every process of yours, at http://127.0.0.1:9464/metrics
  libperf serve-metrics --pid 4711 4712          these two
  libperf serve-metrics --service api worker     those that were configured as one of these
  libperf serve-metrics --per-process            a label pid for each; gauges of each process
  libperf serve-metrics --buckets 0.1,0.5,1,5    other buckets
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Serve metrics of all processes of this user that record with libperf, as OpenMetrics and in the classic text "
        "format. Nothing is started in the programs, and PROMETHEUS_MULTIPROC_DIR is not needed."
    )
    parser.epilog = EPILOG
    parser.add_argument("--port", type=_port, default=9464, help="(9464); 0: any free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1); 0.0.0.0: all")
    parser.add_argument("--pid", type=int, nargs="+", default=[], metavar="PID", help="only these processes")
    parser.add_argument("--service", nargs="+", default=[], metavar="NAME", help="only processes of these services")
    parser.add_argument("--per-process", action="store_true", help="a label pid (mind the number of series)")
    parser.add_argument(
        "--gauges",
        choices=get_args(Gauges),
        default="last",
        help="how the gauges of several processes become one (last)",
    )
    parser.add_argument("--buckets", type=_bounds, metavar="SECONDS,…", help="upper bounds of durations")
    parser.add_argument("--no-gen-ai", action="store_true", help="without OpenTelemetry's names for models and tools")
    parser.add_argument("--no-exemplars", action="store_true", help="without the ids of a slow span for each bucket")
    parser.add_argument("--json", action="store_true", help="say where it listens as JSON")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 to 65535")
    return port


def _bounds(text: str) -> Bounds:
    try:
        return Bounds.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def main(options: argparse.Namespace) -> int:
    _check_pids(options.pid)
    gathering = Gathering(
        per_process=options.per_process,
        gauges=options.gauges,
        pids=options.pid,
        services=options.service,
        buckets=options.buckets,
        gen_ai=not options.no_gen_ai,
        exemplars=not options.no_exemplars,
    )
    try:
        server = MetricsServer(gathering, options.host, options.port)
    except OSError as error:
        raise PerfError(_cannot_listen(options.host, options.port, error)) from None
    with server:
        _serve(server, options.json)
    gathering.processes.close()
    return 0


def _check_pids(pids: list[int]) -> None:
    known = {found.pid for found in segments()} if pids else set()
    if missing := [pid for pid in pids if pid not in known]:
        where = ", ".join(map(str, folders())) or "any folder of yours"
        raise NotFoundError(
            f"process {missing[0]} has recorded nothing in {where}: "
            "is it running with libperf, as this user, under the same LIBPERF_DIR?"
        )


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    why = error.strerror or str(error)
    hint = ": another one may be running; use --port" if port else ""
    return f"cannot listen at {host} port {port} ({why}){hint}"


def _serve(server: MetricsServer, as_json: bool) -> None:
    """Until SIGTERM or Ctrl-C; both are a good end."""
    ends = {signal.SIGTERM, signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # in all threads: they are waited for below
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    try:
        thread.start()
        if as_json:
            print(json.dumps({"url": server.url, "pid": os.getpid()}), flush=True)
        else:
            print(f"libperf serves metrics at {server.url} (Ctrl-C ends it)", flush=True)
        signal.sigwait(ends)
    finally:
        server.shutdown()
        thread.join(10)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
