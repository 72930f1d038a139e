"""A batch of two clips for the tasks of an `AcousticModel`: each symbol sounds alike wherever it stands."""

import numpy as np

M, E, V = 8, 6, 5  # mel bins, embedding, symbols


def make_batch(extra_frames=0, extra_symbols=0):
    rng = np.random.default_rng(0)
    symbols = np.array([[2, 3, 1, 0], [4, 2, 3, 1]])
    durations = np.array([[3, 4, 2, 0], [2, 5, 3, 2]])
    frames = durations.sum(axis=1)
    features = np.zeros((2, 12 + extra_frames, M), np.float32)
    for b in range(2):
        table = rng.normal(size=(V, M))
        features[b, : frames[b]] = np.repeat(table[symbols[b]], durations[b], axis=0)
    wide = ((0, 0), (0, extra_symbols))
    return {
        "symbols": np.pad(symbols, wide),
        "num_symbols": np.array([3, 4]),
        "durations": np.pad(durations, wide),
        "pitch": np.pad(np.array([[1.0, 1.0, 0.5, 0], [0.2, -0.4, -0.4, -0.4]]), wide),
        "voicing": np.pad(np.array([[0, 1.0, 0.5, 0], [1, 0.25, 0, 0]]), wide),
        "features": features,
        "frame_pitch": np.tile(np.where(np.arange(12 + extra_frames) % 3, 0.4, np.nan), (2, 1)),
        "num_frames": frames,
        "voice": np.eye(2, E, dtype=np.float32),
        "weight": np.ones(2, np.float32),
    }
