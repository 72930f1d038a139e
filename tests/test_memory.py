"""Memory that is freed is used again, rather than mapped anew."""

import subprocess
import sys

FAULTS = """
import resource
import numpy as np
from lin_jax import memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        np.ones(1 << 24, np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

memory.keep_freed()
faults()
print(faults())
memory.give_back_freed()
print(faults())
"""


def test_freed_memory_is_kept_or_given_back():
    """Of 3 × 64 MB; where the C library is another one, or pages are huge, both are alike."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True
    )
    kept, given_back = map(int, done.stdout.split())
    assert kept <= given_back
    assert kept < 100 or kept == given_back
