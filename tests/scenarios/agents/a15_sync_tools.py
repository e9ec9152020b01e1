"""A sync agent with a pool of three threads and CPU work beside it: the bottleneck is `web`, and its pool, `tools`."""

import random
import time
from concurrent.futures import ThreadPoolExecutor

from _fix import capacity, run, scale, spin

import libperf

FIXES = ["tools", "web", "calc", "compose"]
rnd = random.Random(15)


@libperf.trace
def web(seconds):
    time.sleep(seconds * scale("web"))


@libperf.trace
def calc():
    spin(1500000 * scale("calc"))


@libperf.trace
def compose():
    time.sleep(0.25 * scale("compose"))


def main():
    with ThreadPoolExecutor(capacity("tools", 3), thread_name_prefix="tools") as pool:
        pages = [pool.submit(web, 0.1 + 0.1 * rnd.random()) for _ in range(12)]
        calc()
        for page in pages:
            page.result()
    compose()


run(main)
