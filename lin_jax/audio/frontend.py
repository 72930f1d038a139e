"""The one way from a waveform to features: STFT, log-mel and MFCC in pure JAX, equal to librosa's.

Shape letters: N samples, T frames, F frequency bins, M mel bins, D features; `...` any leading batch axes.
"""

import dataclasses
import functools
import hashlib
import json

import jax.numpy as jnp
import numpy as np

from lin_jax.errors import ConfigError

DELTA_WIDTH = 9  # frames, librosa's default


@dataclasses.dataclass
class FrontendConfig:
    """How a recording becomes features; stored with every feature set and every trained model.

    Attributes:
      sample_rate: of the waveform, in Hz; files at other rates are resampled to it.
      feature: "log_mel" (decibels) or "mfcc".
      n_fft: FFT size in samples, even.
      win_length: length of the Hann window in samples, at most `n_fft`.
      hop_length: samples from one frame to the next.
      n_mels: number of mel bands.
      f_min: lower edge of the lowest band, in Hz.
      f_max: upper edge of the highest band, in Hz; None is half the sample rate.
      n_mfcc: cepstral coefficients kept when `feature` is "mfcc".
      deltas: how many orders of time derivatives follow the static features: 0, 1 or 2.
      top_db: everything this far below the clip's loudest value is raised to that floor; None keeps the full range.
      trim_db: leading and trailing sound this far below the loudest frame is cut from files; None cuts nothing.
      level: "peak" or "rms" scales files to `level_db`, "none" leaves them as recorded.
      level_db: the level aimed at, in dB below full scale.
    """

    sample_rate: int = 16000
    feature: str = "log_mel"
    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 160
    n_mels: int = 64
    f_min: float = 20.0
    f_max: float | None = None
    n_mfcc: int = 20
    deltas: int = 0
    top_db: float | None = 80.0
    trim_db: float | None = 30.0
    level: str = "none"
    level_db: float = -3.0

    def __post_init__(self):
        self.validate()

    def validate(self):
        """Raises ConfigError unless the values can work together.

        The config can be changed after it was made, by command-line flags, so whoever reads it validates again.
        """
        nyquist = self.sample_rate / 2
        f_max = nyquist if self.f_max is None else self.f_max
        rules = {
            "sample_rate must be positive": self.sample_rate > 0,
            "feature must be log_mel or mfcc": self.feature in ("log_mel", "mfcc"),
            "n_fft must be even and positive": self.n_fft > 0 and self.n_fft % 2 == 0,
            "win_length must be from 1 to n_fft": 1 <= self.win_length <= self.n_fft,
            "hop_length must be from 1 to win_length": 1 <= self.hop_length <= self.win_length,
            "n_mels must be positive": self.n_mels > 0,
            f"f_min and f_max must satisfy 0 <= f_min < f_max <= {nyquist:g}": 0 <= self.f_min < f_max <= nyquist,
            "n_mfcc must be from 1 to n_mels": self.feature != "mfcc" or 1 <= self.n_mfcc <= self.n_mels,
            "deltas must be 0, 1 or 2": self.deltas in (0, 1, 2),
            "top_db must be positive or None": self.top_db is None or self.top_db > 0,
            "trim_db must be positive or None": self.trim_db is None or self.trim_db > 0,
            "level must be peak, rms or none": self.level in ("peak", "rms", "none"),
            "level_db must be at most 0": self.level_db <= 0,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise ConfigError(f"front end cannot work as configured: {'; '.join(broken)}")

    @property
    def num_features(self) -> int:
        """Size D of one feature frame."""
        return (self.n_mels if self.feature == "log_mel" else self.n_mfcc) * (1 + self.deltas)

    def num_frames(self, num_samples):
        """Number of frames of a clip of `num_samples` samples (int or array): one every hop, the first at sample 0."""
        return num_samples // self.hop_length + 1

    def to_dict(self) -> dict:
        """The config as plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "FrontendConfig":
        """The config that `to_dict` came from; ConfigError if a key is unknown or a value cannot be."""
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise ConfigError(f"front end has no setting {', '.join(unknown)}: remove it or update lin_jax")
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"front end has a setting of the wrong type ({error}): correct it") from None

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that two configs share exactly when they give the same features."""
        self.validate()
        # Flags and JSON may turn 20.0 into 20: one spelling per value keeps the fingerprint stable.
        canonical = {
            key: float(value) if isinstance(value, int | float) else value for key, value in self.to_dict().items()
        }
        return hashlib.sha256(json.dumps(canonical, sort_keys=True).encode()).hexdigest()[:12]


def extract(config: FrontendConfig, waveform, length=None):
    """Features of waveforms, the only place where they are made.

    Padding changes nothing: samples at or past `length` are not heard, and frames at or past `num_frames` are zero.

    Args:
      config: the front end; static under `jax.jit`, as in `jax.jit(functools.partial(extract, config))`.
      waveform: samples in [-1, 1] at `config.sample_rate`, [..., N].
      length: valid samples of each waveform, [...] int; None means all N.

    Returns:
      features [..., T, D] float32 with T = `config.num_frames(N)`, and num_frames [...] int32.
    """
    config.validate()
    waveform = jnp.asarray(waveform, jnp.float32)
    N = waveform.shape[-1]
    length = jnp.full(waveform.shape[:-1], N) if length is None else jnp.asarray(length)
    waveform = jnp.where(jnp.arange(N) < length[..., None], waveform, 0.0)
    num_frames = config.num_frames(length).astype(jnp.int32)
    valid = jnp.arange(config.num_frames(N)) < num_frames[..., None]  # [..., T]

    spectrum = stft(waveform, config.n_fft, config.hop_length, config.win_length)
    bank = mel_filter_bank(config.sample_rate, config.n_fft, config.n_mels, config.f_min, config.f_max)
    features = power_to_db(mel_spectrogram(spectrum, bank), config.top_db, valid)
    if config.feature == "mfcc":
        features = mfcc(features, config.n_mfcc)
    derivatives = [deltas(features, num_frames, order) for order in range(1, config.deltas + 1)]
    features = jnp.concatenate([features, *derivatives], axis=-1)
    return jnp.where(valid[..., None], features, 0.0), num_frames


def stft(x, n_fft: int, hop_length: int, win_length: int):
    """Short-time Fourier transform with frames centred on every hop, as `librosa.stft` with its defaults.

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
    samples_of_frame = np.arange(T)[:, None] * hop_length + np.arange(n_fft)
    return jnp.fft.rfft(x[..., samples_of_frame] * hann_window(win_length, n_fft))  # [..., T, F]


def istft(spectrum, hop_length: int, win_length: int, length: int):
    """Waveform whose STFT is nearest to `spectrum` in the least-squares sense.

    D. W. Griffin and J. S. Lim, "Signal estimation from modified short-time Fourier transform", IEEE TASSP 32(2), 1984.

    Args:
      spectrum: complex [..., T, F], as `stft` returns it.
      hop_length: samples between frames.
      win_length: length of the window that `stft` used.
      length: number of samples N to return; past the last frame they are zero.

    Returns:
      float32 [..., N].
    """
    n_fft = 2 * (spectrum.shape[-1] - 1)
    window = hann_window(win_length, n_fft)
    frames = jnp.fft.irfft(spectrum, n=n_fft) * window  # [..., T, n_fft]
    overlap = _overlap_add(jnp.broadcast_to(window**2, frames.shape[-2:]), hop_length)
    signal = _overlap_add(frames, hop_length) / jnp.where(overlap > 1e-8, overlap, 1.0)
    signal = signal[..., n_fft // 2 :][..., :length]
    return jnp.pad(signal, [(0, 0)] * (signal.ndim - 1) + [(0, length - signal.shape[-1])])


def _overlap_add(frames, hop_length):
    """Sum of frames [..., T, n] laid one hop apart: [..., at least (T - 1) * hop_length + n]."""
    *batch, T, n = frames.shape
    hops = -(-n // hop_length)
    frames = jnp.pad(frames, [(0, 0)] * (frames.ndim - 1) + [(0, hops * hop_length - n)])
    blocks = frames.reshape(*batch, T, hops, hop_length)
    # Block j of frame t belongs to hop t + j, so shifting block column j by j hops aligns the frames.
    shifted = [
        jnp.pad(blocks[..., j, :], [(0, 0)] * len(batch) + [(j, hops - 1 - j), (0, 0)]) for j in range(hops)
    ]  # each [..., T + hops - 1, hop_length]
    return sum(shifted).reshape(*batch, -1)


@functools.lru_cache
def hann_window(win_length: int, n_fft: int) -> np.ndarray:
    """Periodic Hann window of `win_length` samples, centred among `n_fft`: float32 [n_fft], read-only."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_length) / win_length)
    before = (n_fft - win_length) // 2
    window = np.pad(window, (before, n_fft - win_length - before)).astype(np.float32)
    window.setflags(write=False)
    return window


@functools.lru_cache
def mel_filter_bank(sample_rate: int, n_fft: int, n_mels: int, f_min: float, f_max: float | None) -> np.ndarray:
    """Triangular filters of equal area on the mel scale, as `librosa.filters.mel`.

    M. Slaney, "Auditory Toolbox", Interval Research 1998-010: linear below 1 kHz, logarithmic above.

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
    return np.where(hz < 1000, hz / _HZ_PER_MEL, 15 + np.log(np.maximum(hz, 1000) / 1000) / _LOG_STEP)


def _mel_to_hz(mel):
    return np.where(mel < 15, mel * _HZ_PER_MEL, 1000 * np.exp(_LOG_STEP * (mel - 15)))


def mel_spectrogram(spectrum, bank):
    """Power in each mel band: complex spectrum [..., T, F] and filter bank [M, F] to [..., T, M]."""
    power = spectrum.real**2 + spectrum.imag**2
    # Lower precision, the default on some accelerators, would miss librosa by far more than 1e-4.
    return jnp.matmul(power, bank.T, precision="highest")


def power_to_db(power, top_db: float | None = None, valid=None):
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
    heard = db if valid is None else jnp.where(valid[..., None], db, -jnp.inf)
    return jnp.maximum(db, heard.max(axis=(-2, -1), keepdims=True) - top_db)


def mfcc(log_mel, n_mfcc: int):
    """Mel-frequency cepstral coefficients: log-mel in dB [..., T, M] to the first terms of its orthonormal DCT-II.

    S. Davis and P. Mermelstein, "Comparison of parametric representations for monosyllabic word recognition in
    continuously spoken sentences", IEEE TASSP 28(4), 1980.
    """
    return jnp.matmul(log_mel, _dct_basis(log_mel.shape[-1], n_mfcc), precision="highest")  # [..., T, n_mfcc]


@functools.lru_cache
def _dct_basis(M: int, n_mfcc: int) -> np.ndarray:
    """First `n_mfcc` columns of the orthonormal DCT-II: float32 [M, n_mfcc]."""
    basis = np.cos(np.pi / M * (np.arange(M)[:, None] + 0.5) * np.arange(n_mfcc)) * np.sqrt(2 / M)
    basis[:, 0] /= np.sqrt(2)
    return basis.astype(np.float32)


def deltas(features, num_frames, order: int):
    """Time derivative of features by a Savitzky-Golay filter, as `librosa.feature.delta` with its defaults.

    A polynomial of degree `order` is fitted to nine frames. Its derivative is one number for all nine, so the first
    and the last four frames take it from the nearest full window. A clip of fewer than nine frames has no full
    window, and derivatives of zero.

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
