"""What keys and values cost, beside the standard library doing something alike in the same run.

    python bench/keys.py                                            # made-up requests
    python bench/keys.py ../shared/llm_calls/dev.jsonl.zst          # real ones, of about 1.3 kB and 38 kB
    python bench/keys.py --json build/results/keys.jsonl

Rounds take turns over all cases; a number is the median over the rounds, in microseconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from peers.measure import Row, positive, rounds, write

from libperf._codec import canonical, decode, encode, weigh
from libperf.cache.keys import label_of_namespace, make_key
from libperf.cache.values import Values

SIZES = (1_300, 38_000)


def made_up(size: int) -> dict[str, Any]:
    turns = [
        {"role": "user" if i % 2 else "assistant", "content": f"turn {i} " + "word " * 40} for i in range(size // 240)
    ]
    return {"model": "gpt-4.1-mini", "messages": turns, "temperature": 0.0, "max_tokens": 500, "stop": None}


def requests(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return [made_up(size) for size in SIZES]
    text = path.read_bytes()
    if path.suffix == ".zst":
        text = subprocess.run(["zstd", "-dc"], input=text, capture_output=True, check=True).stdout
    found = [json.loads(line)["request"] for line in text.splitlines()]
    texts = [body for body in found if body.startswith("{") and "base64" not in body]
    return [json.loads(min(texts, key=lambda body: abs(len(body) - size))) for size in SIZES]


def sorted_json(value: object) -> bytes:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).digest()


def cases(path: Path | None) -> dict[str, tuple[Callable[[], object], int]]:
    values = Values(None)
    key, labels = make_key("bench", None, "user:123"), (label_of_namespace("bench"),)
    found: dict[str, tuple[Callable[[], object], int]] = {
        "make_key, one str": (lambda: make_key("bench", None, "user:123"), 5000),
    }
    for request in requests(path):
        size = len(json.dumps(request))
        entry = values.pack(request, key, labels=labels, created_ms=1)
        raw, text = encode(request), json.dumps(request)
        times = max(20, 1_000_000 // size)
        for what, work in (
            ("make_key", lambda r=request: make_key("bench", None, r)),
            ("canonical", lambda r=request: canonical(r)),
            ("json sorted + sha256", lambda r=request: sorted_json(r)),
            ("encode", lambda r=request: encode(r)),
            ("json.dumps", lambda r=request: json.dumps(r)),
            ("decode", lambda raw=raw: decode(raw)),
            ("json.loads", lambda text=text: json.loads(text)),
            ("pack", lambda r=request: values.pack(r, key, labels=labels, created_ms=1)),
            ("unpack", lambda entry=entry: values.unpack(entry)),
            ("weigh", lambda r=request: weigh(r)),
        ):
            found[f"{what}, {size / 1000:.1f} kB"] = (work, times)
    return found


def measure(work: Callable[[], object], times: int) -> float:
    begin = time.perf_counter_ns()
    for _ in range(times):
        work()
    return (time.perf_counter_ns() - begin) / times / 1000


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=os.environ.get("LIBPERF_LLM_CALLS"))
    parser.add_argument("--rounds", type=positive, default=15, metavar="N", help="at least 7 to be quoted (15)")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON for each; - is standard output")
    options = parser.parse_args(argv)
    all_cases = cases(Path(options.file) if options.file else None)
    found = rounds({name: partial(measure, *case) for name, case in all_cases.items()}, options.rounds)
    write([Row(f"keys/{name}", name, "us", samples) for name, samples in found.items()], options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
