"""Clips of their own lengths as a batch of static shape.

B clips, T frames or samples.
"""

from collections.abc import Sequence

import numpy as np

LENGTH_KEY = {"features": "num_frames", "waveform": "length"}


def fit(
    clips: Sequence[np.ndarray], size: int, places: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Cut or pad clips to one length.

    Args:
        clips: [T', …] each.
        size: T.
        places: where a longer clip is cut, from 0, its beginning, to 1, its end [B]; all at their
            beginning when None.

    Returns:
        [B, T, …] with zeros after shorter clips, and how many of each are real [B] int32.
    """
    batch = np.zeros((len(clips), size, *clips[0].shape[1:]), clips[0].dtype)
    lengths = np.zeros(len(clips), np.int32)
    for row, clip in enumerate(clips):
        start = 0 if places is None else int(places[row] * (max(0, len(clip) - size) + 1))
        piece = clip[start : start + size]
        batch[row, : len(piece)], lengths[row] = piece, len(piece)
    return batch, lengths
