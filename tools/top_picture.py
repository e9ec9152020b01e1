"""Draws the screen of `libperf top` as an SVG, for docs/top.md, from a real run of examples/agent_service.py:

    .venv/bin/libperf mock --seed 7 --latency 'lognormal:0.4,0.5' --errors 429:0.02 --quiet -- \\
        .venv/bin/python tools/top_picture.py docs/top.svg
"""

import argparse
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from libperf.cli import build_parser
from libperf.cli.top_screen import Top
from libperf.errors import NotFoundError
from libperf.live import Live

WIDTH, HEIGHT = 110, 40
LOOKS = 45
ROOT = Path(__file__).resolve().parents[1]


def followed(pid: int, options: argparse.Namespace) -> Live:
    """As soon as it records."""
    while True:
        try:
            return Live([pid], history=options.window)
        except NotFoundError:
            time.sleep(0.1)


def main(picture: str) -> None:
    console = Console(
        record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        os.environ["LIBPERF_DIR"] = folder
        service = subprocess.Popen([sys.executable, ROOT / "examples/agent_service.py"], stdout=subprocess.DEVNULL)
        options = build_parser().parse_args(["top", str(service.pid)])
        with followed(service.pid, options) as live:
            top = Top(live, options, console)
            for _ in range(LOOKS):
                time.sleep(options.interval)
                looked = live.refresh()
            console.print(top.draw(looked), end="")
        service.kill()
        service.wait()
    svg = console.export_svg(title="libperf top", font_aspect_ratio=0.6)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)  # fetches nothing when it is looked at
    Path(picture).write_text(svg.replace("Fira Code", "DejaVu Sans Mono, Menlo, Consolas"))


if __name__ == "__main__":
    main(*sys.argv[1:])
