"""A producer thread, a bounded queue.Queue and two consumer threads: the bottleneck is `embed`, the consumers' step.

Hard: the producer looks busy all the time, but mostly waits for room in the queue; the threads carry no context.
"""

import queue
import random
import threading
import time

from _fix import run, scale

import libperf

FIXES = ["embed", "read_chunk", "write_out"]
rnd = random.Random(125)
CHUNKS = 16


@libperf.trace
def read_chunk():
    time.sleep(0.03 * scale("read_chunk"))


@libperf.trace
def embed(seconds):
    time.sleep(seconds * scale("embed"))


@libperf.trace
def write_out():
    time.sleep(0.25 * scale("write_out"))


def produce(chunks):
    for _ in range(CHUNKS):
        read_chunk()
        chunks.put(0.09 + 0.04 * rnd.random())
    for _ in range(2):
        chunks.put(None)


def consume(chunks):
    while (seconds := chunks.get()) is not None:
        embed(seconds)


def main():
    chunks = queue.Queue(maxsize=2)
    threads = [threading.Thread(target=target, args=(chunks,)) for target in (produce, consume, consume)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    write_out()


run(main)
