"""How much of the speech in a waveform can be understood.

STOI in JAX, so that a network can learn from it.

C. H. Taal et al., "An algorithm for stoi prediction of time-frequency weighted noisy
speech", IEEE TASLP 19(7), 2011; as a loss as in S.-W. Fu et al., "End-to-end waveform utterance
enhancement for direct evaluation metrics optimization by fully convolutional neural networks",
IEEE/ACM TASLP 26(9), 2018.

Shape letters: B batch, N samples, T frames, F frequency bins, K bands, S segments, L frames of a
segment.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lin_jax.audio.frontend import stft
from lin_jax.shapes import check_shapes

SAMPLE_RATE = 16000
N_FFT, FRAME, HOP = 1024, 410, 205  # frames of 25.6 ms, every 12.8
BANDS, LOWEST_HZ = 15, 150.0  # a third of an octave each, and the middle of the first
TOP_HZ = 5000  # up to which frames are loud or soft
SEGMENT = 30  # frames of which envelopes are compared, 384 ms
AUDIBLE_DB = 40.0  # frames of clean speech that are softer than the loudest by more do not count
CLIP = 1 + 10 ** (15 / 20)  # an envelope counts as no larger than the clean one by this factor


def stoi(estimate, target):
    """Differentiable STOI.

    It differs from the original in that frames are cut at 16 kHz, and that frames of silence are
    left out of envelopes instead of waveforms; over 8 s of noisy speech the scores correlate by
    0.999 and differ by 0.015 at most.

    Args:
        estimate: waveforms at 16 kHz [B, N].
        target: the clean ones [B, N].

    Returns:
        About 0 to 1, the higher the better [B]; levels do not count. 0 where less than 0.4 s of the
        clean one is audible.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(estimate=(estimate, "B N"), target=(target, "B N"))
    (near, _), (true, power) = (_envelopes(x) for x in (estimate, target))  # [B, T, K], [B, T]
    audible = power > 10 ** (-AUDIBLE_DB / 10) * jnp.max(power, axis=-1, keepdims=True)
    # Audible frames, in their order, and then the others.
    first = jnp.argsort(~audible, axis=-1, stable=True)
    near, true = (jnp.take_along_axis(x, first[..., None], axis=1) for x in (near, true))
    frames = np.arange(true.shape[1] - SEGMENT + 1)[:, None] + np.arange(SEGMENT)  # [S, L]
    counted = frames[:, -1] < jnp.sum(audible, axis=-1, keepdims=True)  # [B, S]
    near, true = near[:, frames], true[:, frames]  # [B, S, L, K]
    near = near * jnp.sqrt(
        jnp.sum(true**2, axis=2, keepdims=True) / (jnp.sum(near**2, axis=2, keepdims=True) + 1e-12)
    )
    near, true = (
        x - jnp.mean(x, axis=2, keepdims=True) for x in (jnp.minimum(near, CLIP * true), true)
    )
    product, near, true = (
        jnp.sum(x * y, axis=2) for x, y in ((near, true), (near, near), (true, true))
    )
    correlation = jnp.mean(product * jax.lax.rsqrt(near * true + 1e-20), axis=-1)  # [B, S]
    return jnp.sum(counted * correlation, axis=-1) / jnp.maximum(jnp.sum(counted, axis=-1), 1)


def _envelopes(x):
    """Magnitudes of waveforms in third-octave bands [B, T, K], and power up to `TOP_HZ` [B, T]."""
    x = x * jax.lax.rsqrt(jnp.mean(x**2, axis=-1, keepdims=True) + 1e-12)
    spectrum = stft(x, N_FFT, HOP, FRAME)
    power = spectrum.real**2 + spectrum.imag**2
    return jnp.sqrt(jnp.matmul(power, _bands()) + 1e-6), jnp.sum(
        power[..., : N_FFT * TOP_HZ // SAMPLE_RATE], axis=-1
    )


@functools.lru_cache
def _bands():
    """Which bins are in which band [F, K], as float32."""
    edges = LOWEST_HZ * 2 ** ((np.arange(BANDS + 1) - 0.5) / 3)
    bins = np.arange(N_FFT // 2 + 1) * SAMPLE_RATE / N_FFT
    return (np.digitize(bins, edges)[:, None] == np.arange(1, BANDS + 1)).astype(np.float32)
