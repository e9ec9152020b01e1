"""OpenMetrics 1.0 text, and the classic text of Prometheus (0.0.4) for those who do not know it.

>>> with libperf.Reader("trace.perf") as reader:
...     write(reader, sys.stdout)

Both are written from the same families (families.py). The classic one has neither units, exemplars, nor an end mark.
"""

import functools
import math
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from ..processes.counts import Bounds, Exemplar, read_counts
from ..reader import Reader
from .families import DURATION_BOUNDS, Families, Family, Group, Labels, Sample, all_bounds

__all__ = ["CLASSIC", "OPENMETRICS", "choose", "render", "write"]

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
CLASSIC = "text/plain; version=0.0.4; charset=utf-8"
EXEMPLAR_MAX = 128  # characters of its labels' names and values together
SERIES_KEPT = 50_000  # series whose text is remembered: a scrape is mostly what the one before was


class Out(Protocol):
    """What text is written to."""

    def write(self, text: str, /) -> Any: ...


def write(
    readers: Reader | Iterable[Reader],
    out: Out,
    *,
    classic: bool = False,
    buckets: Bounds = DURATION_BOUNDS,
    gen_ai: bool = True,
    exemplars: bool = True,
) -> None:
    """Write what the readers' pictures hold, each with labels `service` and `pid`, as OpenMetrics text.

    readers:   one, or several of different processes
    classic:   in the format 0.0.4 of Prometheus
    buckets:   upper bounds of durations in seconds
    gen_ai:    model calls and tools also under the names of OpenTelemetry's conventions
    exemplars: a span for each bucket, the slowest recent one; takes the records that were not read yet
    """
    counted = all_bounds(buckets, gen_ai)
    families = Families(counted=counted, durations=buckets, gen_ai=gen_ai)
    for reader in [readers] if isinstance(readers, Reader) else readers:
        info = reader.info
        counts = read_counts(reader, counted, exemplars=exemplars and not classic, info=info)
        labels: Labels = (("service", info.service), ("pid", str(info.pid)))
        families.add_group(Group(labels, counts))
        for name, gauge in counts.gauges.items():
            families.add_gauge(name, labels, gauge.value)
    for text in render(families.list(), classic=classic):
        out.write(text)


def render(families: Iterable[Family], *, classic: bool = False) -> Iterator[str]:
    """The text, family by family."""
    for family in families:
        lines = _head_classic(family) if classic else _head(family)
        lines += [_sample(family.name, sample, classic) for sample in family.samples]
        yield "\n".join(lines) + "\n"
    if not classic:
        yield "# EOF\n"


def _head(family: Family) -> list[str]:
    unit = [f"# UNIT {family.name} {family.unit}"] if family.unit else []
    return [f"# TYPE {family.name} {family.type}", *unit, f"# HELP {family.name} {_quoted(family.help)}"]


def _head_classic(family: Family) -> list[str]:
    suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
    name, type = family.name + suffix, "gauge" if family.type == "info" else family.type
    text = family.help.replace("\\", "\\\\").replace("\n", "\\n")
    return [f"# HELP {name} {text}", f"# TYPE {name} {type}"]


def _sample(name: str, sample: Sample, classic: bool) -> str:
    suffix, labels, value, exemplar = sample
    text = str(value) if type(value) is int else _number(value)
    line = f"{_series(name, suffix, labels)} {text}"
    return line + _exemplar(exemplar) if exemplar and not classic else line


@functools.lru_cache(maxsize=SERIES_KEPT)
def _series(name: str, suffix: str, labels: Labels) -> str:
    return f"{name}{suffix}{_labels(labels)}"


def _exemplar(exemplar: Exemplar) -> str:
    labels = (("trace_id", exemplar.trace_id), ("span_id", exemplar.span_id))
    if sum(len(name) + len(value) for name, value in labels) > EXEMPLAR_MAX:
        return ""
    return f" # {_labels(labels)} {_number(exemplar.duration_ns / 1e9)} {exemplar.at:.3f}"


def _labels(labels: Labels) -> str:
    """Empty values are the same as none, to both formats; `service` is often empty."""
    text = ",".join(f'{name}="{_quoted(value)}"' for name, value in labels if value)
    return f"{{{text}}}" if text else ""


_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\0": "\u2400"})  # Prometheus takes NUL for the end


def _quoted(text: str) -> str:
    """Lone surrogates have no UTF-8: they become question marks."""
    return text.translate(_ESCAPES).encode("utf-8", "replace").decode()


def _number(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)


def choose(accept: str) -> str:
    """The content type for an Accept header: OpenMetrics for who likes it no less than plain text."""
    liked = {OPENMETRICS: 0.0, CLASSIC: 0.0}
    for part in accept.lower().split(","):
        media, *parameters = (word.strip() for word in part.split(";"))
        values = dict(word.split("=", 1) for word in parameters if "=" in word)
        if media == "application/openmetrics-text" and values.get("version", "1.0.0").strip('"') in ("1.0.0", "0.0.1"):
            liked[OPENMETRICS] = max(liked[OPENMETRICS], _weight(values))
        elif media in ("text/plain", "text/*", "*/*"):
            liked[CLASSIC] = max(liked[CLASSIC], _weight(values))
    return OPENMETRICS if liked[OPENMETRICS] > 0 and liked[OPENMETRICS] >= liked[CLASSIC] else CLASSIC


def _weight(parameters: dict[str, str]) -> float:
    try:
        weight = float(parameters.get("q", "1"))
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
