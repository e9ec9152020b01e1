"""The tables of RESULTS.md that `perf-hit-ratio FOLDER --json FILE` and through_python.py are the source of."""

from __future__ import annotations

from typing import Any

POLICIES = ("lru", "s3fifo", "adaptive")

Line = dict[str, Any]
Rows = list[list[str]]

SUMMARY_HEAD = ["policy", "mean share of the optimum", "worst cell against LRU", "cells > 1 point under LRU", "bar"]
CELLS_HEAD = ["trace @ entries", "LRU", "S3-FIFO", "adaptive", "optimum"]
THROUGH_HEAD = ["policy", "used by", "mean", "median", "worst"]
SIZES_HEAD = ["trace @ MiB", "misses: LRU", "S3-FIFO", "adaptive", "of bytes: LRU", "S3-FIFO", "adaptive"]


def verdict(line: Line) -> str:
    """The promise is about the policy that caches use."""
    if line["policy"] != "adaptive":
        return "-"
    return ">= .78, >= -5 points: " + ("met" if line["share"] >= 0.78 and line["worst"] >= -0.05 else "**missed**")


def summary_rows(lines: list[Line]) -> Rows:
    return [
        [
            line["policy"],
            f"{line['share']:.4f} of {line['traces']} traces",
            f"{100 * line['worst']:+.1f} points {line['where']}".rstrip(),
            f"{line['below']} of {line['cells']}",
            verdict(line),
        ]
        for line in lines
        if "policy" in line
    ]


def cell_rows(lines: list[Line]) -> Rows:
    return [
        [f"{line['trace']} @{line['entries']}", *(f"{100 * line[policy]:.1f}" for policy in (*POLICIES, "opt"))]
        for line in lines
        if "entries" in line
    ]


def size_rows(lines: list[Line]) -> Rows:
    return [
        [
            f"{line['trace']} @{line['mib']}",
            *(f"{100 * (1 - line[policy]):.1f}" for policy in POLICIES),
            *(f"{100 * (1 - line[policy + '_bytes']):.1f}" for policy in POLICIES),
        ]
        for line in lines
        if "mib" in line
    ]


def through_rows(lines: list[Line]) -> Rows:
    return [
        [
            *(line["policy"], line["form"], f"{line['mean']:+.2f} of {line['cells']} cells", f"{line['median']:+.2f}"),
            f"{line['worst']:+.2f} {line['where']}",
        ]
        for line in lines
        if "form" in line
    ]
