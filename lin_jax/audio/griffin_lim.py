"""Waveforms from mel spectrograms without training.

The phases come from the fast Griffin-Lim algorithm.

Shape letters: N samples, T frames, F frequency bins, M mel bins; `...` any leading batch axes.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lin_jax.audio.frontend import istft, mel_filter_bank, stft
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.errors import ConfigError


def mel_to_waveform(
    config: FrontendConfig, log_mel, num_frames=None, *, iterations: int = 32, momentum=0.99
):
    """Waveforms of which the front end makes these features; `extract` backwards.

    Args:
        config: the front end of the features, "log_mel" without deltas; static under `jax.jit`.
        log_mel: decibels [..., T, M].
        num_frames: valid frames of each clip [...] int; None means all T. Padding changes nothing.
        iterations: of Griffin-Lim.
        momentum: of Griffin-Lim.

    Returns:
        waveform [..., N] with N = (T - 1) * hop_length, zero at and past length [...] int32.

    Raises:
        ConfigError: the features are not of that kind.
    """
    config.validate()
    if config.feature != "log_mel" or config.deltas:
        raise ConfigError(
            "a waveform is made of log_mel features without deltas only: change the front end"
        )
    magnitude = mel_to_magnitude(config, log_mel)
    return magnitude_to_waveform(
        config, magnitude, num_frames, iterations=iterations, momentum=momentum
    )


def mel_to_magnitude(config: FrontendConfig, log_mel, iterations: int = 16):
    """STFT magnitudes [..., T, F] that mel frames in dB [..., T, M] suggest by themselves."""
    bank = mel_filter_bank(
        config.sample_rate, config.n_fft, config.n_mels, config.f_min, config.f_max
    )
    return jnp.sqrt(mel_to_linear(10 ** (log_mel / 10), bank, iterations))


def magnitude_to_waveform(
    config: FrontendConfig, magnitude, num_frames=None, *, iterations: int = 32, momentum=0.99
):
    """Waveforms whose STFTs, as the front end makes them, have nearly these magnitudes [..., T, F].

    The other arguments, and what is returned, are those of `mel_to_waveform`.
    """
    T = magnitude.shape[-2]
    num_frames = (
        jnp.full(magnitude.shape[:-2], T) if num_frames is None else jnp.asarray(num_frames)
    )
    length = (config.hop_length * (num_frames - 1)).astype(jnp.int32)
    N = config.hop_length * (T - 1)
    options = {"iterations": iterations, "momentum": momentum}
    return griffin_lim(
        magnitude, config.hop_length, config.win_length, N, length, **options
    ), length


def mel_to_linear(power, bank, iterations: int = 16):
    """Power spectrum, not negative, whose mel spectrum is nearest in the Kullback-Leibler sense.

    By the multiplicative updates of D. D. Lee and H. S. Seung, "Algorithms for non-negative matrix
    factorization", NIPS 2000.

    Args:
        power: mel power spectrogram [..., T, M].
        bank: filter bank [M, F].
        iterations: updates.

    Returns:
        [..., T, F], zero in bins that no filter covers.
    """
    weight = np.maximum(bank.sum(axis=0), 1e-12)  # [F]
    linear = power @ (bank / bank.sum(axis=1, keepdims=True) / weight)

    def update(linear, _):
        ratio = power / jnp.maximum(linear @ bank.T, 1e-12)
        return linear * (ratio @ bank) / weight, None

    return jax.lax.scan(update, linear, length=iterations)[0]


def griffin_lim(
    magnitude,
    hop_length: int,
    win_length: int,
    length: int,
    num_samples=None,
    *,
    iterations: int = 32,
    momentum=0.99,
):
    """Waveform whose STFT has nearly these magnitudes.

    N. Perraudin, P. Balazs and P. L. Søndergaard, "A fast Griffin-Lim algorithm", WASPAA 2013. Each
    bin starts as a steady sinusoid, so that the same magnitudes always give the same waveform.

    Args:
        magnitude: of an STFT as `stft` makes it [..., T, F], not negative, T = 1 + length //
            hop_length.
        hop_length: samples between frames.
        win_length: length of the window.
        length: number of samples N to return.
        num_samples: valid samples of each waveform [...] int; None means all N.
        iterations: projections onto the spectra that waveforms have.
        momentum: 0 is the original algorithm of Griffin and Lim (1984), 0.99 converges faster and
            further.

    Returns:
        float32 [..., N], zero past `num_samples`.
    """
    T, F = magnitude.shape[-2:]
    n_fft = 2 * (F - 1)
    num_samples = (
        jnp.full(magnitude.shape[:-2], length) if num_samples is None else jnp.asarray(num_samples)
    )
    num_frames = num_samples // hop_length + 1
    magnitude = jnp.where(jnp.arange(T)[:, None] < num_frames[..., None, None], magnitude, 0.0)

    def waveform(spectrum):
        x = istft(spectrum, hop_length, win_length, length, num_frames)
        return jnp.where(jnp.arange(length) < num_samples[..., None], x, 0.0)

    def iterate(state, _):
        spectrum, previous = state
        projected = stft(waveform(spectrum), n_fft, hop_length, win_length)
        moved = projected + momentum * (projected - previous)
        phase = moved * jax.lax.rsqrt(jnp.maximum(moved.real**2 + moved.imag**2, 1e-24))
        return (magnitude * phase, projected), None

    turns = jnp.arange(T)[:, None] * hop_length % n_fft * np.arange(F) % n_fft / n_fft
    spectrum = magnitude * jnp.exp(2j * np.pi * jnp.asarray(turns, jnp.float32))
    (spectrum, _), _ = jax.lax.scan(
        iterate, (spectrum, jnp.zeros_like(spectrum)), length=iterations
    )
    return waveform(spectrum)
