"""Recorded calls of real agents, asked again: every request in OpenAI's shape gets an answer in its shape.

Nobody's calls are part of libperf: LIBPERF_RECORDED_CALLS names a file of yours, JSON lines with the texts `path`,
`request` and `response`, compressed or not (.zst)."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libperf.testing import MockLLM, first_problem

RECORDED = os.environ.get("LIBPERF_RECORDED_CALLS", "")


def _recorded() -> Iterator[tuple[str, dict[str, Any], bool]]:
    """(path, request body, whether the real service accepted it) of the calls in OpenAI's shape."""
    if not RECORDED:
        pytest.skip("LIBPERF_RECORDED_CALLS is not set")
    if RECORDED.endswith(".zst"):
        zstd = shutil.which("zstd")
        assert zstd, "the zstd program is missing: install it to read the recorded calls"
        text = subprocess.run([zstd, "-dcq", RECORDED], check=True, capture_output=True).stdout.decode()
    else:
        text = Path(RECORDED).read_text()
    for line in text.splitlines():
        call = json.loads(line)
        if call["path"].endswith(("/chat/completions", "/responses")):
            response = call["response"] if isinstance(call["response"], str) else json.dumps(call["response"])
            yield (
                call["path"],
                json.loads(call["request"]),
                not response.lstrip()[:40].replace(" ", "").startswith('{"error"'),
            )


def test_recorded_requests_are_answered() -> None:
    """Each recorded request is answered in the right shape, tool arguments and structured output valid."""
    jsonschema = pytest.importorskip("jsonschema")
    calls = list(_recorded())
    assert calls
    kinds = set()
    with (
        MockLLM() as llm,
        contextlib.closing(http.client.HTTPConnection("127.0.0.1", llm.port, timeout=30)) as connection,
    ):
        for path, body, accepted in calls:
            connection.request("POST", path, json.dumps(body).encode())
            response = connection.getresponse()
            text = response.read().decode()
            assert response.status == 200 or (not accepted and response.status == 400), text
            if response.status == 200:
                answer = _last_event(path, text) if body.get("stream") else json.loads(text)
                kinds.add(_check(path, body, answer, jsonschema.Draft202012Validator))
    assert kinds == {"text", "tools", "structured"}


def _last_event(path: str, text: str) -> dict[str, Any]:
    """The whole answer put together from its stream."""
    events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    if path.endswith("/responses"):
        return dict(json.loads(events[-1])["response"])
    assert events.pop() == "[DONE]"
    calls: dict[int, dict[str, Any]] = {}
    content, finish = "", None
    for chunk in map(json.loads, events):
        for choice in chunk["choices"]:
            finish = choice["finish_reason"] or finish
            content += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls", ()):
                known = calls.setdefault(call["index"], {"function": {"name": "", "arguments": ""}})
                known["function"]["name"] += call["function"].get("name", "")
                known["function"]["arguments"] += call["function"]["arguments"]
    message = {"content": content, "tool_calls": list(calls.values())}
    return {"choices": [{"message": message, "finish_reason": finish}]}


def _check(path: str, body: dict[str, Any], answer: dict[str, Any], validator: Any) -> str:
    """Checks one answer against its request; says which kind it was."""
    if path.endswith("/responses"):
        calls = [item for item in answer["output"] if item["type"] == "function_call"]
        text = "".join(p["text"] for item in answer["output"] if item["type"] == "message" for p in item["content"])
        schemas = {tool["name"]: tool["parameters"] for tool in (body.get("tools") or ()) if tool["type"] == "function"}
        wanted = body.get("text", {}).get("format", {}).get("schema")
    else:
        message = answer["choices"][0]["message"]
        calls = [call["function"] for call in message.get("tool_calls") or ()]
        text = message["content"]
        schemas = {tool["function"]["name"]: tool["function"].get("parameters") for tool in (body.get("tools") or ())}
        wanted = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
    for call in calls:
        _valid(json.loads(call["arguments"]), schemas[call["name"]] or {}, validator)
    if calls:
        return "tools"
    assert text
    if (
        wanted
        and answer.get("status") != "incomplete"
        and answer.get("choices", [{}])[0].get("finish_reason") != "length"
    ):
        _valid(json.loads(text), wanted, validator)
        return "structured"
    return "text"


def _valid(value: Any, schema: Any, validator: Any) -> None:
    assert [error.message for error in validator(schema).iter_errors(value)] == []
    assert first_problem(value, schema) is None
