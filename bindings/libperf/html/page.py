"""One HTML page of everything that a recording says: data as JSON, and the scripts that show it, in one file."""

import base64
import hashlib
import html
import json
import math
import os
import string
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..analysis import RELIABLE_ERROR, Analysis
from ..analysis.glossary import CLASSES, LIMITS
from ..errors import PerfError
from ..events import read_events
from ..reader import Reader
from ..reporting import Report
from ..reporting.table import LOSSES
from .actors import read_history
from .fixes import fixes
from .flame import flame
from .latency import latency
from .path import critical_path
from .timeline import timeline

__all__ = ["find_library", "page_data", "render", "write_html"]

SCRIPTS = ("page.js", "bottlenecks.js", "chart.js", "timeline.js", "flame.js", "latency.js", "main.js")
LIBRARY = ("bokeh.min.js", "bokeh-api.min.js")


def write_html(reader: Reader, analysis: Analysis | None, path: str | os.PathLike[str]) -> None:
    """Write the page. PerfError says what to install when Bokeh is not there; OSError: the file cannot be written.

    reader:   of what is shown; may have been read already
    analysis: of the same; None when the program did not run in profiling mode
    """
    find_library()  # before anything that takes long
    Path(path).write_text(render(page_data(reader, analysis)), encoding="utf-8")


def find_library() -> Path:
    """The folder of Bokeh's JavaScript; PerfError when Bokeh is not installed."""
    try:
        from bokeh.util.paths import bokehjs_path
    except ImportError:
        raise PerfError("the HTML report is drawn by Bokeh, which is missing: pip install 'libperf[html]'") from None
    return bokehjs_path() / "js"


# ---- data ----


def page_data(reader: Reader, analysis: Analysis | None) -> dict[str, Any]:
    """Everything that the page shows, as plain data."""
    with Reader(reader.path) as fresh:  # records and events are given once to each reader
        report = Report.read(fresh)
    with Reader(reader.path) as fresh:
        data = {
            "program": _program(report),
            "losses": _losses(report, analysis),
            "flame": flame(fresh.records()),
            "latency": latency(fresh, report),
            "counters": report.counters | {name: value for name, value in report.gauges.items()},
            "classes": CLASSES,
            "limits": LIMITS,
        }
        if analysis:
            rows, notes = fixes(analysis)
            history = read_history(read_events(fresh))
            data["analysis"] = _analysis(analysis) | {"rows": rows, "notes": notes}
            data["timeline"] = timeline(history, fresh.names, critical_path(analysis))
    return data


def _program(report: Report) -> dict[str, Any]:
    info = report.info
    started = datetime.fromtimestamp((info.start_ns + info.wall_offset_ns) / 1e9).astimezone()
    return {
        "name": info.service or Path(info.command).name or "process",
        "command": info.command,
        "pid": info.pid,
        "state": report.state,
        "started": started.strftime("%Y-%m-%d %H:%M:%S %z"),
        "wall": report.wall,
        "spans": sum(row.calls for row in report.rows),
        "libperf": info.version,
    }


def _losses(report: Report, analysis: Analysis | None) -> list[str]:
    found = [f"{count:,} {LOSSES[name]}" for name, count in report.info.losses.items()]
    if report.lost:
        found.append(
            f"{report.lost:,} records were overwritten before they were read: the flame graph misses them, "
            "counts and percentiles do not"
        )
    if analysis and analysis.lost:
        found.append(f"{analysis.lost:,} events were lost")
    return found


def _analysis(analysis: Analysis) -> dict[str, Any]:
    if analysis.stuck:
        doubt = "the replay never came to its end: a deadlock, or something that is not understood"
    elif analysis.lost:
        doubt = f"{analysis.lost:,} events were lost"
    else:
        doubt = f"the replay is more than {RELIABLE_ERROR * 100:.0f} % off"
    return {
        "wall": analysis.wall,
        "startup": analysis.startup,
        "events": analysis.events,
        "error": analysis.self_replay_error,
        "reliable": analysis.reliable,
        "doubt": "" if analysis.reliable else doubt,
        "lottery": analysis.lottery,
    }


# ---- the page ----


def render(data: dict[str, Any]) -> str:
    """The page that shows the data."""
    scripts = [(find_library() / name).read_text(encoding="utf-8") for name in LIBRARY]
    scripts.append('"use strict";\n' + "\n".join(_own(name) for name in SCRIPTS))
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return string.Template(_own("page.html")).substitute(
        title=html.escape(f"{_clean(data['program']['name'])} – libperf"),
        # nothing is fetched, and no script runs but these, whatever a name holds
        policy=f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {hashes}",
        style=_own("page.css"),
        data=page_json(data),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _own(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def page_json(data: Any) -> str:
    """JSON that can stand inside <script>: no text in it can end that, or be taken for a line's end."""
    text = json.dumps(_clean(data), separators=(",", ":"))  # ASCII only: U+2028 is \\u2028
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _clean(value: Any) -> Any:
    """Control characters and what turns the direction of text, so that they are seen; and no number that is none."""
    if isinstance(value, str):
        return value if value.isprintable() else "".join(char if char.isprintable() else _seen(char) for char in value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(each) for each in value]
    return value


def _seen(char: str) -> str:
    return char.encode("unicode_escape").decode()
