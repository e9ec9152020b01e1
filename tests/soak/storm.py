"""A storm over segments: programs that trace from many threads, fork, and are killed at any moment, while readers read.

    .venv/bin/python tests/soak/storm.py --minutes 5 --seed 1

Checked all the time, for living and for dead processes:
- no segment is ever damaged, whenever its writer died
- a dead process's records, read and lost, are as many as its counters say
- a dead process's segment is known as dead, a living one's as alive
Ends with status 1 and the seed at the first thing that is wrong.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from libperf import Reader

WORKER = """
import os, random, sys, threading
import libperf
seed = int(sys.argv[1])
libperf.configure(ring_bytes=random.Random(seed).choice([1 << 16, 1 << 18, 1 << 22]))

@libperf.trace
def leaf(n):
    if n % 97 == 0:
        raise ValueError(n)

@libperf.trace(tags={"seed": seed, "what": "branch of a tree"})
def branch(n):
    for i in range(n):
        try:
            leaf(i)
        except ValueError:
            pass

def work(seed):
    rnd = random.Random(seed)
    while True:
        with libperf.span(f"work {rnd.randrange(50)}", bytes=rnd.randrange(1000)) as s:
            branch(rnd.randrange(200))
            s.log("round done")
        if rnd.random() < 0.02:
            thread = threading.Thread(target=branch, args=(100,))
            thread.start()
            thread.join()
        if rnd.random() < 0.005 and threading.current_thread() is threading.main_thread():
            child = os.fork()
            if not child:
                branch(50)
                os._exit(0)
            os.waitpid(child, 0)

for i in range(3):
    threading.Thread(target=work, args=(seed * 10 + i,), daemon=True).start()
print("ready", flush=True)
work(seed * 10 + 9)
"""


class Failed(Exception):
    """Something that must hold does not."""


def check(path: Path, alive: bool | None) -> int:
    """Read one segment and see that it makes sense; returns how many spans it counts."""
    with Reader(path) as reader:
        info = reader.info
        if info.damaged:
            raise Failed(f"{path}: {info.damaged} damaged parts")
        if alive is not None and info.alive != alive:
            raise Failed(f"{path}: alive is {info.alive}, should be {alive}")
        counted = sum(reader.totals(name).count for name in reader.names if name.kind.is_operation)
        spans = logs = 0
        for record in reader.records():
            if record.type == "log":
                logs += 1
                continue
            spans += 1
            if record.end is None or record.end < record.start or not record.id:
                raise Failed(f"{path}: a record makes no sense: {record}")
        # A span is counted before its record is written: death may catch each thread between the two. The writer of a
        # living segment goes on while it is copied, so counts may be ahead of records by any number.
        missing = counted - spans - reader.lost
        if not alive and not -logs - reader.lost <= missing <= info.threads:
            raise Failed(f"{path}: {counted} counted, {spans} read, {reader.lost} lost, {logs} log lines")
        return counted


def storm(folder: Path, minutes: float, seed: int) -> None:
    rnd = random.Random(seed)
    end = time.monotonic() + minutes * 60
    environment = dict(os.environ, LIBPERF_DIR=str(folder))
    killed = spans = 0
    while time.monotonic() < end:
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", WORKER, str(rnd.randrange(10**6))], env=environment, stdout=subprocess.PIPE
            )
            for _ in range(2)
        ]
        for worker in workers:
            assert worker.stdout and worker.stdout.readline() == b"ready\n"
        for _ in range(rnd.randrange(1, 20)):
            for path in folder.glob("*/*.perf"):
                if path.name.startswith(tuple(f"{worker.pid}-" for worker in workers)):
                    spans += check(path, True)
        for worker in workers:
            worker.send_signal(rnd.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV]))
            worker.communicate()
            killed += 1
            for path in folder.glob(f"*/{worker.pid}-*.perf"):
                spans += check(path, False)
        print(f"\r{killed} killed, {spans:,} counts checked", end="", flush=True)
    print()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        try:
            storm(Path(folder), options.minutes, options.seed)
        except Failed as failure:
            print(f"\nseed {options.seed}: {failure}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
