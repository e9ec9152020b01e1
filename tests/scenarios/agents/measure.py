"""Measures what each agent's fixes really gain, and scores how well `libperf run` predicts it.

A gain is the share of the agent's time that a fix saves: an operation in half its time, a resource twice as large.
"""

import argparse
import ast
import hashlib
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

EXAMPLES = """\
examples:
  measure.py truths                     measure the agents that are new or have changed, into truth.json
  measure.py truths 'b1' --again        b10 to b18 once more
  measure.py score                      top-1 and errors of `libperf run` on all agents
  measure.py score '*_lg_' --show-ties  on those with LangGraph
  measure.py score --libperf 'python3 -m libperf' --min-top1 0.95 --max-p90 3
"""
HERE = Path(__file__).parent
TRUTHS = HERE / "truth.json"
TIE = 0.9  # of the best gain: naming this operation is right too
TIMEOUT_S = 120
BUSY = 0.5  # of a core: what other programs may take during a measurement
PAUSE_S = 5  # before the next try
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "FIX"} | {"LANGSMITH_TRACING": "false"}


@dataclass
class Agent:
    path: Path
    fixes: list[str]
    noisy: bool
    source: str
    """A hash of the program without its docstring and comments."""

    @property
    def name(self) -> str:
        return self.path.stem

    @classmethod
    def read(cls, path: Path) -> "Agent":
        _docstring, *body = ast.parse(path.read_text()).body
        constants = {
            node.targets[0].id: ast.literal_eval(node.value)
            for node in body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id in ("FIXES", "NOISY")
        }
        program = ast.unparse(ast.Module(body, []))
        return cls(path, constants["FIXES"], "NOISY" in constants, hashlib.sha256(program.encode()).hexdigest()[:16])


class FailedError(Exception):
    """An agent ended badly. The text is the last line that it wrote to standard error."""


def agents(patterns: list[str]) -> list[Agent]:
    names = [path for path in sorted(HERE.glob("[a-z][0-9][0-9]_*.py"))]
    return [Agent.read(path) for path in names if any(fnmatch(path.stem, f"{pattern}*") for pattern in patterns)]


def read_truths() -> dict[str, Any]:
    return json.loads(TRUTHS.read_text()) if TRUTHS.exists() else {}


def execute(command: list[str], **environment: str) -> str:
    """Standard output of a command."""
    try:
        done = subprocess.run(
            command, env=ENVIRONMENT | environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FailedError(f"no end within {TIMEOUT_S} s") from error
    if done.returncode:
        raise FailedError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
    return done.stdout


# ---- truths ----


def settled(times: list[float]) -> bool:
    """Whether a second run was nearly as fast as the fastest, so that the minimum is no accident."""
    fastest, second = sorted(times)[:2]
    return second <= 1.01 * fastest


def elapsed(agent: Agent, fix: str, patience: int) -> float:
    """One run. It is made again when other programs took more than half a core meanwhile."""
    for _ in range(patience + 1):
        start, others = time.monotonic(), others_seconds()
        output = execute([sys.executable, str(agent.path)], FIX=fix)
        if not patience or others_seconds() - others <= BUSY * (time.monotonic() - start):
            return float(re.findall(r"^ELAPSED (\S+)", output, re.MULTILINE)[-1])
        time.sleep(PAUSE_S)
    raise FailedError("other programs keep the machine busy; --patience 0 does not mind")


def others_seconds() -> float:
    """The CPU time of this machine so far, without that of this process and its children."""
    user, nice, system, _idle, _iowait, *rest = Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    ticks = sum(map(int, (user, nice, system, *rest)))
    return ticks / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def measure(agent: Agent, rounds: int, patience: int) -> dict[str, Any]:
    """Rounds of base and all fixes in turn, so that a slow minute of the machine meets them all alike.

    There are more of them, up to three times as many, as long as minima are not settled.
    """
    seconds: dict[str, list[float]] = {fix: [] for fix in ["", *agent.fixes]}
    done = 0
    while done < rounds or (done < 3 * rounds and not agent.noisy and not all(map(settled, seconds.values()))):
        for fix, times in seconds.items():
            times.append(elapsed(agent, fix, patience))
        done += 1
    typical: Callable[[list[float]], float] = statistics.median if agent.noisy else min
    base = typical(seconds.pop(""))
    return {
        "seconds": round(base, 3),
        "gains": {fix: round(1 - typical(times) / base, 4) for fix, times in seconds.items()},
        "python": platform.python_version(),
        "rounds": done,
        "source": agent.source,
    }


def command_truths(options: argparse.Namespace) -> int:
    status = 0
    for agent in agents(options.patterns):
        truths = read_truths()
        if truths.get(agent.name, {}).get("source") == agent.source and not options.again:
            continue
        try:
            truth = measure(agent, options.rounds + 2 * agent.noisy, options.patience)
        except FailedError as error:
            print(f"FAILED  {agent.name}: {error}", flush=True)
            status = 1
            continue
        TRUTHS.write_text(json.dumps(dict(sorted((truths | {agent.name: truth}).items())), indent=1) + "\n")
        gains = sorted(truth["gains"].items(), key=lambda item: -item[1])
        print(f"{agent.name:<28} {truth['seconds']:.3f} s  ", *[f"{name} {100 * gain:.1f} " for name, gain in gains])
        sys.stdout.flush()
    return status


# ---- score ----


@dataclass
class Score:
    """One agent: what the report promised beside what was measured."""

    measured: dict[str, float]
    promised: dict[str, float]
    top: str | None
    replay_error: float | None

    @classmethod
    def of(cls, measured: dict[str, float], report: dict[str, Any]) -> "Score":
        found: dict[str, float] = {}
        for entry in report["bottlenecks"]:
            found.setdefault(entry["name"], _promise(entry))  # the largest comes first
        promised = {fix: found.get(fix, 0.0) for fix in measured}
        return cls(measured, promised, next(iter(found), None), report.get("self_replay_error"))

    @property
    def best(self) -> list[str]:
        """The operations that it is right to name: the best, and those that are nearly as good."""
        bar = TIE * max(self.measured.values())
        return [name for name, gain in self.measured.items() if gain >= bar]

    @property
    def right(self) -> bool:
        return self.top in self.best

    @property
    def errors(self) -> list[float]:
        return [abs(self.promised[name] - gain) for name, gain in self.measured.items()]

    def line(self, name: str, show_ties: bool) -> str:
        ranked = sorted(self.measured, key=lambda fix: -self.measured[fix])
        gains = "  ".join(f"{fix} {100 * self.promised[fix]:.1f}/{100 * self.measured[fix]:.1f}" for fix in ranked)
        replay = "     -" if self.replay_error is None else f"{100 * self.replay_error:4.1f} %"
        said = "" if self.right else f"  named {self.top}"
        ties = f"  right: {', '.join(self.best)}" if show_ties and len(self.best) > 1 else ""
        return f"{'right' if self.right else 'WRONG':<6} {name:<28} replay {replay}  {gains}{said}{ties}"


def _promise(entry: dict[str, Any]) -> float:
    """The gain of the fix that is measured here, also where a cache would save more and is what the report says."""
    if entry["fix"]["action"] != "cache":
        return float(entry["gain"])
    return next((float(way["gain"]) for way in entry["alternatives"] if way["action"] == "faster"), 0.0)


def score_agent(agent: Agent, libperf: list[str], truth: dict[str, Any]) -> Score:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "report.json"
        execute([*libperf, "run", "--json", str(target), str(agent.path)])
        return Score.of(truth["gains"], json.loads(target.read_text()))


def summarise(scores: list[Score], failed: int) -> dict[str, Any]:
    errors = sorted(100 * error for score in scores for error in score.errors) or [0.0]
    replays = [100 * score.replay_error for score in scores if score.replay_error is not None]
    return {
        "agents": len(scores) + failed,
        "failed": failed,
        "right": sum(score.right for score in scores),
        "gains": sum(len(score.errors) for score in scores),
        "error_median_points": statistics.median(errors),
        "error_p90_points": errors[int(0.9 * len(errors))],
        "error_worst_points": errors[-1],
        "replay_error_median_percent": statistics.median(replays) if replays else None,
        "replay_error_worst_percent": max(replays, default=None),
    }


def summary_text(summary: dict[str, Any]) -> str:
    text = (
        f"top-1 {summary['right']}/{summary['agents']}, |promised - measured| "
        f"median {summary['error_median_points']:.1f}, p90 {summary['error_p90_points']:.1f}, "
        f"worst {summary['error_worst_points']:.0f} points of {summary['gains']} gains"
    )
    if summary["replay_error_median_percent"] is not None:
        text += (
            f"; self-replay error median {summary['replay_error_median_percent']:.1f}, "
            f"worst {summary['replay_error_worst_percent']:.1f} %"
        )
    return text


def command_score(options: argparse.Namespace) -> int:
    truths = read_truths()
    scores: dict[str, Score] = {}
    failed = 0
    print("promised/measured gains in percent of the agent's time, largest first")
    for agent in agents(options.patterns):
        truth = truths.get(agent.name)
        if truth is None:
            print(f"no truth for {agent.name}: measure.py truths {agent.name}")
            continue
        try:
            score = scores[agent.name] = score_agent(agent, shlex.split(options.libperf), truth)
        except (FailedError, KeyError, OSError, ValueError) as error:
            failed += 1
            print(f"FAILED {agent.name}: {type(error).__name__} {error}", flush=True)
            continue
        changed = "" if truth["source"] == agent.source else "  (changed since it was measured)"
        print(score.line(agent.name, options.show_ties) + changed, flush=True)
    summary = summarise(list(scores.values()), failed)
    print(summary_text(summary))
    if options.json:
        rows = {
            name: {
                "right": score.right,
                "top": score.top,
                "promised": score.promised,
                "measured": score.measured,
                "self_replay_error": score.replay_error,
            }
            for name, score in scores.items()
        }
        options.json.write_text(json.dumps({"summary": summary, "agents": rows}, indent=1) + "\n")
    good = summary["right"] >= options.min_top1 * summary["agents"] and summary["error_p90_points"] <= options.max_p90
    return 0 if good and summary["agents"] else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    truths = commands.add_parser("truths", help="run each agent with and without its fixes, write truth.json")
    truths.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="runs of each (default 3; noisy agents 2 more)"
    )
    truths.add_argument(
        "--patience", type=int, default=50, metavar="N", help="new tries while other programs compute (default 50)"
    )
    truths.add_argument("--again", action="store_true", help="also what is measured already")
    truths.set_defaults(action=command_truths)
    score = commands.add_parser("score", help="compare what `libperf run` promises with truth.json")
    beside = str(Path(sys.executable).with_name("libperf"))
    score.add_argument("--libperf", default=shlex.quote(beside), metavar="COMMAND", help=f"default: {beside}")
    score.add_argument("--json", type=Path, metavar="FILE", help="write the scores as JSON too")
    score.add_argument("--show-ties", action="store_true", help="say where several answers are right")
    score.add_argument(
        "--min-top1", type=float, default=0.0, metavar="SHARE", help="fail below this share of right ones"
    )
    score.add_argument("--max-p90", type=float, default=100.0, metavar="POINTS", help="fail above this P90 of errors")
    score.set_defaults(action=command_score)
    for command in (truths, score):
        command.add_argument(
            "patterns", nargs="*", default=["*"], metavar="PATTERN", help="beginnings of names, or globs"
        )
    options = parser.parse_args()
    return int(options.action(options))


if __name__ == "__main__":
    sys.exit(main())
