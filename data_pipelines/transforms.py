"""Transforms of one example.

A static length by random crop or zero padding. T frames or samples.
"""

import dataclasses

import numpy as np
from grain import transforms as grain_transforms

from lin_jax.audio.chunking import zero_padded

LENGTH_KEY = {"features": "num_frames", "waveform": "length"}


@dataclasses.dataclass(frozen=True)
class RandomCrop(grain_transforms.RandomMap):
    """Cut an example to T at a random place when it is longer, and pad it with zeros when it is
    shorter.
    """

    key: str
    size: int

    def random_map(self, element: dict, rng: np.random.Generator) -> dict:
        """Crop or pad `element[key]` [T', …] to [size, …] and add its valid length."""
        start = int(rng.integers(max(0, len(element[self.key]) - self.size) + 1))
        return fit(element, self.key, self.size, start)


def fit(element: dict, key: str, size: int, start: int = 0) -> dict:
    """`element[key]` [T', …] from `start`, cut or zero-padded to [size, …], with its valid length
    beside it.
    """
    value = element[key][start : start + size]
    return element | {key: zero_padded(value, size), LENGTH_KEY[key]: np.int32(len(value))}
