"""Level and silence of recordings, by NumPy alone, so that exported bundles can take this file along."""

import math

import numpy as np

SILENCE = 1e-5  # peak below which a clip holds no sound: -100 dB, under the noise of 16-bit samples


def level(samples: np.ndarray, *, target_db: float, kind: str = "peak") -> np.ndarray:
    """Samples scaled so that their peak or their RMS lies at `target_db` dB of full scale.

    Silence stays silence.

    A clip levelled by "rms" may peak beyond ±1: nothing is clipped here.
    """
    if kind == "peak":
        now = peak(samples)
    elif kind == "rms":
        now = np.sqrt(np.mean(np.square(samples, dtype=np.float64)))
    else:
        raise ValueError(f'kind is "peak" or "rms", not {kind!r}')
    return samples if now == 0 else (samples * (10 ** (target_db / 20) / now)).astype(np.float32)


def trim_silence(
    samples: np.ndarray, top_db: float, *, frame_length: int = 2048, hop_length: int = 512
) -> np.ndarray:
    """Samples without the quiet at both ends, as `librosa.effects.trim`.

    Args:
        samples: [N].
        top_db: a frame is quiet when its RMS lies more than this many dB below the loudest frame's.
        frame_length: samples over which the RMS is taken, even.
        hop_length: samples between frames, the grain of the cut.

    Returns:
        A view [at most N].
    """
    # Frames begin and end at multiples of a grain. Differences of a running sum over the grains'
    # energies give every frame's, whatever the overlap.
    grain = math.gcd(frame_length // 2, hop_length)
    energy = np.add.reduceat(
        np.square(samples, dtype=np.float64), np.arange(0, len(samples), grain)
    )
    energy = np.concatenate([[0.0], np.cumsum(energy)])
    centres = np.arange(0, len(samples) + 1, hop_length) // grain
    first = np.maximum(centres - frame_length // 2 // grain, 0)
    last = np.minimum(centres + frame_length // 2 // grain, len(energy) - 1)
    power = np.maximum((energy[last] - energy[first]) / frame_length, 1e-10)
    (loud,) = np.nonzero(10 * np.log10(power / power.max()) > -top_db)
    return samples[loud[0] * hop_length : (loud[-1] + 1) * hop_length]


def peak(samples: np.ndarray) -> float:
    """Largest magnitude, NaN if any sample is, 0 of none.

    Without a second array as large as the clip.
    """
    return max(samples.max(initial=0), -samples.min(initial=0))
