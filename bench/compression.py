"""How small LLM responses become: a dictionary is trained on one half of them, the other half is compressed.

    python bench/compression.py ../shared/llm_calls/dev.jsonl.zst        # or LIBPERF_LLM_CALLS=...
    python bench/compression.py FILE --json build/results/compression.jsonl

A line of the file is a JSON object with "response", the body as text. It is packed as it came, and as libperf stores a
value: parsed, in its own codec. Each file is cut in halves in five ways; ratios are of all bytes, and the mean over values.
The row "compression" is what the cache does: values, its level, its dictionary's size.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from peers.measure import Row, write

from libperf._codec import Compressor, encode
from libperf.cache.compression import DICTIONARY_BYTES

SPLITS = 5
LEVEL = 5  # of Compression


def responses(path: Path) -> list[str]:
    text = path.read_bytes()
    if path.suffix == ".zst":
        text = subprocess.run(["zstd", "-dc"], input=text, capture_output=True, check=True).stdout
    return [json.loads(line)["response"] for line in text.splitlines()]


def as_value(body: str) -> object:
    try:
        return json.loads(body)
    except ValueError:  # a recorded stream
        return body


def halves(values: Sequence[bytes], split: int) -> tuple[list[bytes], list[bytes]]:
    """The first split is by order, as time goes by; the others are random, the same in each run."""
    order = list(range(len(values)))
    if split:
        random.Random(split).shuffle(order)
    middle = len(order) // 2
    return [values[i] for i in order[:middle]], [values[i] for i in order[middle:]]


def us_each(work: Iterable[Any], count: int) -> float:
    """Of three rounds the fastest; `work` is a generator function's call that is made anew."""
    return min(_timed(work) for _ in range(3)) / count * 1e6


def _timed(work: Any) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def measure(values: list[bytes], split: int, level: int, room: int) -> dict[str, float]:
    trained_on, rest = halves(values, split)
    compressor = Compressor(level)
    id_ = 0
    begin = time.perf_counter()
    if room:
        made = Compressor.train(trained_on, room, level)
        if made is None:
            return {}
        id_ = compressor.add(made)
    trained = time.perf_counter() - begin
    packed = [compressor.pack(value, id_) for value in rest]
    sizes = [len(value) if small is None else len(small) for value, small in zip(rest, packed, strict=True)]
    pairs = [(small, len(value)) for value, small in zip(rest, packed, strict=True) if small is not None]
    for value, small in zip(rest, packed, strict=True):
        assert small is None or compressor.unpack(small, id_, len(value)) == value
    return {
        "total": sum(map(len, rest)) / sum(sizes),
        "mean": statistics.mean(len(value) / size for value, size in zip(rest, sizes, strict=True)),
        "pack_us": us_each(lambda: [compressor.pack(value, id_) for value in rest], len(rest)),
        "unpack_us": us_each(lambda: [compressor.unpack(small, id_, size) for small, size in pairs], len(pairs)),
        "train_s": trained,
    }


def row(form: str, values: list[bytes], level: int, room: int) -> Row:
    """The samples are the ratios of the splits: their least is the worst split's."""
    runs = [run for split in range(SPLITS) if (run := measure(values, split, level, room))]
    totals = [run.pop("total") for run in runs]
    more: dict[str, Any] = {key: round(statistics.median(run[key] for run in runs), 3) for key in runs[0]}
    more |= {"by_order": round(totals[0], 3), "count": len(values), "bytes": round(statistics.mean(map(len, values)))}
    ours = (form, level, room) == ("value", LEVEL, DICTIONARY_BYTES)
    name = "compression" if ours else f"compression/{form}/level {level}/{room >> 10} kB"
    what = f"{form}, level {level}, " + (f"dictionary of {room >> 10} kB" if room else "no dictionary")
    return Row(name, what + (": the cache's" if ours else ""), "x", totals, more)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=os.environ.get("LIBPERF_LLM_CALLS"))
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON for each; - is standard output")
    parser.add_argument("--level", type=int, action="append", help=f"may be given more than once (1, {LEVEL})")
    parser.add_argument("--room", type=int, action="append", help=f"bytes of the dictionary (0, {DICTIONARY_BYTES})")
    options = parser.parse_args(argv)
    if not options.file or not Path(options.file).exists():
        print("no file of LLM calls: nothing measured")
        return 0
    bodies = responses(Path(options.file))
    forms = {"text": [body.encode() for body in bodies], "value": [encode(as_value(body)) for body in bodies]}
    rows = [
        row(form, values, level, room)
        for form, values in forms.items()
        for level in options.level or [1, LEVEL]
        for room in options.room or [0, DICTIONARY_BYTES]
    ]
    write(rows, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
