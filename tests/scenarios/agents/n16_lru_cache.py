"""A sync agent with functools.lru_cache on a tool: the bottleneck is `geocode`, by its four misses of twelve calls.

Hard: most calls of `geocode` take no time at all, so its median says nothing.
"""

import functools
import time

from _fix import run, scale

import libperf

FIXES = ["geocode", "weather", "compose"]
CITIES = ["Bonn", "Riga", "Bonn", "Oslo", "Riga", "Bonn", "Oslo", "Rome", "Bonn", "Riga", "Rome", "Oslo"]


@libperf.trace
@functools.lru_cache
def geocode(city):
    time.sleep(0.14 * scale("geocode"))
    return len(city)


@libperf.trace
def weather(place):
    time.sleep(0.025 * scale("weather"))


@libperf.trace
def compose():
    time.sleep(0.2 * scale("compose"))


@libperf.trace
def agent():
    for city in CITIES:
        weather(geocode(city))
    compose()


def main():
    agent()


run(main)
