"""What a refusal (HTTP 429) is, and what becomes of the items then."""

from __future__ import annotations

import asyncio
import email.utils
import time
import urllib.error
from email.message import Message
from typing import Any

import httpx
import openai
import pytest

import libperf
from libperf.batcher.throttle import LONGEST, retry_after
from libperf.testing import MockLLM
from libperf.testing.virtual_loop import run_virtual


def response(status: int, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, request=httpx.Request("POST", "http://localhost"))


def of_httpx(status: int, **headers: str) -> Exception:
    found = response(status, **headers)
    return httpx.HTTPStatusError("refused", request=found.request, response=found)


def of_openai(**headers: str) -> Exception:
    return openai.RateLimitError("refused", response=response(429, **headers), body=None)


class OfRequests(Exception):
    def __init__(self, status: int, headers: Any) -> None:
        self.response = type("Response", (), {"status_code": status, "headers": headers})()


class OfAiohttp(Exception):
    status = 429
    headers = {"Retry-After": "4"}  # noqa: RUF012


class RateLimitError(Exception):
    """As clients have it that say no more."""


class Hostile(Exception):
    @property
    def status_code(self) -> int:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (of_openai(), 0.0),
        (of_openai(retry_after="2"), 2.0),
        (of_openai(retry_after="2", retry_after_ms="1500"), 1.5),
        (of_httpx(429, retry_after="0.25"), 0.25),
        (of_httpx(429, retry_after="soon"), 0.0),
        (of_httpx(429, retry_after="-3"), 0.0),
        (of_httpx(429, retry_after="nan"), 0.0),
        (of_httpx(429, retry_after="1e99"), LONGEST),
        (of_httpx(503, retry_after="2"), None),
        (of_httpx(400), None),
        (OfRequests(429, {"RETRY-AFTER": "3"}), 3.0),
        (OfRequests(429, None), 0.0),
        (OfRequests(200, {}), None),
        (OfAiohttp(), 4.0),
        (urllib.error.HTTPError("http://localhost", 429, "refused", Message(), None), 0.0),
        (RateLimitError(), 0.0),
        (Hostile(), None),
        (ValueError("429"), None),
        (libperf.QueueFull("full"), None),
    ],
    ids=lambda value: repr(value) if not isinstance(value, Exception) else type(value).__name__,
)
def test_what_a_refusal_is_and_how_long(error: BaseException, wait: float | None) -> None:
    """openai, httpx, requests, aiohttp, urllib; with seconds, milliseconds, nonsense."""
    assert retry_after(error) == wait


def test_a_date_is_a_time_of_the_wall_clock() -> None:
    """One that has passed is now."""
    soon = email.utils.formatdate(time.time() + 60, usegmt=True)
    wait = retry_after(of_httpx(429, retry_after=soon))
    assert wait is not None and 50 < wait <= 60
    assert retry_after(of_httpx(429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT")) == 0.0


def test_a_refused_batch_is_tried_again_when_it_was_told() -> None:
    """Nobody's call fails by it, and in the meantime nothing is sent. In virtual time."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        calls: list[float] = []

        async def fn(items: list[int]) -> list[int]:
            calls.append(loop.time())
            if len(calls) == 1:
                raise of_openai(retry_after="30")
            return items

        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(
            fn, min_batch_size=2, clock=lambda: round(loop.time() * 1e9)
        )
        first = asyncio.gather(*(processor.submit(i) for i in range(2)))
        await asyncio.sleep(1)
        assert processor.get_stats()["paused"] and processor.get_stats()["batches_throttled"] == 1
        later = processor.submit(2)
        assert await first == [0, 1] and await later == 2
        assert calls[1] - calls[0] >= 30.0 and not processor.get_stats()["paused"]

    run_virtual(main)


def test_an_item_that_is_always_refused_fails() -> None:
    """After eight times, with the last refusal as the cause."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        calls = 0

        async def fn(items: list[int]) -> list[int]:
            nonlocal calls
            calls += 1
            raise of_openai()

        processor: libperf.BatchProcessor[int, int] = libperf.BatchProcessor(fn, clock=lambda: round(loop.time() * 1e9))
        with pytest.raises(libperf.BatchError) as caught:
            await processor.submit(1)
        assert isinstance(caught.value.__cause__, openai.RateLimitError) and calls == 8

    run_virtual(main)


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_the_real_client_is_refused_and_comes_again_when_it_was_told(kind: str) -> None:
    """A server that answers 429 with Retry-After: nobody's item fails, and until then it hears of nobody."""
    told = 0.05
    refused: list[float] = []
    begun: list[float] = []

    with MockLLM(errors={"429": 1.0}, retry_after=told) as busy, MockLLM() as free:

        def address() -> str:
            begun.append(time.monotonic())
            return busy.base_url if len(begun) == 1 else free.base_url

        def embed(texts: list[str]) -> list[list[float]]:
            client = openai.OpenAI(base_url=address(), api_key="mock", max_retries=0)
            try:
                return [each.embedding for each in client.embeddings.create(model="m", input=texts).data]
            except openai.RateLimitError:
                refused.append(time.monotonic())
                raise

        async def aembed(texts: list[str]) -> list[list[float]]:
            async with openai.AsyncOpenAI(base_url=address(), api_key="mock", max_retries=0) as client:
                try:
                    return [each.embedding for each in (await client.embeddings.create(model="m", input=texts)).data]
                except openai.RateLimitError:
                    refused.append(time.monotonic())
                    raise

        function: Any = embed if kind == "def" else aembed
        processor: libperf.BatchProcessor[str, list[float]] = libperf.BatchProcessor(function, min_batch_size=8)

        async def main() -> list[list[float]]:
            return await asyncio.gather(*(processor.submit(f"text {i}") for i in range(8)))

        found = asyncio.run(main())
        assert len(found) == 8 and len(refused) == 1 and [len(busy.requests), len(free.requests)] == [1, 1]
        assert begun[1] - refused[0] >= told * 0.99
        assert processor.get_stats()["batches_throttled"] == 1
        assert processor.close()
