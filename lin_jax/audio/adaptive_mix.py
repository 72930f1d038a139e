"""How much of a change to a recording is made.

Where it is slight, or fills a gap, it may not be called for.

Shape letters: B recordings, N samples, T frames, F frequency bins.
"""

import jax.numpy as jnp

from lin_jax.audio.frontend import istft, stft

HOP_SECONDS = 0.016
SECONDS = 1.5  # to either side of a frame, from which its surroundings are known
FLOOR_DB = -25.0  # beside the surroundings: a loss that is as soft as that is no great change
BAND_HZ = 280.0  # to either side of a frequency, from which its surroundings are known
EMPTY_DB = -70.0  # beside all frequencies: less than that is no sound
FILLED_DB = 3.0  # by which a change makes louder what it fills


def adaptive_mix(
    waveform,
    change,
    length,
    sample_rate: int,
    *,
    slight_db: float,
    large_db: float,
    min_gain: float,
):
    """What is made of the changes to recordings.

    A change is large if it is large beside the recording in most of the frames around, even in
    pauses, as it is where noise is taken away; the frames count alike, whatever their power.
    Besides, less is made of what fills a band that was empty, as that is but guessed.

    Args:
        waveform: the recordings [B, N].
        change: what would be added to them [B, N].
        length: valid samples of each [B].
        sample_rate: in Hz.
        slight_db: mean ratio of the change's power to the recording's, at or below which the change
            is slight.
        large_db: at or above which it is large, and all of it is made.
        min_gain: how much is made of a slight change, and of what fills a band, 0 to 1; in between,
            as many decibels lie.

    Returns:
        What is to be added [B, N].
    """
    N, hop = waveform.shape[1], round(HOP_SECONDS * sample_rate)
    there = jnp.arange(N) < length[:, None]
    before, change = (
        stft(jnp.where(there, x, 0.0), 2 * hop, hop, 2 * hop) for x in (waveform, change)
    )  # [B, T, F]
    was, is_now = _power(before), _power(before + change)
    size_db = _size_db(
        was.sum(axis=-1),
        _power(change).sum(axis=-1),
        jnp.arange(was.shape[1]) * hop < length[:, None],
    )
    filled_db = _filled_db(was, is_now, round(BAND_HZ / sample_rate * 2 * hop))
    for trust in (
        (size_db - slight_db)[..., None] / (large_db - slight_db),
        1.0 - filled_db / FILLED_DB,
    ):
        change = change * (min_gain + (1.0 - min_gain) * jnp.clip(trust, 0.0, 1.0))
    return istft(change, hop, 2 * hop, N)


def _size_db(was, by, there):
    """Mean power of changes over that of recordings [B, T], around each frame that is `there`."""
    reach = round(SECONDS / HOP_SECONDS)
    count = jnp.maximum(_around(there, reach, axis=1), 1.0)
    floor = 10 ** (FLOOR_DB / 10) * _around(was, reach, axis=1) / count
    ratio = jnp.where(there, jnp.minimum(by / jnp.maximum(was + floor, 1e-12), 1.0), 0.0)
    return 10.0 * jnp.log10(jnp.maximum(_around(ratio, reach, axis=1) / count, 1e-9))


def _filled_db(was, is_now, band):
    """By how much a change makes louder what is around each bin of powers [B, T, F]."""
    reach = round(SECONDS / HOP_SECONDS)
    was, is_now = (_around(_around(power, reach, axis=1), band, axis=2) for power in (was, is_now))
    floor = 10 ** (EMPTY_DB / 10) * was.sum(axis=-1, keepdims=True) + 1e-12
    return 10.0 * jnp.log10((is_now + floor) / (was + floor))


def _power(spectrum):
    return spectrum.real**2 + spectrum.imag**2


def _around(x, reach: int, axis: int):
    """Sum of a value and of `reach` others to either side along an axis.

    Past the ends there are zeros.
    """
    x = jnp.moveaxis(x, axis, -1)
    total = jnp.cumsum(
        jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(reach + 1, reach)]), axis=-1, dtype=jnp.float32
    )
    return jnp.moveaxis(total[..., 2 * reach + 1 :] - total[..., : -2 * reach - 1], -1, axis)
