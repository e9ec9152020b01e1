"""Three bare threads on a queue.Queue: the bottleneck is `scrape`; there is no event loop and no named resource."""

import queue
import random
import threading
import time

from _fix import burn, run, scale

import libperf

FIXES = ["scrape", "clean", "save"]
rnd = random.Random(28)


@libperf.trace
def scrape(seconds):
    time.sleep(seconds * scale("scrape"))


@libperf.trace
def clean():
    burn(0.012 * scale("clean"))


@libperf.trace
def save():
    time.sleep(0.2 * scale("save"))


def worker(pages):
    while True:
        seconds = pages.get()
        if seconds is None:
            break
        scrape(seconds)
        clean()


def main():
    pages = queue.Queue()
    threads = [threading.Thread(target=libperf.wrap(worker), args=(pages,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(21):
        pages.put(0.08 + 0.08 * rnd.random())
    for _ in threads:
        pages.put(None)
    for thread in threads:
        thread.join()
    save()


run(main)
