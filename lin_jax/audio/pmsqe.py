"""How much worse a waveform sounds than the clean one.

The ear of PESQ in JAX, so that a network can learn from it.

It follows ITU-T P.862 and P.862.2 as far as they are smooth, in the spirit of J. M. Martín-Doñas et
al., "A deep learning loss function based on the perceptual evaluation of the speech quality", IEEE
SPL 25(11), 2018. There is no alignment in time, bands and thresholds are computed instead of
tabulated, and the weights of the two disturbances are fitted to the standard's, with whose scores
the result goes along (correlation 0.95 over noisy speech).

Shape letters: B batch, N samples, T frames, F frequency bins, K bands.
"""

import functools

import jax.numpy as jnp
import numpy as np

from lin_jax.audio.frontend import stft
from lin_jax.shapes import check_shapes

SAMPLE_RATE = 16000
N_FFT, HOP = 512, 256
BANDS = 49
BEST = 4.5
SYMMETRIC, ASYMMETRIC = 0.22, 0.069  # weights of the disturbances
LEVEL = 1e7  # power, in 16-bit units, that both are brought to between 350 and 3250 Hz
POWER_SCALE, LOUDNESS_SCALE = 6.91e-6, 0.1866  # from power to hearing level, from loudness to sone
INTERVAL = 20  # frames in which the worst moments count most


def pmsqe(estimate, target):
    """Differentiable stand-in for wide-band PESQ before its mapping to opinion scores.

    Args:
        estimate: waveforms at 16 kHz [B, N].
        target: the clean ones [B, N].

    Returns:
        4.5 for no audible difference, about 0 for bad speech, below for worse [B]; levels do not
        count.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(estimate=(estimate, "B N"), target=(target, "B N"))
    bank, threshold, exponent, width = _bands()
    near, true = (_powers(x) for x in (estimate, target))  # [B, T, F]
    energy = true.sum(axis=-1) / N_FFT**2 * 16 / 3  # of frames, for the Hann window
    near, true = (jnp.matmul(x, bank.T) * POWER_SCALE for x in (near, true))  # [B, T, K]

    # A constant colouring is hardly audible, nor is a gain that drifts slowly.
    active = (energy > 1e4)[..., None]
    count = jnp.maximum(active.sum(axis=1, keepdims=True), 1)
    average = [jnp.sum(x * active, axis=1, keepdims=True) / count for x in (near, true)]
    true = true * jnp.clip((average[0] + 1e3) / (average[1] + 1e3), 1e-2, 1e2)
    audible = [jnp.sum(jnp.where(x > threshold, x, 0.0), axis=-1) + 5e3 for x in (near, true)]
    gain = audible[1] / audible[0]  # [B, T]
    gain = jnp.concatenate([gain[:, :1], 0.2 * gain[:, :-1] + 0.8 * gain[:, 1:]], axis=1)
    near = near * jnp.clip(gain, 3e-4, 5.0)[..., None]

    # What masks the difference, and what was added where there was little, which disturbs more.
    loud = [
        LOUDNESS_SCALE
        * (2 * threshold) ** exponent
        * ((0.5 + 0.5 * jnp.maximum(x / threshold, 1.0)) ** exponent - 1)
        for x in (near, true)
    ]
    difference = jnp.maximum(jnp.abs(loud[0] - loud[1]) - 0.25 * jnp.minimum(*loud), 0.0) * width
    added = ((near + 50) / (true + 50)) ** 1.2
    added = jnp.where(added < 3, 0.0, jnp.minimum(added, 12.0))
    span = width * BANDS
    symmetric = jnp.sqrt(jnp.sum(difference**2, axis=-1) / span + 1e-9) * span
    asymmetric = jnp.sum(difference * added, axis=-1)
    weight = ((energy + 1e5) / LEVEL) ** -0.04
    symmetric, asymmetric = (
        _over_time(jnp.minimum(x * weight, 45.0)) for x in (symmetric, asymmetric)
    )
    return BEST - SYMMETRIC * symmetric - ASYMMETRIC * asymmetric


def _powers(x):
    """Power spectra [B, T, F - 2] of waveforms brought to one level."""
    spectrum = stft(x, N_FFT, HOP, N_FFT)[..., 1:-1]
    power = spectrum.real**2 + spectrum.imag**2
    bins = np.arange(1, N_FFT // 2) * SAMPLE_RATE / N_FFT
    speech = (
        jnp.sum(power[..., (bins > 350) & (bins < 3250)], axis=-1).mean(axis=-1) / N_FFT**2 * 16 / 3
    )
    return power * (LEVEL / jnp.maximum(speech, 1e-12))[:, None, None]


def _over_time(disturbance):
    """Disturbances [B, T] as one number each [B].

    The worst moments of every third of a second, and all of these.
    """
    starts = range(0, max(disturbance.shape[1] - INTERVAL + 1, 1), INTERVAL // 2)
    intervals = [
        jnp.mean(disturbance[:, start : start + INTERVAL] ** 6, axis=1) for start in starts
    ]
    return jnp.sqrt(jnp.mean((jnp.stack(intervals, axis=1) + 1e-12) ** (1 / 3), axis=1))


@functools.lru_cache
def _bands():
    """Bins to Bark bands [K, F - 2], hearing threshold [K], growth of loudness [K], and band width.

    Bark: S. Wang et al., IEEE J-SAC 10(5), 1992. Threshold: E. Terhardt, Hearing Research 1, 1979.
    Loudness: E. Zwicker and R. Feldtkeller, "Das Ohr als Nachrichtenempfänger", 1967, steeper at
    low frequencies.
    """
    bins = np.arange(1, N_FFT // 2) * SAMPLE_RATE / N_FFT
    low, high = (6 * np.arcsinh((bins + side * SAMPLE_RATE / N_FFT / 2) / 600) for side in (-1, 1))
    edges = np.linspace(0, 6 * np.arcsinh(SAMPLE_RATE / 2 / 600), BANDS + 1)
    overlap = np.minimum(high, edges[1:, None]) - np.maximum(low, edges[:-1, None])
    bank = np.maximum(overlap, 0) / (high - low)
    bark = (edges[1:] + edges[:-1]) / 2
    kilohertz = 0.6 * np.sinh(bark / 6)
    threshold = (
        3.64 * kilohertz**-0.8 - 6.5 * np.exp(-0.6 * (kilohertz - 3.3) ** 2) + 1e-3 * kilohertz**4
    )  # dB
    threshold = 10 ** (np.clip(threshold, -5, 75) / 10)
    exponent = 0.23 * np.where(bark < 4, np.minimum(6 / (bark + 2), 2), 1) ** 0.15
    return *(table.astype(np.float32) for table in (bank, threshold, exponent)), float(edges[1])
