"""A plain HTTP client of tests of MockLLM: one connection to one server, closed after each test."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any, ClassVar

from libperf.testing import MockLLM


def ask(text: str = "Tell me about tides", **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}], **more}


class Client:
    """A keep-alive connection to one server."""

    opened: ClassVar[list[http.client.HTTPConnection]] = []

    def __init__(self, llm: MockLLM) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", llm.port, timeout=30)
        self.opened.append(self.connection)

    def call(self, path: str, body: Any, method: str = "POST") -> tuple[int, Any, dict[str, str]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.connection.request(method, path, data)
        response = self.connection.getresponse()
        text = response.read()
        return response.status, json.loads(text), {name.lower(): value for name, value in response.getheaders()}

    def chat(self, body: dict[str, Any]) -> dict[str, Any]:
        status, answer, _ = self.call("/v1/chat/completions", body)
        assert status == 200, answer
        return dict(answer)

    def events(self, body: dict[str, Any], path: str = "/v1/chat/completions") -> Iterator[str]:
        self.connection.request("POST", path, json.dumps({**body, "stream": True}).encode())
        response = self.connection.getresponse()
        assert response.status == 200
        for line in response:
            if line.startswith(b"data: "):
                yield line[6:].decode().strip()


def text_of(answer: dict[str, Any]) -> str:
    return str(answer["choices"][0]["message"]["content"])
