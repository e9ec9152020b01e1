"""What the scripts here share: rounds, medians, where the numbers came from, and how they are shown."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]


def mad(values: Sequence[float]) -> float:
    """Median absolute deviation from the median."""
    middle = statistics.median(values)
    return statistics.median(abs(value - middle) for value in values)


def rounds(cases: Mapping[str, Callable[[], T]], count: int) -> dict[str, list[T]]:
    """Runs every case once per round, beginning with another one each time: drift and neighbours hit all alike."""
    names = list(cases)
    results: dict[str, list[T]] = {name: [] for name in names}
    for number in range(-1, count):  # the first round warms up and is dropped
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            result = cases[name]()
            if number >= 0:
                results[name].append(result)
    return results


@dataclass
class Row:
    """One measured thing: its samples, one a round, in the unit its name tells."""

    name: str
    what: str
    unit: str
    samples: list[float]
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "repetitions": len(self.samples),
            "min": round(min(self.samples), 4),
            "median": round(self.median, 4),
            "mad": round(mad(self.samples), 4),
            **self.more,
            "samples": [round(sample, 4) for sample in self.samples],
        }


def environment() -> dict[str, Any]:
    """Machine, interpreter, commit and command: what a number means nothing without."""
    return {
        "machine": _cpu(),
        "cpus": os.cpu_count(),
        "compiler": f"{platform.python_implementation()} {platform.python_version()}",
        "commit": _commit(),
        "command": _command(),
        "versions": _peers(),
    }


def _peers() -> dict[str, str]:
    """The versions of those in requirements.txt that this process has loaded."""
    from importlib.metadata import packages_distributions, version  # here: as much as all else that a process loads

    lines = (ROOT / "bench/peers/requirements.txt").read_text().splitlines()
    wanted = {line.partition(">=")[0] for line in lines if not line.startswith("#")}
    loaded = {name.partition(".")[0] for name in sys.modules}
    found = {peer for module, owners in packages_distributions().items() if module in loaded for peer in owners}
    return {peer: version(peer) for peer in sorted(wanted & {name.replace("_", "-") for name in found})}


def _command() -> str:
    """What was typed, without what is this machine's alone."""
    words = shlex.join([Path(sys.executable).name, *(arg.removeprefix(f"{ROOT}/") for arg in sys.orig_argv[1:])])
    for variable in ("LIBPERF_TRACES", "LIBPERF_LLM_CALLS"):
        if place := os.environ.get(variable):
            words = words.replace(shlex.quote(place), f"${variable}")
    return words


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _commit() -> str:
    told = os.environ.get("PERF_BENCH_COMMIT")
    if told is not None:
        return told
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def write(rows: Sequence[Row], json_path: str | None) -> None:
    """A table on standard output; a line of JSON for each row in `json_path` ("-": standard output, no table)."""
    if json_path:
        where = environment()
        lines = "".join(json.dumps({**row.as_json(), **where}) + "\n" for row in rows)
        if json_path == "-":
            sys.stdout.write(lines)
            return
        Path(json_path).write_text(lines)
    width = max(len(row.what) for row in rows)
    for row in rows:
        notes = "  ".join(f"{key} {value}" for key, value in row.more.items())
        print(f"{row.what:<{width}}  {row.median:>10.1f} {row.unit} +-{mad(row.samples):<8.1f} {notes}".rstrip())


def positive(text: str) -> int:
    """An argparse type: a whole number, at least 1."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value
