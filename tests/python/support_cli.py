"""What the tests of commands share: a folder to work in, and what starts programs there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class Runner:
    """A folder to work in, and what starts programs there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segments = folder / "segments"
        self.segments.mkdir()
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("LIBPERF_")}
        self.environment |= {"LIBPERF_DIR": str(self.segments), "TMPDIR": str(folder)}
        for name in ("COLUMNS", "FORCE_COLOR", "PYTHONPATH"):
            self.environment.pop(name, None)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self, *words: str | Path, **settings: Any) -> subprocess.Popen[str]:
        defaults = {"cwd": self.folder, "env": self.environment, "text": True}
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen([sys.executable, *map(str, words)], **{**defaults, **pipes, **settings})

    def plain(self, *words: str | Path, stdin: str = "", **settings: Any) -> tuple[int, str, str]:
        with self.start(*words, **settings) as process:
            out, err = process.communicate(stdin, timeout=60)
            return process.returncode, out, err

    def run(self, *words: str | Path, stdin: str = "", **settings: Any) -> tuple[int, str, str]:
        return self.plain("-m", "libperf", "run", *words, stdin=stdin, **settings)

    def json(self, *words: str | Path) -> tuple[int, dict[str, Any]]:
        """The program's status and its report."""
        status, _, err = self.run("--json", "out.json", *words)
        assert "Traceback" not in err
        return status, json.loads((self.folder / "out.json").read_text())
