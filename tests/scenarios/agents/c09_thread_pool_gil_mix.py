"""A thread pool whose jobs wait and then compute under the GIL: the bottleneck is the CPU part, `score`."""

import time
from concurrent.futures import ThreadPoolExecutor, as_completed

from _fix import burn, capacity, run, scale

import libperf

FIXES = ["pool", "fetch", "score", "emit_out"]
NOISY = "four threads compete for the GIL"


@libperf.trace
def fetch():
    time.sleep(0.1 * scale("fetch"))


@libperf.trace
def score():
    burn(0.04 * scale("score"))


@libperf.trace
def emit_out():
    time.sleep(0.2 * scale("emit_out"))


def job():
    fetch()
    score()


def main():
    with ThreadPoolExecutor(capacity("pool", 4), thread_name_prefix="pool") as pool:
        for future in as_completed([pool.submit(job) for _ in range(18)]):
            future.result()
    emit_out()


run(main)
