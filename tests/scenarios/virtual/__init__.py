"""Agents in virtual time whose bottlenecks are known: what a fix gains is measured by running the agent again with it.

`PYTHONPATH=tests python -m scenarios.virtual [AGENTS]` prints how often each way to find a bottleneck is right.
"""
