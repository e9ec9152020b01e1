"""The command `libperf mock`: a MockLLM in the terminal, alone or around a program."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from .mock_llm import MockLLM
from .records import RequestRecord, Summary
from .script import load_replies

DESCRIPTION = """\
Serves the OpenAI API on this machine, so that any agent runs offline, at no cost and with known latencies.
With `-- COMMAND` it runs that program with OPENAI_BASE_URL and a dummy OPENAI_API_KEY set, and ends with its status.
Without, it serves until Ctrl-C."""

EPILOG = """\
times:    seconds (0.8), 800ms, or a distribution:
            uniform:0.2,1.5   normal:0.8,0.1   lognormal:0.8,0.3 (median, spread)   exponential:0.5   samples:0.2,0.4,3
          for each model: 'gpt-4o*=lognormal:1.2,0.4;*=0.3'
errors:   shares by kind: 500:0.1,429:0.05,disconnect:0.01,stall:0.02   (0.1 alone means 500:0.1)
script:   a JSON list of replies; the first that matches is used:
            [{"match": "weather", "tool_calls": [{"name": "lookup", "arguments": {"city": "Oslo"}}], "times": 1},
             {"regex": "^sunny", "text": "Take sunglasses.", "latency": 0.2},
             {"match": "crash", "status": 503}]

examples:
  libperf mock -- python agent.py
  libperf mock --latency lognormal:0.8,0.3 --seed 7 -- pytest tests
  libperf mock --port 8080 --ttft 300ms --tokens-per-second 60
  libperf mock --errors 429:0.2 --retry-after 0.5 -- python agent.py
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `libperf mock` to `parser`, and sets its description and epilog."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--port", type=int, default=0, metavar="N", help="TCP port (default: a free one)")
    add("--latency", default="0", metavar="SPEC", help="time of a whole answer (default: 0)")
    add("--ttft", metavar="SPEC", help="time to the first token (default: as --latency)")
    add("--tokens-per-second", metavar="N", help="rate of the answer after its first token (default: no limit)")
    add("--seed", type=int, default=0, metavar="N", help="another seed gives other answers and times (default: 0)")
    add("--errors", default="", metavar="SPEC", help="shares of requests that fail (default: none)")
    add("--retry-after", type=float, default=1.0, metavar="S", help="seconds told with 429 and 503 (default: 1)")
    add("--stall-seconds", type=float, default=5.0, metavar="S", help="how long a stalled answer halts (default: 5)")
    add("--tool-rounds", type=int, default=1, metavar="N", help="turns of tool calls before the text (default: 1)")
    add("--parallel-tool-calls", type=int, default=1, metavar="N", help="tool calls in one turn (default: 1)")
    add("--reply-tokens", default="uniform:20,60", metavar="SPEC", help="length of text answers (uniform:20,60)")
    add("--script", metavar="FILE.json", help="scripted replies")
    add("--quiet", action="store_true", help="print no line per request and no summary")
    add("command", nargs="*", metavar="COMMAND", help="program to run against the server, after --")


def main(argv: list[str]) -> int:
    """Runs `libperf mock` with the words after ``mock``; returns the exit status (2 for a bad value)."""
    parser = argparse.ArgumentParser(prog="libperf mock")
    add_arguments(parser)
    # Split by hand: what stands after the first "--" belongs to the command, whatever it looks like.
    own, command = (argv[: argv.index("--")], argv[argv.index("--") + 1 :]) if "--" in argv else (argv, [])
    try:
        arguments = parser.parse_args(own)
    except SystemExit as stop:  # argparse has printed the help or the error already
        return stop.code if isinstance(stop.code, int) else 2
    if "--" in argv and not command:
        return _complain("there is no command after --: write for example libperf mock -- python agent.py")
    arguments.command += command
    return run(arguments)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command from parsed arguments (see `add_arguments`); returns the exit status."""
    serving = not arguments.command
    try:
        server = _server(arguments, _print_request if serving and not arguments.quiet else None)
    except (ValueError, TypeError) as error:
        return _complain(str(error))
    try:
        server.start()
    except OSError as error:
        return _complain(error.strerror or str(error))
    try:
        status = _serve(server) if serving else _run_command(server, arguments.command)
    finally:
        server.close()
    if not arguments.quiet:
        print(_summary_line(server.summary()), file=sys.stdout if serving else sys.stderr, flush=True)
    return status


def _complain(message: str) -> int:
    print(f"libperf mock: {message}", file=sys.stderr)
    return 2


def _server(arguments: argparse.Namespace, on_finish: Callable[[RequestRecord], None] | None) -> MockLLM:
    return MockLLM(
        port=arguments.port,
        seed=arguments.seed,
        latency=arguments.latency,
        ttft=arguments.ttft,
        tokens_per_second=arguments.tokens_per_second,
        errors=arguments.errors,
        retry_after=arguments.retry_after,
        stall_seconds=arguments.stall_seconds,
        tool_rounds=arguments.tool_rounds,
        parallel_tool_calls=arguments.parallel_tool_calls,
        reply_tokens=arguments.reply_tokens,
        replies=load_replies(arguments.script) if arguments.script else (),
        keep_requests=1,  # the summary needs totals only, and a server may run for weeks
        on_finish=on_finish,
    )


def _print_request(record: RequestRecord) -> None:
    fate = "client left" if record.client_left else record.status or "dropped"
    note = f"  {record.error}" if record.error else f"  ({record.fault})" if record.fault else ""
    print(
        f"{record.path}  {record.model or '-'}  {fate}  {record.served or 0.0:.3f} s  "
        f"{record.prompt_tokens}+{record.completion_tokens} tokens{note}",
        file=sys.stderr,
        flush=True,
    )


def _summary_line(summary: Summary) -> str:
    mean = "-" if math.isnan(summary.mean_latency) else f"{summary.mean_latency:.3f} s"
    return (
        f"MockLLM: {summary.requests} requests, {summary.errors} errors, "
        f"{summary.prompt_tokens}+{summary.completion_tokens} tokens (prompt+completion), mean latency {mean}"
    )


_Handler = Callable[[int, FrameType | None], Any]


@contextlib.contextmanager
def _signals(handler: _Handler, *numbers: signal.Signals) -> Iterator[None]:
    """Handles signals for a while; does nothing outside the main thread, where Python does not allow it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in earlier.items():
            signal.signal(number, old)


def _serve(server: MockLLM) -> int:
    stop = threading.Event()
    with _signals(lambda number, frame: stop.set(), signal.SIGINT, signal.SIGTERM):
        print(f"MockLLM listens on {server.base_url}")
        for name, value in server.environment().items():
            print(f"export {name}={value}")
        sys.stdout.flush()
        stop.wait()
    return 0


def command_environment(server: MockLLM) -> dict[str, str]:
    """The environment of a command run against `server`: this process's own, pointed at the server."""
    environment = {**os.environ, **server.environment()}
    environment["OPENAI_API_BASE"] = server.base_url  # what clients of the first generation read
    for name in ("NO_PROXY", "no_proxy"):  # a proxy of the company cannot reach this machine's own address
        environment[name] = ",".join(filter(None, [environment.get(name, ""), "127.0.0.1"]))
    return environment


def _run_command(server: MockLLM, command: list[str]) -> int:
    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and _terminal_tells_all():
            return
        for child in children:
            child.send_signal(number)
        if not children:
            early.append(number)

    with _signals(forward, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        try:
            child = subprocess.Popen(command, env=command_environment(server))
        except FileNotFoundError:
            print(f"libperf mock: command not found: {command[0]!r}", file=sys.stderr)
            return 127
        except OSError as error:
            print(f"libperf mock: cannot run {command[0]!r}: {error.strerror}", file=sys.stderr)
            return 126
        children.append(child)
        for number in early:  # came while the program was being started
            child.send_signal(number)
        status = child.wait()
    return 128 - status if status < 0 else status


def _terminal_tells_all() -> bool:
    """Whether Ctrl-C in the terminal reaches the program by itself, being in the foreground with us."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False


__all__ = ["add_arguments", "command_environment", "main", "run"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
