"""The example of batching as a user runs it, with the real OpenAI client against a local server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from libperf.testing import MockLLM

EXAMPLE = Path(__file__).parents[2] / "examples/batched_embeddings.py"


def test_few_calls_and_the_same_vectors(llm: MockLLM) -> None:
    """Forty texts are forty calls first and a few then; what the tasks get is the same."""
    command = [sys.executable, str(EXAMPLE), "--service", "--texts", "40"]
    done = subprocess.run(command, env={**os.environ, **llm.environment()}, text=True, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    single, batched, same = done.stdout.splitlines()
    assert single.startswith("one by one: 40 calls, ")
    calls = re.match(r"batched: +(\d+) calls, ", batched)
    assert calls is not None and 1 <= int(calls[1]) <= 4
    assert len(llm.requests) == 40 + int(calls[1])
    assert same == "the same vectors: True"


def test_without_a_server_it_says_what_it_needs() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    command = [sys.executable, str(EXAMPLE), "--service"]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=120)
    assert done.returncode == 1
    assert "OPENAI_BASE_URL" in done.stderr
