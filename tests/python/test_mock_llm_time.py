"""MockLLM in time: known latencies, the same answers under concurrency, leaving clients and clean shutdown."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import queue
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from libperf.testing import Latency, MockLLM, Reply, RequestRecord
from support_http import Client, ask, text_of

NEVER = 1e-3  # tokens per second of a stream that no test waits for


# -- latency ------------------------------------------------------------------------------------------------------


def test_no_answer_is_early() -> None:
    """Every answer takes at least its recorded latency, at the server and at the client."""
    with MockLLM(latency="uniform:0.002,0.02", seed=3) as llm:
        client = Client(llm)
        for number in range(20):
            before = time.monotonic()
            client.chat(ask(f"question {number}"))
            record = llm.requests[-1]
            assert record.served is not None
            assert time.monotonic() - before >= record.served >= record.latency >= 0.002
        assert len({record.latency for record in llm.requests}) == 20


def test_a_stream_keeps_its_timetable() -> None:
    """First and last token come no earlier than drawn: the first after `ttft`, the others at the token rate."""
    with MockLLM(ttft=0.02, tokens_per_second=500, replies=[Reply("x" * 40)]) as llm:
        before = time.monotonic()
        arrivals = [time.monotonic() - before for _ in Client(llm).events(ask())]
        record = llm.requests[0]
        assert record.ttft == pytest.approx(0.02)
        assert record.latency == pytest.approx(0.02 + 9 / 500)
        assert arrivals[0] >= record.ttft
        assert arrivals[-1] >= record.latency


def test_latency_is_set_per_model() -> None:
    """Rules apply by exact name, then by the longest pattern; a model without a rule takes no time."""
    with MockLLM(latency={"a": 0.003, "gpt-*": "0.002", "gpt-4*": Latency.fixed(0.001)}) as llm:
        client = Client(llm)
        for model in ("a", "gpt-5", "gpt-4o", "other"):
            client.chat({**ask(), "model": model})
        assert [record.latency for record in llm.requests] == [0.003, 0.002, 0.001, 0.0]


def test_rates_are_drawn_and_never_zero() -> None:
    """A token rate may be a distribution; a draw of zero takes its mean, so no answer takes for ever."""
    with MockLLM(tokens_per_second="normal:20000,20000", reply_tokens=3) as llm:
        client = Client(llm)
        for number in range(30):
            client.chat(ask(str(number)))
        assert any(record.latency == pytest.approx(2 / 20000) for record in llm.requests)


def test_a_reply_sets_its_own_latency() -> None:
    """The latency of a reply replaces the server's setting."""
    with MockLLM(latency=30.0, replies=[Reply("now", latency=0.001)]) as llm:
        Client(llm).chat(ask())
        assert llm.requests[0].latency == 0.001


# -- determinism and concurrency ----------------------------------------------------------------------------------


def test_answers_and_latencies_do_not_depend_on_concurrency() -> None:
    """The same requests in another order, from many threads, get the same answers, latencies and faults."""
    bodies = [ask(f"question {number // 2}") for number in range(64)]  # each asked twice

    def run(order: list[int], threads: int) -> list[tuple[Any, ...]]:
        with MockLLM(seed=5, latency="lognormal:0.001,0.5", errors="500:0.2") as llm:

            def one(at: int) -> Any:
                status, answer, _ = Client(llm).call("/v1/chat/completions", bodies[at])
                return status, text_of(answer) if status == 200 else None

            with concurrent.futures.ThreadPoolExecutor(threads) as pool:
                answers = dict(zip(order, pool.map(one, order), strict=True))
            asked = [(str(record.body), record.latency, record.fault) for record in llm.requests]
            return [tuple(sorted(asked, key=str)), tuple(sorted((at // 2, answers[at]) for at in order))]

    forward = list(range(64))
    shuffled = random.Random(2).sample(forward, 64)
    assert run(forward, 1) == run(shuffled, 64)


def test_another_seed_gives_other_answers() -> None:
    """Seeds change answers and latencies; key order and streaming do not."""
    texts: set[str] = set()
    latencies: set[float] = set()
    for seed in (1, 2):
        with MockLLM(seed=seed, latency="uniform:0,0.001") as llm:
            client = Client(llm)
            texts.add(text_of(client.chat(ask(temperature=0, top_p=1))))
            texts.add(text_of(client.chat(ask(top_p=1, temperature=0))))
            latencies.update(record.latency for record in llm.requests)
    assert len(texts) == 2
    assert len(latencies) == 4


def test_many_streams_at_once() -> None:
    """Many streams in parallel all end, each with its own text."""
    with MockLLM(ttft=0.005, tokens_per_second=2000) as llm:

        def one(number: int) -> str:
            events = list(Client(llm).events(ask(f"question about subject {number}")))
            assert events[-1] == "[DONE]"
            return "".join(json.loads(e)["choices"][0]["delta"].get("content", "") for e in events[:-1])

        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            assert len(set(pool.map(one, range(100)))) == 100
        assert all(r.served is not None and r.served >= r.latency for r in llm.requests)


# -- life ---------------------------------------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool]) -> bool:
    """Waits until `condition` holds; False after ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.001)
    return True


def test_a_leaving_client_is_noticed() -> None:
    """A client that leaves in the middle of a stream ends only its own request."""
    finished: queue.SimpleQueue[RequestRecord] = queue.SimpleQueue()
    with MockLLM(ttft=0.0, tokens_per_second=NEVER, on_finish=finished.put) as llm:
        client = Client(llm)
        client.connection.request("POST", "/v1/chat/completions", json.dumps(ask(stream=True)).encode())
        response = client.connection.getresponse()
        assert response.readline()
        response.close()
        client.connection.close()
        record = finished.get(timeout=10)
        assert record.client_left
        assert record.failed
        assert Client(llm).call("/v1/models", b"", "GET")[0] == 200


def test_close_ends_open_answers() -> None:
    """`close` returns while streams and waits are open, and their clients see the connection end."""
    llm = MockLLM(ttft=0.0, tokens_per_second=NEVER, latency=1000.0).start()
    stream = Client(llm).events(ask())
    next(stream)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        vector = pool.submit(Client(llm).call, "/v1/embeddings", {"model": "m", "input": "text"})
        assert wait_for(lambda: len(llm.requests) == 2)
        llm.close()
        assert "[DONE]" not in list(stream)
        with pytest.raises((http.client.HTTPException, OSError)):
            vector.result()
    assert all(record.finished is not None for record in llm.requests)
    assert not [t for t in threading.enumerate() if t.name.startswith("libperf-mock")]
    llm.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", llm.port))
    with pytest.raises(RuntimeError, match="create a new one"):
        llm.start()


def test_idle_connections_do_not_hold_close_up() -> None:
    """`close` ends keep-alive connections that are idle."""
    with MockLLM() as llm:
        client = Client(llm)
        client.chat(ask())
    with pytest.raises((http.client.HTTPException, OSError)):
        client.chat(ask())


def test_a_child_process_leaves_the_server_alone() -> None:
    """`close` in a forked child does not disturb the parent's server, nor its open connections."""
    with MockLLM() as llm:
        client = Client(llm)
        client.chat(ask())
        child = os.fork()
        if child == 0:
            llm.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        client.chat(ask())
        Client(llm).chat(ask())


def test_a_server_on_the_other_loopback() -> None:
    """IPv6 addresses are served and written in brackets."""
    try:
        llm = MockLLM(host="::1").start()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with llm:
        assert llm.base_url == f"http://[::1]:{llm.port}/v1"
        with contextlib.closing(http.client.HTTPConnection("::1", llm.port, timeout=30)) as connection:
            connection.request("GET", "/v1/models")
            assert connection.getresponse().status == 200


def test_the_address_is_told() -> None:
    """A server tells its address and environment after `start`, and refuses a port that is in use."""
    llm = MockLLM()
    with pytest.raises(RuntimeError, match="start"):
        _ = llm.base_url
    with llm:
        assert llm.start() is llm
        assert llm.environment() == {"OPENAI_BASE_URL": llm.base_url, "OPENAI_API_KEY": "mock"}
        with pytest.raises(OSError, match=f"{llm.port} is in use: choose another port"):
            MockLLM(port=llm.port).start()


def test_only_the_latest_records_are_kept() -> None:
    """`keep_requests` bounds the records; the summary still counts all."""
    with MockLLM(keep_requests=3) as llm:
        client = Client(llm)
        for number in range(5):
            client.chat(ask(str(number)))
        assert [record.body["messages"][0]["content"] for record in llm.requests] == ["2", "3", "4"]
        assert llm.summary().requests == 5
