"""A sync think-act loop, no threads: the bottleneck is `search_tool`, made of six short sleeps a call."""

import random
import time

from _fix import run, scale, spin

import libperf

FIXES = ["llm", "search_tool", "parse_out", "memory"]
rnd = random.Random(21)


@libperf.trace
def llm():
    time.sleep((0.1 + 0.05 * rnd.random()) * scale("llm"))


@libperf.trace
def search_tool():
    for _ in range(6):
        time.sleep(0.025 * scale("search_tool"))


@libperf.trace
def parse_out():
    spin(300000 * scale("parse_out"))


@libperf.trace
def memory():
    time.sleep(0.05 * scale("memory"))


@libperf.trace
def agent():
    for _ in range(5):
        llm()
        parse_out()
        search_tool()
        memory()


def main():
    agent()


run(main)
