"""`libperf mock` as a program: around a command, on its own, and with bad values."""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import libperf.testing
from libperf.testing import mock_command

RUN = "import sys; from libperf.testing.mock_command import main; sys.exit(main(sys.argv[1:]))"
ASK = """
import http.client, json, os, urllib.parse
url = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
assert os.environ["OPENAI_API_KEY"] and os.environ["OPENAI_API_BASE"] == os.environ["OPENAI_BASE_URL"]
assert "127.0.0.1" in os.environ["NO_PROXY"]
connection = http.client.HTTPConnection(url.hostname, url.port)
body = {"model": "m", "messages": [{"role": "user", "content": "weather"}]}
connection.request("POST", url.path + "/chat/completions", json.dumps(body))
answer = json.load(connection.getresponse())
print(answer["choices"][0]["message"]["content"] if "choices" in answer else answer["error"]["message"])
"""


def start(*words: str) -> subprocess.Popen[str]:
    paths = [str(Path(libperf.testing.__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*words: str) -> tuple[int, str, str]:
    with start(*words) as process:
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


def test_a_command_finds_the_server(tmp_path: Path) -> None:
    """A command runs with the server's address and key set, gets scripted replies, and a summary follows."""
    script = tmp_path / "replies.json"
    script.write_text(json.dumps([{"match": "WEATHER", "text": "It rains."}]))
    status, out, err = run("--script", str(script), "--latency", "1ms", "--", sys.executable, "-c", ASK)
    assert (status, out) == (0, "It rains.\n")
    assert "1 requests, 0 errors" in err
    status, out, err = run("--quiet", "--errors", "503:1", "--", sys.executable, "-c", ASK)
    assert "status 503" in out
    assert err == ""


def test_the_status_of_the_command_is_passed_on() -> None:
    """The exit status of the command is that of `libperf mock`; a signal counts as 128 and its number."""
    assert run("--quiet", "--", sys.executable, "-c", "raise SystemExit(7)")[0] == 7
    kill = "import os; os.kill(os.getpid(), 9)"
    assert run("--quiet", "--", sys.executable, "-c", kill)[0] == 128 + 9
    status, _, err = run("--quiet", "--", "no-such-program-here")
    assert status == 127
    assert "no-such-program-here" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_the_command(number: signal.Signals) -> None:
    """A signal sent to `libperf mock` alone ends the command, whose status is passed on."""
    wait = (
        "import signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [2, 15])\n"  # or one could come just before the wait for it
        "print('ready', flush=True)\n"
        "sys.exit(40 + signal.sigwait([2, 15]))"
    )
    with start("--quiet", "--", sys.executable, "-c", wait) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        process.communicate(timeout=60)
        assert process.returncode == 40 + number


def test_serving_until_interrupted() -> None:
    """Without a command it prints its address and the lines to paste, serves, and sums up when interrupted."""
    with start("--seed", "7") as process:
        assert process.stdout is not None
        listens, url, key = (process.stdout.readline() for _ in range(3))
        assert listens.startswith("MockLLM listens on http://127.0.0.1:")
        address = listens.split()[-1]
        assert (url, key) == (f"export OPENAI_BASE_URL={address}\n", "export OPENAI_API_KEY=mock\n")
        port = int(address.rpartition(":")[2].partition("/")[0])
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            connection.request("POST", "/v1/embeddings", json.dumps({"model": "m", "input": "text"}))
            assert connection.getresponse().status == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "1 requests, 0 errors, 1+0 tokens" in out
        assert "/v1/embeddings  m  200" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "x"], "invalid int value: 'x'"),
        (["--port", "70000"], "port is 70000"),
        (["--latency", "soon"], "'soon' is not a time"),
        (["--ttft", "uniform:3,1"], "low <= high"),
        (["--tokens-per-second", "0"], "rate above 0"),
        (["--errors", "boom:0.1"], "unknown error kind 'boom'"),
        (["--retry-after", "-1"], "retry_after is -1"),
        (["--tool-rounds", "-1"], "tool_rounds is -1"),
        (["--script", "missing.json"], "cannot read the script 'missing.json'"),
        (["--frobnicate"], "--frobnicate"),
        (["--"], "no command after --"),
    ],
)
def test_bad_values_end_with_status_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A bad value gives a message that names it, and exit status 2."""
    assert mock_command.main(words) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("libperf mock: ")
    assert said in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ('{"answers": []}', '"replies"'),
        ("[5]", "reply 1"),
        ('[{"text": "a"}, {"say": "b"}]', "reply 2 of the script"),
        ('[{"regex": "("}]', "the regex '(' is malformed"),
        ('[{"regex": "a", "match": "b"}]', "not both"),
        ('[{"tool_calls": ["f"]}]', "tool call"),
        ('[{"status": 200, "latency": "x"}]', "reply 1"),
    ],
)
def test_bad_scripts_are_explained(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A malformed script gives a message that names the file, the entry and the fault, and exit status 2."""
    script = tmp_path / "bad.json"
    script.write_text(text)
    assert mock_command.main(["--script", str(script)]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert "bad.json" in message


def test_a_port_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A port in use gives one line that names it, and exit status 2."""
    with libperf.testing.MockLLM() as llm:
        assert mock_command.main(["--port", str(llm.port)]) == 2
        assert f"{llm.port} is in use" in capsys.readouterr().err


def test_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` explains the forms and shows examples."""
    assert mock_command.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "libperf mock -- python agent.py" in text
    assert "lognormal:0.8,0.3" in text


def test_the_command_can_be_mounted() -> None:
    """As a subparser, the words after -- are the command."""
    parser = argparse.ArgumentParser()
    mock_command.add_arguments(parser.add_subparsers().add_parser("mock"))
    arguments = parser.parse_args(["mock", "--seed", "3", "--", "python", "-c", "pass"])
    assert (arguments.seed, arguments.command) == (3, ["python", "-c", "pass"])
