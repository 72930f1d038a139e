"""Figures of a waveform against the one it should be.

How well a recording was repaired, or a voice copied.

Every function takes the reference first, then the estimate: mono waveforms [N] of one rate, sample
by sample in step except where aligned ones are asked for. They run on the host, a clip at a time.
Shapes: N samples, T frames, M mel bands, F frequency bins.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import itertools
import os
import tempfile
from collections.abc import Callable, Mapping

import numpy as np

from lin_jax.audio import frontend
from lin_jax.errors import AudioError, ConfigError

FLOOR_DB = (
    80.0  # below the loudest bin of the reference nothing is compared: there is nothing to hear
)
PITCH_HZ = (65.0, 500.0)
FRAME_SECONDS, HOP_SECONDS = 0.064, 0.016
PACKAGES = {
    "pesq": "pesq",
    "stoi": "pystoi",
    "mel_cepstral_distance": "mel_cepstral_distance",
    "pitch_contour": "librosa",
}  # that a measure needs


def si_sdr(reference, estimate) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, higher is better.

    Infinite where only the scale differs.

    J. Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019: both means are removed, the
    estimate is divided into its projection on the reference and the rest.
    """
    reference, estimate = (x - x.mean() for x in _pair(reference, estimate))
    target = (estimate @ reference) / max(reference @ reference, 1e-20) * reference
    rest = estimate - target
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(target @ target) - 10 * np.log10(rest @ rest))


def log_spectral_distance(reference, estimate, sample_rate: int) -> float:
    """Log-spectral distance: RMS over frequency of the difference in dB, averaged over frames.

    A. H. Gray and J. D. Markel, "Distance measures for speech processing", IEEE TASSP 24(5), 1976.
    What lies further than `FLOOR_DB` below the loudest bin of the reference counts as that floor.

    Returns:
        The distance in dB, 0 for equal spectra.
    """
    powers = [np.abs(_spectrum(x, sample_rate)) ** 2 for x in _pair(reference, estimate)]  # [T, F]
    reference, estimate = _decibels(powers)
    return float(np.sqrt(np.square(reference - estimate).mean(axis=1)).mean())


@dataclasses.dataclass(frozen=True)
class Quality:
    """The quality score and what it is made of.

    Attributes:
        mse: mean squared error of the mel spectrograms in dB, scaled so that `FLOOR_DB` are 1.
        pitch: cosine similarity of the pitch contours in Hz, 0 where unvoiced; 0 to 1.
        loudness: cosine similarity of the loudness contours, the RMS of each frame; 0 to 1.
    """

    mse: float
    pitch: float
    loudness: float

    @property
    def shares(self) -> dict[str, float]:
        """What each of the three adds to the score."""
        return {
            "mse": 0.5 * self.mse,
            "pitch": 0.3 * (1 - self.pitch),
            "loudness": 0.2 * (1 - self.loudness),
        }

    @property
    def score(self) -> float:
        """One number of the three, 0 at best."""
        return sum(self.shares.values())


def quality(reference, estimate, sample_rate: int, *, n_mels: int = 80) -> Quality:
    """The `Quality` of an estimate.

    Its pitch is found by `librosa.pyin`, which takes a quarter of the clip's time.

    Pitch: M. Mauch and S. Dixon, "pYIN: a fundamental frequency estimator using probabilistic
    threshold distributions", ICASSP 2014. It needs the `eval` extra.
    """
    reference, estimate = _pair(reference, estimate)
    spectra = [_spectrum(x, sample_rate) for x in (reference, estimate)]  # [T, F]
    bank = frontend.mel_filter_bank(sample_rate, 2 * (spectra[0].shape[1] - 1), n_mels, 0.0, None)
    mels = _decibels([np.abs(spectrum) ** 2 @ bank.T for spectrum in spectra])  # [T, M]
    pitches = (pitch_contour(x, sample_rate) for x in (reference, estimate))
    return _quality(
        mels, pitches, (loudness_contour(x, sample_rate) for x in (reference, estimate))
    )


def pitch_contour(samples, sample_rate: int) -> np.ndarray:
    """Fundamental frequency of each frame in Hz [T], 0 where nothing is voiced; see `quality`."""
    librosa = _extra("librosa")
    frame, hop = (round(seconds * sample_rate) for seconds in (FRAME_SECONDS, HOP_SECONDS))
    low, high = PITCH_HZ
    pitch, *_ = librosa.pyin(
        np.asarray(samples, np.float32),
        fmin=low,
        fmax=high,
        sr=sample_rate,
        frame_length=frame,
        hop_length=hop,
    )
    return np.nan_to_num(pitch)


def loudness_contour(samples, sample_rate: int) -> np.ndarray:
    """Root mean square of each frame [T]."""
    frame, hop = (round(seconds * sample_rate) for seconds in (FRAME_SECONDS, HOP_SECONDS))
    padded = np.pad(np.asarray(samples, np.float64), frame // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]  # [T, frame]
    return np.sqrt(np.square(frames).mean(axis=1))


def pesq(reference, estimate, sample_rate: int) -> float:
    """Wide-band PESQ (ITU-T P.862.2), 1.0 to 4.6, by the package `pesq`.

    Returns:
        The score.

    Raises:
        AudioError: no utterance is found in the reference.
        ConfigError: the rate is not 16 kHz.
    """
    if sample_rate != 16000:
        raise ConfigError(
            f"PESQ at {sample_rate} Hz: its wide band is defined at 16000 Hz; resample to that"
        )
    package = _extra("pesq")
    reference, estimate = _pair(reference, estimate)
    try:
        return float(package.pesq(sample_rate, reference, estimate, "wb"))
    except (package.NoUtterancesError, package.BufferTooShortError):
        raise AudioError("PESQ finds no speech in the reference; leave the clip out") from None


def stoi(reference, estimate, sample_rate: int) -> float:
    """Short-time objective stoi, 0 to 1, by the package `pystoi`.

    C. H. Taal et al., "An algorithm for stoi prediction of time-frequency weighted noisy
    speech", IEEE TASLP 19(7), 2011. It needs 0.4 seconds of sound at least.
    """
    package = _extra("pystoi")
    return float(package.stoi(*_pair(reference, estimate), sample_rate))


def mel_cepstral_distance(reference, estimate, sample_rate: int) -> float:
    """Mel-cepstral distance in dB after alignment, by the package `mel-cepstral-distance`.

    Lower is better.

    R. F. Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", PACRIM
    1993, over dynamic time warping. Other packages give other figures: name this one beside it. Its
    frames are of 32 ms, every 8, of 20 mel bands, of which coefficients 1 to 15 are compared.
    """
    import soundfile

    package = _extra("mel_cepstral_distance")
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("reference.wav", "estimate.wav")]
        for path, samples in zip(paths, (reference, estimate), strict=True):
            soundfile.write(path, np.clip(samples, -1.0, 1.0), sample_rate, subtype="PCM_16")
        return float(package.compare_audio_files(*paths)[0])


@dataclasses.dataclass(frozen=True)
class Contours:
    """What `align` compares, a frame every 16 ms.

    Attributes:
        mels: power in mel bands [T, M].
        pitch: in Hz, 0 where nothing is voiced [T].
        loudness: root mean square [T].
    """

    mels: np.ndarray
    pitch: np.ndarray
    loudness: np.ndarray


def contours(samples, sample_rate: int, *, n_mels: int = 80) -> Contours:
    """The `Contours` of a waveform [N]; see `quality` for what it takes."""
    spectrum = _spectrum(samples, sample_rate)[::2]
    bank = frontend.mel_filter_bank(sample_rate, 2 * (spectrum.shape[1] - 1), n_mels, 0.0, None)
    tracks = (
        np.abs(spectrum) ** 2 @ bank.T,
        pitch_contour(samples, sample_rate),
        loudness_contour(samples, sample_rate),
    )
    T = min(map(len, tracks))
    return Contours(*(track[:T] for track in tracks))


@dataclasses.dataclass(frozen=True)
class Likeness:
    """How near a recording comes to another one of the same text.

    Attributes:
        pitch_rmse: root mean square difference of the natural logarithms of the pitch where both
            are voiced, NaN where they never are.
        voicing_error: share of frames in which only one of them is.
        quality: the `Quality` of the aligned frames.
    """

    pitch_rmse: float
    voicing_error: float
    quality: Quality


def align(reference: Contours, estimate: Contours) -> Likeness:
    """The `Likeness` after alignment of the mel spectrograms in dB by dynamic time warping."""
    librosa = _extra("librosa")
    mels = _decibels([reference.mels, estimate.mels])
    _, path = librosa.sequence.dtw(mels[0].T, mels[1].T)
    rows, columns = path.T
    true, estimated = reference.pitch[rows], estimate.pitch[columns]
    voiced = (true > 0) & (estimated > 0)
    difference = np.log(estimated[voiced] / true[voiced])
    return Likeness(
        pitch_rmse=float(np.sqrt(np.square(difference).mean())) if voiced.any() else float("nan"),
        voicing_error=float(np.mean((true > 0) != (estimated > 0))),
        quality=_quality(
            (mels[0][rows], mels[1][columns]),
            (true, estimated),
            (reference.loudness[rows], estimate.loudness[columns]),
        ),
    )


def _quality(mels, pitches, loudness) -> Quality:
    """The `Quality` of two tracks of each kind, frame by frame."""
    return Quality(
        mse=float(np.square((mels[0] - mels[1]) / FLOOR_DB).mean()),
        pitch=_cosine(*pitches),
        loudness=_cosine(*loudness),
    )


def installed(measure: Callable) -> bool:
    """Whether the package that a measure of this module needs is there."""
    return importlib.util.find_spec(PACKAGES.get(measure.__name__, "numpy")) is not None


def compare(
    measures: Mapping[str, Callable], references, estimates, sample_rate: int
) -> dict[str, np.ndarray]:
    """Figures of many waveforms.

    Args:
        measures: functions of reference, estimate and sample rate, by the names of what they give;
            those that are not `installed` are left out.
        references: what the waveforms should be [B, N].
        estimates: the waveforms [B, N].
        sample_rate: in Hz.

    Returns:
        For each name [B] float64, NaN where the measure is not defined, as PESQ is not where it
        finds no speech.
    """
    measures = {name: measure for name, measure in measures.items() if installed(measure)}
    figures = {name: np.full(len(references), np.nan) for name in measures}
    for i, name in itertools.product(range(len(references)), measures):
        with contextlib.suppress(AudioError):
            figures[name][i] = measures[name](references[i], estimates[i], sample_rate)
    return figures


def _pair(reference, estimate) -> tuple[np.ndarray, np.ndarray]:
    reference, estimate = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    if reference.ndim != 1 or reference.shape != estimate.shape or not reference.size:
        raise AudioError(
            f"reference {reference.shape} and estimate {estimate.shape} cannot be compared; give "
            "two mono waveforms of "
            "one length"
        )
    return reference, estimate


def _spectrum(samples, sample_rate: int) -> np.ndarray:
    """STFT [T, F] of frames of 32 ms, every 8.

    Whole seconds of it, so that few shapes are compiled.
    """
    n_fft = round(FRAME_SECONDS / 2 * sample_rate / 2) * 2
    padded = np.pad(np.asarray(samples, np.float32), (0, -len(samples) % sample_rate))
    return np.asarray(frontend.stft(padded, n_fft, n_fft // 4, n_fft))[
        : 1 + len(samples) // (n_fft // 4)
    ]


def _decibels(powers) -> list[np.ndarray]:
    """Powers of a reference and an estimate in dB below the loudest of the reference.

    None is below `FLOOR_DB`.
    """
    loudest = max(powers[0].max(), 1e-20)
    return [10 * np.log10(np.maximum(power / loudest, 10 ** (-FLOOR_DB / 10))) for power in powers]


def _cosine(x, y) -> float:
    """Cosine of the angle between two contours; 1 where both are zero, 0 where one is."""
    norms = np.linalg.norm(x) * np.linalg.norm(y)
    return float(min(1.0, x @ y / norms)) if norms else float(not x.any() and not y.any())


def _extra(name: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(f"{name} is not installed: pip install 'lin_jax[eval]'") from None
