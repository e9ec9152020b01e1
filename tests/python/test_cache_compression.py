"""Compression: dictionaries are trained from a namespace's own values, found again by their id, and never needed to be
there."""

from __future__ import annotations

import json
import os
import random
import threading

import pytest

from libperf._codec import Compressor, decode, encode
from libperf._core import lib
from libperf.cache.compression import RETRY_S, Compression
from libperf.cache.keys import label_of_namespace, make_key
from libperf.cache.values import Values

try:
    Compressor()
except NotImplementedError:
    pytest.skip("built without zstd", allow_module_level=True)

NONE, ZSTD = lib.PERF_COMPRESSION_NONE, lib.PERF_COMPRESSION_ZSTD
KEY = make_key("n", None, "k")
NAMESPACE = label_of_namespace("n")


def answer(rng: random.Random, model: str = "gpt-4.1-mini") -> dict[str, object]:
    """What a provider says, around something new."""
    words = " ".join(
        rng.choice(["the", "cache", "answers", "before", "model", "network", "question", "again", "and"])
        for _ in range(20)
    )
    return {
        "id": f"chatcmpl-{rng.getrandbits(64):016x}",
        "object": "chat.completion",
        "created": rng.randrange(10**9),
        "model": f"{model}-2025-04-14",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": words, "refusal": None, "annotations": []},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": rng.randrange(1000),
            "completion_tokens": rng.randrange(1000),
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": f"fp_{rng.getrandbits(40):010x}",
    }


def trained(rng: random.Random, model: str = "gpt-4.1-mini") -> bytes:
    made = Compressor.train([encode(answer(rng, model)) for _ in range(400)], 16 << 10)
    assert made is not None
    return made


def entry_of(values: Values, value: object, namespace: int = NAMESPACE) -> bytes:
    return values.pack(value, KEY, labels=(namespace,), created_ms=1)


# ---- when ----


def test_short_values_stay_as_they_are() -> None:
    """Below the threshold, and where there is none."""
    for threshold, size, method in ((1024, 1000, NONE), (1024, 1024, ZSTD), (0, 40, ZSTD), (None, 10**6, NONE)):
        assert Compression(threshold).pack(1, b"a" * size)[0] == method


def test_what_does_not_shrink_stays_as_it_is() -> None:
    noise = random.Random(1).randbytes(5000)
    assert Compression().pack(1, noise) == (NONE, 0, noise)


def test_with_a_dictionary_shorter_values_are_compressed() -> None:
    """From a quarter of the threshold on."""
    rng = random.Random(1)
    compression = Compression(1024)
    dictionary = compression.add(trained(rng), family=7)
    short = json.dumps(answer(rng))[:300].encode()
    assert compression.pack(8, short)[0] == NONE
    method, used, packed = compression.pack(7, encode(answer(rng)))
    assert (method, used) == (ZSTD, dictionary) and len(packed) < 300
    assert compression.pack(7, short[:255])[0] == NONE


# ---- dictionaries ----


def test_a_dictionary_is_trained_from_a_namespace_s_own_values() -> None:
    """In the background, after so many; then values become a fifth. The other namespace has one of its own."""
    kept: dict[int, bytes] = {}
    compression = Compression(1024, samples=200, keep=kept.__setitem__)
    rng = random.Random(1)
    for family, model in ((1, "gpt-4.1-mini"), (2, "claude-3-7-sonnet")):
        for i in range(201):
            raw = encode(answer(rng, model))
            assert compression.pack(family, raw)[1] == 0 or i >= 200
        compression.wait()
    assert len(kept) == 2 and compression.stats()["dictionaries"] == 2
    used = set()
    for family, model in ((1, "gpt-4.1-mini"), (2, "claude-3-7-sonnet")):
        raw = [encode(answer(rng, model)) for _ in range(100)]
        packed = [compression.pack(family, one) for one in raw]
        assert sum(map(len, raw)) > 4 * sum(len(small) for _, _, small in packed)
        used |= {dictionary for _, dictionary, _ in packed}
        for one, (method, dictionary, small) in zip(raw, packed, strict=True):
            assert compression.unpack(method, dictionary, b"head" + small, 4, len(one)) == one
    assert used == set(kept)


def test_another_process_reads_by_the_dictionary_that_was_kept() -> None:
    """It asks for it by id, once; without it the entry is a miss, not an error."""
    rng = random.Random(1)
    dictionary = trained(rng)
    writer = Values(1024)
    id_ = writer.compression.add(dictionary, family=NAMESPACE)
    value = answer(rng)
    entry = entry_of(writer, value)
    assert len(entry) < len(encode(value)) / 2
    asked: list[int] = []

    def find(wanted: int) -> bytes | None:
        asked.append(wanted)
        return {id_: dictionary}.get(wanted)

    reader = Values(1024, find_dictionary=find)
    for _ in range(3):
        found = reader.unpack(entry)
        assert found is not None and found.value == value
    assert asked == [id_]
    alone = Values(1024)
    assert alone.unpack(entry) is None and alone.unreadable == 1


@pytest.mark.parametrize("answered", [None, b"", b"nonsense" * 100, "another"])
def test_a_dictionary_that_cannot_be_had(answered: object) -> None:
    """Nothing, nonsense, or another one: a miss; and it is not asked for with every entry."""
    rng = random.Random(1)
    other = trained(rng, "another-model")
    asked: list[int] = []

    def find(wanted: int) -> bytes | None:
        asked.append(wanted)
        return other if answered == "another" else answered  # type: ignore[return-value]

    writer = Values(1024)
    writer.compression.add(trained(rng), family=NAMESPACE)
    entry = entry_of(writer, answer(rng))
    reader = Values(1024, find_dictionary=find)
    assert [reader.unpack(entry) for _ in range(50)] == [None] * 50
    assert len(asked) == 1 and RETRY_S > 0


def test_damaged_values_are_misses() -> None:
    """Below the checksum: what was compressed is not what it says, in content or in length."""
    compression = Compression(0)
    raw = encode(answer(random.Random(1)))
    method, _, packed = compression.pack(1, raw)
    assert method == ZSTD
    for wrong in (len(raw) - 1, len(raw) + 1, 0, 10**6):
        assert compression.unpack(method, 0, packed, 0, wrong) is None
    assert compression.unpack(method, 0, packed[:-1], 0, len(raw)) is None
    assert compression.unpack(method, 0, b"", 0, len(raw)) is None
    assert compression.unpack(method + 1, 0, packed, 0, len(raw)) is None
    rng = random.Random(1)
    for _ in range(2000):
        changed = bytearray(packed)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        assert (back := compression.unpack(method, 0, bytes(changed), 0, len(raw))) is None or len(back) == len(raw)


def test_nothing_in_common_is_no_dictionary() -> None:
    """Training finds nothing; values go on being compressed without."""
    compression = Compression(0, samples=20)
    rng = random.Random(1)
    for _ in range(30):
        compression.pack(1, rng.randbytes(70))
    compression.wait()
    assert compression.pack(1, b"a" * 1000)[0] == ZSTD


def test_namespaces_end_somewhere() -> None:
    """Of so many, the first ones have dictionaries; memory does not grow with the others."""
    compression = Compression(0)
    for family in range(1000):
        compression.pack(family, b"a" * 100)
    assert len(compression._families) == 64


def test_closing_while_it_trains() -> None:
    """Nothing is kept any more after close()."""
    kept: list[int] = []
    compression = Compression(0, samples=50, keep=lambda id_, made: kept.append(id_))
    rng = random.Random(1)
    compression.close()
    for _ in range(100):
        compression.pack(1, encode(answer(rng)))
    compression.wait()
    assert kept == []


def test_many_threads() -> None:
    """While a dictionary is trained and taken into use, everything comes back."""
    compression = Compression(256, samples=100)
    wrong: list[object] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(300):
            value = answer(rng)
            raw = encode(value)
            method, dictionary, packed = compression.pack(1, raw)
            back = compression.unpack(method, dictionary, packed, 0, len(raw)) if method else packed
            if back is None or decode(back) != value:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    compression.wait()
    assert wrong == [] and compression.stats()["dictionaries"] == 1


def test_a_child_that_was_forked_while_it_trained_goes_on() -> None:
    """It has the samples, and neither the thread nor who held the lock: it trains itself."""
    compression = Compression(256, samples=50)
    rng = random.Random(1)
    for _ in range(49):
        compression.pack(1, encode(answer(rng)))
    compression._families[1].training = threading.Thread()  # which will not run in the child
    with compression._lock:
        child = os.fork()
        if child == 0:
            try:
                compression.pack(1, encode(answer(rng)))
                compression.wait()
                os._exit(0 if compression._families[1].dictionary else 1)
            finally:
                os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_dictionary_is_taken_over() -> None:
    """A process that has read an entry writes with the same dictionary, and trains none of its own."""
    rng = random.Random(1)
    dictionary = trained(rng)
    writer = Values(1024)
    id_ = writer.compression.add(dictionary, family=NAMESPACE)
    entry = entry_of(writer, answer(rng))
    reader = Values(1024, find_dictionary={id_: dictionary}.get)
    assert reader.compression.pack(NAMESPACE, encode(answer(rng)))[1] == 0
    assert reader.unpack(entry) is not None
    assert reader.compression.pack(NAMESPACE, encode(answer(rng)))[1] == id_
