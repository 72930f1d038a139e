"""Damage to files, as disks and copies do it."""

import random
from collections.abc import Iterator


def flipped_bits(path, count: int, seed: int = 0) -> Iterator[int]:
    """Flip bits of a file at random, one after the other; each is flipped back before the next.

    Yields:
        The number of the bit that is flipped now.
    """
    content, rng = path.read_bytes(), random.Random(f"{seed} {path.name}")
    try:
        for _ in range(count):
            bit = rng.randrange(8 * len(content))
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            yield bit
    finally:
        path.write_bytes(content)
