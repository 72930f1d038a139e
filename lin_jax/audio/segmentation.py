"""A recording of speech in phrases, cut where it pauses.

Shape letter: N samples.
"""

import numpy as np

GRAIN_SECONDS = 0.02
SMOOTH = 5  # grains over which loudness is averaged, so that a click is not taken for speech
QUIET_DB = 35.0  # below the loudest moment lies a pause
PAUSE_SECONDS = 0.4  # shorter ones are part of a phrase


def split_on_silence(
    samples: np.ndarray, sample_rate: int, max_seconds: float
) -> list[tuple[int, int]]:
    """Where phrases begin and end.

    Args:
        samples: [N], not all zero.
        sample_rate: in Hz.
        max_seconds: seconds of a phrase; a longer one is cut at a quiet moment of its later half.

    Returns:
        First sample and the one past the last, of each phrase in order; what lies between them are
        pauses.
    """
    from scipy import ndimage

    grain = max(1, round(GRAIN_SECONDS * sample_rate))
    power = np.add.reduceat(np.square(samples, dtype=np.float64), np.arange(0, len(samples), grain))
    power = ndimage.uniform_filter1d(power, SMOOTH, mode="constant")
    (loud,) = np.nonzero(power > power.max() * 10 ** (-QUIET_DB / 10))
    (pauses,) = np.nonzero(np.diff(loud) > PAUSE_SECONDS / GRAIN_SECONDS)
    starts, ends = loud[[0, *pauses + 1]], loud[[*pauses, -1]] + 1
    max_grains, phrases = max(4, int(max_seconds / GRAIN_SECONDS)), []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        while end - start > max_grains:
            # So late that the phrase is long, so early that more than a scrap is left.
            first, last = start + max_grains // 2, min(start + max_grains, end - max_grains // 4)
            cut = first + int(power[first:last].argmin())
            phrases.append((start, cut))
            start = cut
        phrases.append((start, end))
    return [(start * grain, min(end * grain, len(samples))) for start, end in phrases]
