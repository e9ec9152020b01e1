"""How much longer Python takes to start with `import libperf`: whole processes, taking turns with bare ones."""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import tempfile
from time import perf_counter_ns

from measure import Row, positive, rounds, write


def start_ms(code: str, folder: str) -> float:
    start = perf_counter_ns()
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)
    return (perf_counter_ns() - start) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: .venv-peers/bin/python bench/peers/import_time.py --rounds 31 --json import_time.jsonl",
    )
    parser.add_argument("--rounds", type=positive, default=21, metavar="N", help="at least 15 to be quoted (21)")
    parser.add_argument("--json", metavar="FILE", help="also write a line of JSON per row; - is standard output")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:  # nothing to import lies there
        cases = {code: functools.partial(start_ms, code, folder) for code in ("pass", "import libperf")}
        found = rounds(cases, arguments.rounds)
    bare, ours = found["pass"], found["import libperf"]
    added = [b - a for a, b in zip(bare, ours, strict=True)]
    write(
        [
            Row("start/bare", "python -c pass", "ms", bare),
            Row("start/libperf", "python -c 'import libperf'", "ms", ours),
            Row("start/added", "import libperf adds", "ms", added),
        ],
        arguments.json,
    )


if __name__ == "__main__":
    main()
