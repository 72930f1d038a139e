"""The one way from a waveform to features: STFT, log-mel and MFCC in pure JAX, equal to librosa's.

Shape letters: N samples, T frames, F frequency bins, M mel bins, D features; `...` any leading
batch axes.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lin_jax.audio import functionals
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.shapes import check_floats, check_shapes

DELTA_WIDTH = 9  # frames, librosa's default


def extract(
    config: FrontendConfig, waveform: ArrayLike, length: ArrayLike | None = None
) -> tuple[jax.Array, jax.Array]:
    """Features of waveforms, the only place where they are made.

    Padding changes nothing: samples at or past `length` do not count, and frames at or past
    `num_frames` are zero.

    Args:
        config: the front end; static under `jax.jit`, as in `jax.jit(functools.partial(extract,
            config))`.
        waveform: samples in [-1, 1] at `config.sample_rate`, [..., N].
        length: valid samples of each waveform, [...] int; None means all N.

    Returns:
        features [..., T, D] float32 with T = `config.num_frames(N)`, and num_frames [...] int32.

    Raises:
        ConfigError: settings of the front end that cannot work.
        ShapeError: integers as samples, or lengths that are not one for each waveform.
    """
    config.validate()
    check_floats(waveform=waveform)
    check_shapes(waveform=(waveform, "... N"), length=(length, "..."))
    waveform = jnp.asarray(waveform, jnp.float32)
    N = waveform.shape[-1]
    length = jnp.full(waveform.shape[:-1], N) if length is None else jnp.asarray(length)
    waveform = jnp.where(jnp.arange(N) < length[..., None], waveform, 0.0)
    num_frames = config.num_frames(length).astype(jnp.int32)
    T = 1 + N // config.hop_length
    valid = jnp.arange(T) < 1 + (length // config.hop_length)[..., None]  # [..., T]

    spectrum = stft(waveform, config.n_fft, config.hop_length, config.win_length)
    bank = mel_filter_bank(
        config.sample_rate, config.n_fft, config.n_mels, config.f_min, config.f_max
    )
    features = power_to_db(mel_spectrogram(spectrum, bank), config.top_db, valid)
    if config.feature == "functionals":
        power, cepstra = spectrum.real**2 + spectrum.imag**2, mfcc(features, config.n_mfcc)
        whole = functionals.functionals(
            waveform, power, features, cepstra, valid, config.sample_rate, config.hop_length
        )
        return whole[..., None, :], num_frames
    if config.feature == "mfcc":
        features = mfcc(features, config.n_mfcc)
    derivatives = [deltas(features, num_frames, order) for order in range(1, config.deltas + 1)]
    features = jnp.concatenate([features, *derivatives], axis=-1)
    return jnp.where(valid[..., None], features, 0.0), num_frames


def stft(x: jax.Array, n_fft: int, hop_length: int, win_length: int) -> jax.Array:
    """Short-time Fourier transform, centred on every hop, as `librosa.stft` with its defaults.

    Args:
        x: waveform [..., N]; both ends are padded with n_fft / 2 zeros.
        n_fft: FFT size in samples, even.
        hop_length: samples between frames.
        win_length: length of the periodic Hann window, centred in the frame.

    Returns:
        complex64 [..., T, F] with T = 1 + N // hop_length and F = n_fft // 2 + 1.
    """
    T = 1 + x.shape[-1] // hop_length
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(n_fft // 2, n_fft // 2)])
    samples_of_frame = jnp.arange(T)[:, None] * hop_length + np.arange(n_fft)
    return jnp.fft.rfft(x[..., samples_of_frame] * hann_window(win_length, n_fft))  # [..., T, F]


def istft(
    spectrum: jax.Array,
    hop_length: int,
    win_length: int,
    length: int,
    num_frames: ArrayLike | None = None,
) -> jax.Array:
    """Waveform whose STFT is nearest to `spectrum` in the least-squares sense.

    D. W. Griffin and J. S. Lim, "Signal estimation from modified short-time Fourier transform",
    IEEE TASSP 32(2), 1984.

    Args:
        spectrum: complex [..., T, F], as `stft` returns it.
        hop_length: samples between frames.
        win_length: length of the window that `stft` used.
        length: number of samples N to return; past the last frame they are zero.
        num_frames: valid frames of each waveform [...] int; None means all T.

    Returns:
        float32 [..., N].
    """
    n_fft, T = 2 * (spectrum.shape[-1] - 1), spectrum.shape[-2]
    window = hann_window(win_length, n_fft)
    valid = jnp.arange(T) < (
        T if num_frames is None else jnp.asarray(num_frames)[..., None]
    )  # [..., T]
    frames = jnp.where(
        valid[..., None], jnp.fft.irfft(spectrum, n=n_fft) * window, 0.0
    )  # [..., T, n_fft]
    overlap = _overlap_add(valid[..., None] * window**2, hop_length)
    signal = _overlap_add(frames, hop_length) / jnp.where(overlap > 1e-8, overlap, 1.0)
    signal = signal[..., n_fft // 2 :][..., :length]
    return jnp.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, length - signal.shape[-1])])


def _overlap_add(frames, hop_length):
    """Sum of frames [..., T, n] laid one hop apart: [..., at least (T - 1) * hop_length + n]."""
    *batch, T, n = frames.shape
    hops = -(-n // hop_length)
    frames = jnp.pad(frames, [(0, 0)] * (frames.ndim - 1) + [(0, hops * hop_length - n)])
    blocks = frames.reshape(*batch, T, hops, hop_length)
    # Block j of frame t belongs to hop t + j, so shifting block column j by j hops aligns the
    # frames.
    shifted = [
        jnp.pad(blocks[..., j, :], [(0, 0)] * len(batch) + [(j, hops - 1 - j), (0, 0)])
        for j in range(hops)
    ]  # each [..., T + hops - 1, hop_length]
    return sum(shifted).reshape(*batch, -1)


@functools.lru_cache
def hann_window(win_length: int, n_fft: int) -> np.ndarray:
    """Periodic Hann window of `win_length` samples, centred among `n_fft`.

    Float32 [n_fft], read-only.
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_length) / win_length)
    before = (n_fft - win_length) // 2
    window = np.pad(window, (before, n_fft - win_length - before)).astype(np.float32)
    window.setflags(write=False)
    return window


@functools.lru_cache
def mel_filter_bank(
    sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float | None
) -> np.ndarray:
    """Triangular filters of equal area on the mel scale, as `librosa.filters.mel`.

    M. Slaney, "Auditory Toolbox", Interval Research 1998-010: linear below 1 kHz, logarithmic
    above.

    Returns:
        float32 [M, F], read-only.
    """
    edges = _mel_edges(sample_rate, n_mels, f_min, f_max)
    bins = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)  # [F]
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    bank = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)  # [M, F]
    bank = bank.astype(np.float32)
    bank.setflags(write=False)
    return bank


def mel_centres(config: FrontendConfig) -> np.ndarray:
    """Frequency at which each mel band peaks [M], in Hz."""
    return _mel_edges(config.sample_rate, config.n_mels, config.f_min, config.f_max)[1:-1]


def _mel_edges(sample_rate, n_mels, f_min, f_max):
    f_max = sample_rate / 2 if f_max is None else f_max
    return _mel_to_hz(np.linspace(_hz_to_mel(f_min), _hz_to_mel(f_max), n_mels + 2))  # [M + 2]


_HZ_PER_MEL = 200 / 3  # below 1 kHz, which is 15 mel
_LOG_STEP = np.log(6.4) / 27  # above it, 27 mel for a factor of 6.4


def _hz_to_mel(hz):
    return np.where(
        hz < 1000, hz / _HZ_PER_MEL, 15 + np.log(np.maximum(hz, 1000) / 1000) / _LOG_STEP
    )


def _mel_to_hz(mel):
    return np.where(mel < 15, mel * _HZ_PER_MEL, 1000 * np.exp(_LOG_STEP * (mel - 15)))


def mel_spectrogram(spectrum: jax.Array, bank: ArrayLike) -> jax.Array:
    """Power in mel bands [..., T, M] of a complex spectrum [..., T, F], by a filter bank [M, F]."""
    power = spectrum.real**2 + spectrum.imag**2
    # Lower precision, the default on some accelerators, would miss librosa by far more than 1e-4.
    return jnp.matmul(power, bank.T, precision="highest")


def power_to_db(
    power: jax.Array, top_db: float | None = None, valid: jax.Array | None = None
) -> jax.Array:
    """Power in decibels, no further than `top_db` below the loudest value of the clip.

    Args:
        power: [..., T, M]; anything below 1e-10 counts as 1e-10.
        top_db: dynamic range that is kept; None keeps all of it.
        valid: bool [..., T], frames among which the loudest value is looked for; None means all.

    Returns:
        [..., T, M].
    """
    db = 10 * jnp.log10(jnp.maximum(power, 1e-10))
    if top_db is None:
        return db
    candidates = db if valid is None else jnp.where(valid[..., None], db, -jnp.inf)
    return jnp.maximum(db, candidates.max(axis=(-2, -1), keepdims=True) - top_db)


def mfcc(log_mel: jax.Array, n_mfcc: int) -> jax.Array:
    """Mel-frequency cepstral coefficients.

    Log-mel in dB [..., T, M] to the first terms of its orthonormal DCT-II.

    S. Davis and P. Mermelstein, "Comparison of parametric representations for monosyllabic word
    recognition in continuously spoken sentences", IEEE TASSP 28(4), 1980.
    """
    return jnp.matmul(
        log_mel, _dct_basis(log_mel.shape[-1], n_mfcc), precision="highest"
    )  # [..., T, n_mfcc]


@functools.lru_cache
def _dct_basis(M: int, n_mfcc: int) -> np.ndarray:
    """First `n_mfcc` columns of the orthonormal DCT-II: float32 [M, n_mfcc]."""
    basis = np.cos(np.pi / M * (np.arange(M)[:, None] + 0.5) * np.arange(n_mfcc)) * np.sqrt(2 / M)
    basis[:, 0] /= np.sqrt(2)
    return basis.astype(np.float32)


def deltas(features: jax.Array, num_frames: ArrayLike, order: int) -> jax.Array:
    """Time derivative of features, as `librosa.feature.delta` with its defaults.

    By a Savitzky-Golay filter: a polynomial of degree `order` is fitted to nine frames. Its
    derivative is one number for all nine, so the first and the last four frames take it from the
    nearest full window. A clip of fewer than nine frames has no full window, and derivatives of
    zero.

    Args:
        features: [..., T, D]; only the first `num_frames` count.
        num_frames: valid frames of each clip, [...] int.
        order: 1 for velocity, 2 for acceleration, per frame.

    Returns:
        [..., T, D].
    """
    T = features.shape[-2]
    if T < DELTA_WIDTH:
        return jnp.zeros_like(features)
    half = DELTA_WIDTH // 2
    windows = T - DELTA_WIDTH + 1
    slope = sum(
        weight * features[..., j : j + windows, :] for j, weight in enumerate(_delta_weights(order))
    )  # [..., T - 8, D]
    last_window = jnp.asarray(num_frames)[..., None] - DELTA_WIDTH  # [..., 1]
    window_of_frame = jnp.clip(jnp.arange(T) - half, 0, jnp.maximum(last_window, 0))  # [..., T]
    slope = jnp.take_along_axis(slope, window_of_frame[..., None], axis=-2)
    return jnp.where(last_window[..., None] >= 0, slope, 0.0)


def _delta_weights(order: int) -> np.ndarray:
    """Weights [9] of the least-squares polynomial's derivative."""
    offsets = np.arange(DELTA_WIDTH) - DELTA_WIDTH // 2
    powers = offsets[:, None] ** np.arange(order + 1)
    factorial = (1, 1, 2)[order]
    return (np.linalg.pinv(powers)[order] * factorial).astype(np.float32)
