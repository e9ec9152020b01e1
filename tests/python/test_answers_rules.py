"""Rules for models' answers: which fields of a request count, and which answers are kept."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest

import libperf
from libperf.answers.rules import IGNORED, Rules, Skips, refused_answer, refused_request, request_key, temperature_of

BASE = "https://api.example.com/v1"
PIXEL = bytes(range(256)) * 4
REQUEST: dict[str, Any] = {
    "model": "gpt-x",
    "temperature": 0,
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    "tools": [{"type": "function", "function": {"name": name, "parameters": {}}} for name in ("a", "b")],
}


def key(base_url: str = BASE, **changes: Any) -> str:
    return request_key({**REQUEST, **changes}, base_url=base_url)


def without(*names: str) -> str:
    return request_key({name: value for name, value in REQUEST.items() if name not in names}, base_url=BASE)


# ---- keys ----


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", "gpt-x-mini"),
        ("temperature", 0.5),
        ("max_tokens", 5),
        ("tool_choice", "required"),
        ("seed", 7),
        ("stop", ["\n"]),
        ("response_format", {"type": "json_object"}),
        ("n", 2),
        ("store", True),
        ("service_tier", "flex"),
        ("reasoning_effort", "low"),
        ("a_field_of_tomorrow", 1),
        ("extra_body", {"top_k": 3}),
        ("extra_query", {"api-version": "2"}),
        ("extra_headers", {"anthropic-beta": "context-1m"}),
        ("tools", list(reversed(REQUEST["tools"]))),
        ("tools", REQUEST["tools"][:1]),
        ("messages", [{"role": "developer", "content": "Be brief."}, REQUEST["messages"][1]]),
        ("messages", [REQUEST["messages"][0], {"role": "user", "content": "Hello "}]),
    ],
)
def test_what_counts(name: str, value: Any) -> None:
    """A field that could change the answer changes the key, be it known today or not."""
    assert key(**{name: value}) != key()


@pytest.mark.parametrize("name", sorted(IGNORED))
def test_what_does_not_count(name: str) -> None:
    """Fields that say nothing to the model leave the key as it is, wherever they are given."""
    assert key(**{name: "something"}) == key()
    assert key(extra_body={name: "something"}) == key()


def test_headers_of_a_single_call_do_not_count() -> None:
    """Ids of tracing and of retries are new each time."""
    headers = {"traceparent": "00-1", "Idempotency-Key": "x", "X-Stainless-Retry-Count": "1", "X-Request-Id": "q"}
    assert key(extra_headers=headers) == key()


def test_a_header_is_no_secret_in_the_key() -> None:
    """The key is a hash: nothing of a header or a prompt can be read from it."""
    found = key(extra_headers={"Authorization": "Bearer s3cret"})
    assert found != key(extra_headers={"Authorization": "Bearer other"})
    assert "s3cret" not in found and len(found) < 100


def test_omitted_none_and_the_default_are_three() -> None:
    """A provider may change its default; null may be refused."""
    assert len({without("temperature"), key(temperature=None), key(temperature=1), key(temperature=1.0)}) == 4


def test_the_placeholders_of_the_sdk_are_omissions() -> None:
    """`omit` and NOT_GIVEN are what the SDK's own signature has as defaults."""
    openai = pytest.importorskip("openai")
    assert key(seed=openai.omit, stop=openai.NOT_GIVEN) == key()


def test_the_order_of_fields_does_not_count() -> None:
    """A dict is what it holds."""
    assert request_key(dict(reversed(REQUEST.items())), base_url=BASE) == key()


def test_the_base_url_counts() -> None:
    """The same model name at another provider is another model."""
    assert key("https://api.example.com/v1/") == key()
    assert key("https://other.example.com/v1") != key()


def test_extra_body_is_part_of_the_body() -> None:
    """The SDK merges it into the body, so it makes no difference where a field stands."""
    assert key(extra_body={"top_k": 3}) == key(top_k=3)


def test_the_sdks_objects_are_what_they_are_on_the_wire() -> None:
    """A message as it came from an answer, put back into the conversation, is the dict that is sent of it."""
    pytest.importorskip("openai")
    from openai.types.chat import ChatCompletionMessage

    said = ChatCompletionMessage(role="assistant", content="Hi")
    history = REQUEST["messages"]
    assert key(messages=[*history, said]) == key(messages=[*history, {"role": "assistant", "content": "Hi"}])
    assert key(messages=tuple(history)) == key(messages=iter(history)) == key()


def test_images_count_by_content() -> None:
    """A data URL is the bytes in it, however they are wrapped; another picture is another key."""

    def image(data: str) -> str:
        url = {"url": "data:image/png;base64," + data}
        return key(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": url}]}])

    straight = base64.b64encode(PIXEL).decode()
    assert image(straight) == image(base64.encodebytes(PIXEL).decode())
    assert image(straight) != image(base64.b64encode(PIXEL[:-1] + b"x").decode())


def test_a_recorded_answers_key_is_the_same_in_every_process(run: Any) -> None:
    """No hash seed, no address, no order of a set is in it."""
    code = "import sys, json; from libperf.answers.rules import request_key; "
    code += "print(request_key(json.loads(sys.argv[1]), base_url=sys.argv[2]))"
    found = {run(code, json.dumps(REQUEST), BASE, PYTHONHASHSEED=seed).stdout.strip() for seed in ("1", "2")}
    assert found == {key()}


# ---- requests whose answers are not kept ----


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"temperature": 0.0}, None),
        ({"temperature": 0.7}, "temperature"),
        ({"temperature": None}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"extra_body": {"temperature": 1}}, "temperature"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"web_search_options": {}}, "tools"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "state"),
    ],
)
def test_requests(changes: dict[str, Any], reason: str | None) -> None:
    """Only what would be answered the same again, and by the model alone."""
    assert refused_request({**REQUEST, **changes}) == reason
    if reason == "temperature":
        assert refused_request({**REQUEST, **changes}, nondeterministic=True) is None


def test_no_temperature_is_not_zero() -> None:
    """Left out, it is what the provider likes, which is 1."""
    assert refused_request({"model": "m", "messages": []}) == "temperature"
    assert Rules(nondeterministic=True).refused_request({"model": "m", "messages": []}) is None


def test_temperatures_of_other_providers() -> None:
    """Gemini and Bedrock have it one level deeper."""
    assert temperature_of({"generationConfig": {"temperature": 0}}) == 0
    assert temperature_of({"inferenceConfig": {"temperature": 0.5}}) == 0.5


# ---- answers ----


def chat(finish: Any = "stop", **message: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hello", **message}
    return {"choices": [{"index": 0, "finish_reason": finish, "message": message}]}


CALL = {"id": "1", "type": "function", "function": {"name": "send_mail", "arguments": "{}"}}
ANSWERS: list[tuple[Mapping[str, Any], str | None]] = [
    (chat(), None),
    (chat("length"), "truncated"),
    (chat("content_filter"), "filtered"),
    (chat(refusal="I cannot do that"), "filtered"),
    (chat(None), "unfinished"),
    (chat("tool_calls", tool_calls=[CALL]), "tools"),
    (chat("stop", tool_calls=[CALL]), "tools"),
    (chat("function_call", function_call={"name": "send_mail", "arguments": ""}), "tools"),
    ({"choices": []}, "empty"),
    ({}, "empty"),
    ({"error": {"code": 500}}, "error"),
    ({"choices": [*chat()["choices"], *chat("length")["choices"]]}, "truncated"),
    ({"status": "completed", "output": [{"type": "message", "content": []}], "error": None}, None),
    ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "truncated"),
    ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "filtered"),
    ({"status": "failed"}, "error"),
    ({"status": "in_progress"}, "unfinished"),
    ({"status": "completed", "output": [{"type": "function_call", "name": "send_mail"}]}, "tools"),
    ({"status": "completed", "output": [{"type": "message", "content": [{"refusal": "no"}]}]}, "filtered"),
    ({"type": "message", "stop_reason": "end_turn", "content": [{"type": "text", "text": "Hi"}]}, None),
    ({"type": "message", "stop_reason": "max_tokens", "content": []}, "truncated"),
    ({"type": "message", "stop_reason": "refusal", "content": []}, "filtered"),
    ({"type": "message", "stop_reason": "pause_turn", "content": []}, "unfinished"),
    ({"type": "message", "stop_reason": "tool_use", "content": [{"type": "tool_use", "name": "send_mail"}]}, "tools"),
    ({"type": "error", "error": {"type": "overloaded_error"}}, "error"),
    ({"candidates": [{"finishReason": "STOP", "content": {"parts": [{"text": "Hi"}]}}]}, None),
    ({"candidates": [{"finishReason": "MAX_TOKENS", "content": {"parts": [{"text": "Hi"}]}}]}, "truncated"),
    ({"candidates": [{"finishReason": "SAFETY"}]}, "filtered"),
    (
        {"candidates": [{"finishReason": "STOP", "content": {"parts": [{"functionCall": {"name": "send_mail"}}]}}]},
        "tools",
    ),
    ({"stopReason": "end_turn", "output": {"message": {"content": [{"text": "Hi"}]}}}, None),
    ({"stopReason": "tool_use", "output": {"message": {"content": [{"toolUse": {"name": "send_mail"}}]}}}, "tools"),
]


@pytest.mark.parametrize(("answer", "reason"), ANSWERS)
def test_answers(answer: Mapping[str, Any], reason: str | None) -> None:
    """Complete successes only, of OpenAI's two APIs, Anthropic, Gemini and Bedrock."""
    assert refused_answer(answer) == reason
    if reason == "tools":
        assert refused_answer(answer, pure_tools=True) is None
        assert refused_answer(answer, pure_tools={"send_mail", "search"}) is None
        assert refused_answer(answer, pure_tools={"search"}) == "tools"


def test_strange_answers_do_no_harm() -> None:
    """Whatever a server sends, a reason comes back, or None: never an exception."""
    for strange in (None, 1, "x", [], [None], {}, {"message": 1}, [{"message": {"tool_calls": [1, None]}}]):
        for name in ("choices", "output", "content", "candidates", "status", "stop_reason", "error"):
            refused_answer({name: strange})
    assert refused_answer({"choices": [{"finish_reason": 7, "message": None}]}) is None


# ---- saying so ----


def test_it_says_once_that_nothing_is_ever_kept(caplog: pytest.LogCaptureFixture, seen: Any, name: str) -> None:
    """Twenty calls without a temperature, and nothing kept: the log says how to ask for it. Once. A report counts."""
    skips = Skips("the cache", name)
    with caplog.at_level(logging.WARNING, "libperf"):
        for _ in range(Skips.PATIENCE - 1):
            skips.count("temperature")
        assert not caplog.records
        for _ in range(100):
            skips.count("temperature")
    assert [("nondeterministic=True" in record.getMessage()) for record in caplog.records] == [True]
    assert skips.stats() == {"stored": 0, "skipped_temperature": Skips.PATIENCE + 99}
    assert seen.totals(f"cache.{name}.skipped_temperature", libperf.Kind.COUNTER).value == Skips.PATIENCE + 99


def test_it_says_nothing_where_something_was_kept(caplog: pytest.LogCaptureFixture, name: str) -> None:
    """A program that sets a temperature in some calls knows what it does."""
    skips = Skips("the cache", name)
    skips.kept()
    with caplog.at_level(logging.WARNING, "libperf"):
        for _ in range(100):
            skips.count("temperature")
    assert not caplog.records
