"""MockLLM over plain HTTP: paths, malformed requests, content, scripted replies and injected faults."""

from __future__ import annotations

import http.client
import json
import re
import socket
from typing import Any

import pytest

from libperf.testing import MockLLM, MockRequest, Reply, count_tokens
from support_http import Client, ask, text_of

# -- paths and malformed requests ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/chat/completions", "/openai/v1/chat/completions", "/v1/chat/completions?api-version=1"],
)
def test_paths_with_and_without_prefix(path: str) -> None:
    """The chat endpoint answers under each of its usual prefixes."""
    with MockLLM() as llm:
        status, answer, _ = Client(llm).call(path, ask())
        assert status == 200
        assert answer["object"] == "chat.completion"


def test_a_deployment_path_names_the_model() -> None:
    """An Azure-style path gives the model when the body has none."""
    with MockLLM() as llm:
        body = {"messages": ask()["messages"]}
        _, answer, _ = Client(llm).call("/openai/deployments/gpt-x/chat/completions?api-version=1", body)
        assert answer["model"] == "gpt-x"


def test_an_unknown_path_is_named_with_what_exists() -> None:
    """An unknown path answers 404 with the path and the list of paths."""
    with MockLLM() as llm:
        status, answer, _ = Client(llm).call("/v1/chats", ask())
        assert status == 404
        assert "/v1/chats" in answer["error"]["message"]
        assert "/v1/chat/completions" in answer["error"]["message"]


def test_a_wrong_method_is_told_the_right_one() -> None:
    """A wrong method answers 405 with an Allow header, and the connection stays usable."""
    with MockLLM() as llm:
        client = Client(llm)
        status, answer, headers = client.call("/v1/embeddings", b"", "GET")
        assert (status, headers["allow"]) == (405, "POST")
        assert "GET" in answer["error"]["message"]
        assert client.call("/v1/models", b"", "POST")[0] == 405
        client.chat(ask())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{nope", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1]", "must be a JSON object"),
        ({"messages": [{"role": "user", "content": "x"}]}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": []}, "messages"),
        ({"model": "m", "messages": [{"role": "robot"}]}, "messages[0]"),
        ({"model": "m", "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        (ask(max_tokens=0), "max_tokens"),
        (ask(n="two"), "'n'"),
        (ask(stop=5), "stop"),
        (ask(tools={"name": "f"}), "tools"),
        (ask(tools=[5]), "tools[0]"),
        (ask(tools=[{"type": "function", "function": {}}]), "tools[0].function.name"),
        (ask(tool_choice="required"), "tool_choice"),
        (ask(tool_choice="perhaps"), "'perhaps'"),
        (ask(tool_choice={"type": "function", "function": {"name": "f"}}), "names 'f'"),
        (ask(response_format={"type": "yaml"}), "response_format"),
        (ask(response_format={"type": "json_schema"}), "schema"),
        (ask(response_format={"type": "json_schema", "json_schema": {"schema": {"enum": []}}}), "Invalid schema"),
    ],
)
def test_malformed_requests_are_refused(body: Any, said: str) -> None:
    """A malformed request answers 400 in OpenAI's error shape, naming what is wrong."""
    with MockLLM() as llm:
        client = Client(llm)
        status, answer, _ = client.call("/v1/chat/completions", body)
        assert status == 400
        assert answer["error"]["type"] == "invalid_request_error"
        assert said in answer["error"]["message"]
        client.chat(ask())
        assert llm.requests[0].error == answer["error"]["message"]


def test_bytes_that_are_no_http() -> None:
    """Garbage on the socket gets a 400 and a closed connection, and the server lives on."""
    with MockLLM() as llm:
        with socket.create_connection(("127.0.0.1", llm.port), timeout=30) as sock:
            sock.sendall(b"hello\r\n\r\n")
            assert b" 400 " in b"".join(iter(lambda: sock.recv(4096), b""))
        Client(llm).chat(ask())


def test_chunked_bodies_expectations_and_old_clients() -> None:
    """A chunked body, ``Expect: 100-continue`` and HTTP/1.0 are understood."""
    body = json.dumps(ask(stream=True)).encode()
    with MockLLM() as llm, socket.create_connection(("127.0.0.1", llm.port), timeout=30) as sock:
        sock.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        )
        assert sock.recv(100).startswith(b"HTTP/1.1 100")
        sock.sendall(b"%x\r\n%s\r\n%x;x=y\r\n%s\r\n0\r\n\r\n" % (9, body[:9], len(body) - 9, body[9:]))
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received += sock.recv(4096)
        assert b"data: [DONE]" in received
        sock.sendall(b"POST /chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        old = b"".join(iter(lambda: sock.recv(4096), b""))
        assert old.endswith(b"data: [DONE]\n\n")
        assert b"chunked" not in old


def test_requests_sent_ahead_are_answered_in_order() -> None:
    """Two requests in one packet get two answers, the second not before the first."""
    with MockLLM(latency=0.02) as llm, socket.create_connection(("127.0.0.1", llm.port), timeout=30) as sock:
        packets = []
        for path in ("/v1/embeddings", "/v1/chat/completions"):
            body = json.dumps({**ask(), "input": "text"}).encode()
            packets.append(b"POST %s HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body))
        packets[1] = packets[1].replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r\nConnection: close\r\n")
        sock.sendall(b"".join(packets))
        received = b"".join(iter(lambda: sock.recv(4096), b""))
        assert 0 < received.find(b'"embedding"') < received.find(b'"chat.completion"')
        first, second = llm.requests
        assert first.finished is not None
        assert first.finished - first.started >= 0.02
        assert second.started >= first.finished


# -- content ------------------------------------------------------------------------------------------------------


def test_a_stream_says_what_the_whole_answer_says() -> None:
    """The streamed pieces joined are the text of the whole answer, one token each, with usage at the end."""
    with MockLLM() as llm:
        client = Client(llm)
        whole = client.chat(ask())
        *events, done = client.events(ask(stream_options={"include_usage": True}))
        assert done == "[DONE]"
        *chunks, last = map(json.loads, events)
        pieces = [p for c in chunks if (p := c["choices"][0]["delta"].get("content"))]
        assert "".join(pieces) == text_of(whole)
        assert len(pieces) == whole["usage"]["completion_tokens"]
        assert last["choices"] == []
        assert last["usage"] == whole["usage"]
        assert all(chunk["usage"] is None for chunk in chunks)


def test_tokens_are_counted_by_the_rule() -> None:
    """Usage follows the four-characters rule for prompt and answer, in the answer and in the record."""
    with MockLLM(reply_tokens=25) as llm:
        answer = Client(llm).chat(ask("x" * 41))
        record = llm.requests[0]
        assert answer["usage"]["prompt_tokens"] == record.prompt_tokens == 11 + 4
        assert answer["usage"]["completion_tokens"] == record.completion_tokens == count_tokens(text_of(answer)) == 25
        assert answer["usage"]["total_tokens"] == 40


def test_limits_stops_and_choices() -> None:
    """`max_tokens` cuts with finish reason "length", `stop` ends the text before it, `n` gives several choices."""
    with MockLLM(replies=[Reply("one two three four five", match="count")]) as llm:
        client = Client(llm)
        cut = client.chat(ask("count", max_completion_tokens=2))
        assert (text_of(cut), cut["choices"][0]["finish_reason"]) == ("one two ", "length")
        assert text_of(client.chat(ask("count", stop=[" four", "three"]))) == "one two "
        several = client.chat(ask("something else", n=3))
        assert len({choice["message"]["content"] for choice in several["choices"]}) == 3
        assert several["usage"]["completion_tokens"] == sum(
            count_tokens(choice["message"]["content"]) for choice in several["choices"]
        )


def test_odd_parameters_do_not_break() -> None:
    """Parameters without meaning here are accepted."""
    with MockLLM() as llm:
        odd: dict[str, Any] = {
            "logprobs": True,
            "top_logprobs": 2,
            "temperature": 0,
            "seed": 3,
            "user": "u",
            "metadata": {"a": "b"},
        }
        assert text_of(Client(llm).chat(ask(**odd)))


def test_agents_with_a_text_protocol_get_a_final_answer() -> None:
    """A prompt that asks for "Final Answer:" gets a thought and a final answer."""
    with MockLLM() as llm:
        text = text_of(Client(llm).chat(ask("Use Thought: and then Final Answer: please")))
        assert re.match(r"Thought: .+\nFinal Answer: \w", text)


def test_scripted_replies_match_in_order() -> None:
    """Replies match by text, pattern or function on the last message, first come first, at most `times`."""

    def is_long(request: MockRequest) -> bool:
        return len(request.last_text) > 100

    replies = [
        Reply("once", match="hello", times=1),
        Reply("again", match="HELLO"),
        Reply(lambda request: f"{request.model} heard {request.last_text}", match=re.compile(r"^\d+$")),
        Reply("long", match=is_long),
    ]
    with MockLLM(replies=replies) as llm:
        client = Client(llm)
        said = [text_of(client.chat(ask(text))) for text in ("Hello you", "Hello you", "42", "x" * 101, "other")]
        assert said[:4] == ["once", "again", "m heard 42", "long"]
        assert said[4] not in said[:4]
        assert [record.scripted for record in llm.requests] == [True] * 4 + [False]
        llm.reset()
        assert text_of(client.chat(ask("Hello you"))) == "once"
        assert len(llm.requests) == 1


def test_a_failing_reply_function_is_a_500() -> None:
    """An exception in a reply's function becomes an error answer that names it, and the server lives on."""

    def fail(request: MockRequest) -> str:
        raise KeyError("nothing here")

    with MockLLM(replies=[Reply(fail, match="fail"), Reply(lambda r: 5, match="five")]) as llm:  # type: ignore[arg-type,return-value]
        client = Client(llm)
        for text, said in (("fail", "KeyError"), ("five", "not text")):
            status, answer, _ = client.call("/v1/chat/completions", ask(text))
            assert status == 500
            assert said in answer["error"]["message"]
        client.chat(ask())


def test_models_are_listed_and_checked() -> None:
    """With `models` given, exactly those are listed, and others answer 404."""
    with MockLLM(models=["alpha", "org/beta"]) as llm:
        client = Client(llm)
        _, listed, _ = client.call("/v1/models", b"", "GET")
        assert [model["id"] for model in listed["data"]] == ["alpha", "org/beta"]
        assert client.call("/v1/models/org/beta", b"", "GET")[1]["id"] == "org/beta"
        assert client.call("/v1/models/gamma", b"", "GET")[0] == 404
        status, answer, _ = client.call("/v1/chat/completions", ask())
        assert (status, answer["error"]["code"]) == (404, "model_not_found")


# -- faults -------------------------------------------------------------------------------------------------------


def test_shares_of_errors_are_kept() -> None:
    """Faults come in about the shares asked for, and each is recorded."""
    with MockLLM(errors={500: 0.2, "stall": 0.1}, rate_limit=0.1, stall_seconds=0.0) as llm:
        client = Client(llm)
        for number in range(400):
            client.call("/v1/chat/completions", ask(f"question {number}"))
        faults = [record.fault for record in llm.requests]
        assert {fault: faults.count(fault) for fault in ("500", "429", "stall")} == {
            "500": pytest.approx(80, abs=30),
            "429": pytest.approx(40, abs=25),
            "stall": pytest.approx(40, abs=25),
        }
        assert [record.status for record in llm.requests] == [
            int(fault) if fault in ("500", "429") else 200 for fault in faults
        ]
        summary = llm.summary()
        assert summary.requests == 400
        assert summary.errors == faults.count("500") + faults.count("429")


def test_a_limit_tells_when_to_come_back() -> None:
    """A 429 carries Retry-After in whole seconds and the exact wait beside it."""
    with MockLLM(rate_limit=1.0, retry_after=1.5) as llm:
        status, answer, headers = Client(llm).call("/v1/chat/completions", ask())
        assert status == 429
        assert (headers["retry-after"], headers["retry-after-ms"]) == ("2", "1500")
        assert answer["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
def test_a_disconnect_gives_no_answer(path: str) -> None:
    """A dropped request ends without a byte, and is recorded without a status."""
    with MockLLM(errors="disconnect:1") as llm:
        with pytest.raises(http.client.RemoteDisconnected):
            Client(llm).call(path, {**ask(), "input": "text"})
        (record,) = llm.requests
        assert record.fault == "disconnect"
    # Closing has ended every thread, so the record is final.
    assert (record.status, record.failed) == (None, True)


def test_a_disconnect_breaks_a_stream_in_the_middle() -> None:
    """A dropped stream ends half-way, without its end mark."""
    with MockLLM(errors="disconnect:1", reply_tokens=20) as llm:
        client = Client(llm)
        client.connection.request("POST", "/v1/chat/completions", json.dumps(ask(stream=True)).encode())
        with pytest.raises(http.client.IncompleteRead) as broken:
            client.connection.getresponse().read()
        received = broken.value.partial.decode()
        assert received.count('"content": "') == 11  # the opening chunk and ten tokens
        assert "[DONE]" not in received


def test_a_stall_halts_the_answer_half_way() -> None:
    """A stalled answer takes `stall_seconds` longer, and its first half is not late."""
    with MockLLM(stall=1.0, stall_seconds=0.02, reply_tokens=10) as llm:
        Client(llm).chat(ask())
        list(Client(llm).events(ask()))
        whole, streamed = llm.requests
        assert whole.latency == streamed.latency == 0.02
        assert streamed.ttft == 0.0
        assert all(record.served is not None and record.served >= 0.02 for record in llm.requests)


def test_a_scripted_status_is_an_error() -> None:
    """A reply with an error status answers with it."""
    with MockLLM(replies=[Reply(status=503, times=2), Reply("fine")], retry_after=0.25) as llm:
        client = Client(llm)
        for _ in range(2):
            status, _, headers = client.call("/v1/chat/completions", ask())
            assert (status, headers["retry-after-ms"]) == (503, "250")
        assert text_of(client.chat(ask())) == "fine"
        assert [record.failed for record in llm.requests] == [True, True, False]
