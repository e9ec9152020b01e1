"""Random numbers that are the same in every version of Python: nothing but Random.random() is promised to stay."""

import math
import random

__all__ = ["Chance"]


class Chance:
    """A stream of random numbers of its own. `stream` tells streams of one seed apart."""

    def __init__(self, seed: int, stream: str) -> None:
        self.uniform = random.Random(f"{seed}/{stream}").random

    def below(self, end: int) -> int:
        """0 to end - 1, each as likely."""
        return int(self.uniform() * end)

    def exponential(self, mean: float) -> float:
        return -mean * math.log(1.0 - self.uniform())

    def normal(self) -> float:
        return math.sqrt(-2.0 * math.log(1.0 - self.uniform())) * math.cos(2.0 * math.pi * self.uniform())

    def lognormal(self, mean: float, variation: float) -> float:
        """With this mean; `variation`: standard deviation by mean."""
        square = math.log(1.0 + variation * variation)
        return mean * math.exp(math.sqrt(square) * self.normal() - square / 2.0)
