"""A threading.Lock that four pool threads compete for: the bottleneck is `append_index`, the step under the lock.

Hard: the lock has no name, and who waits for it only shows as a thread that is blocked inside `store`.
"""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from _fix import capacity, run, scale

import libperf

FIXES = ["append_index", "fetch", "publish", "crawlers"]
rnd = random.Random(101)
index_lock = threading.Lock()


@libperf.trace
def fetch(seconds):
    time.sleep(seconds * scale("fetch"))


@libperf.trace
def append_index():
    time.sleep(0.06 * scale("append_index"))


@libperf.trace
def store():
    with index_lock:
        append_index()


@libperf.trace
def publish():
    time.sleep(0.2 * scale("publish"))


def crawl(seconds):
    fetch(seconds)
    store()


def main():
    with ThreadPoolExecutor(capacity("crawlers", 4), thread_name_prefix="crawlers") as pool:
        for page in [pool.submit(crawl, 0.06 + 0.04 * rnd.random()) for _ in range(14)]:
            page.result()
    publish()


run(main)
