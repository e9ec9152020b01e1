"""How small LLM responses become: a dictionary is trained on one half of them, the other half is compressed.

    python bench/compression.py ../shared/llm_calls/dev.jsonl.zst        # or LIBPERF_LLM_CALLS=...
    python bench/compression.py FILE --json build/results/compression.json

A line of the file is a JSON object with "response", the body as text. It is packed as it came, and as libperf stores a
value: parsed, in its own codec. Each file is cut in halves in five ways; ratios are of all bytes, and the mean over values.
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

from libperf._codec import Compressor, encode

SPLITS = 5


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


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=os.environ.get("LIBPERF_LLM_CALLS"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--level", type=int, action="append")
    parser.add_argument("--room", type=int, action="append", help="bytes of the dictionary")
    options = parser.parse_args(argv)
    if not options.file or not Path(options.file).exists():
        print("no file of LLM calls: nothing measured")
        return 0
    bodies = responses(Path(options.file))
    lines = []
    for form, values in (
        ("text", [body.encode() for body in bodies]),
        ("value", [encode(as_value(body)) for body in bodies]),
    ):
        print(f"{form}: {len(values)} responses, {statistics.mean(map(len, values)):.0f} bytes each")
        for level in options.level or [1, 3]:
            for room in options.room or [0, 64 << 10, 110 << 10]:
                runs = [run for split in range(SPLITS) if (run := measure(values, split, level, room))]
                middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
                middle["worst_total"] = min(run["total"] for run in runs)
                middle["by_order"] = runs[0]["total"]
                lines.append({"form": form, "level": level, "dictionary": room, "count": len(values), **middle})
                print(
                    f"  level {level}, dictionary {room >> 10:3} kB: total {middle['total']:.2f} (worst"
                    f" {middle['worst_total']:.2f}, by order {middle['by_order']:.2f}), mean {middle['mean']:.2f},"
                    f" pack {middle['pack_us']:.1f} us, unpack {middle['unpack_us']:.1f} us, train {middle['train_s']:.2f} s"
                )
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
