"""The batcher's queue in virtual time, beside other rules and beside the best that is possible.

`python -m libperf.batcher.simulate` prints the tables. Nothing sleeps and no thread runs: an hour of load is a second of
work, and the same seed gives the same table, byte for byte.

workloads: what arrives, and how long a batch takes     engine: plays it to a policy, moment by moment
ours, policies: the real queue; what others do          measures: what came of it
oracle, offline: the optimum, bounds no policy passes   experiments, tables: rows of numbers; how they are shown
"""
