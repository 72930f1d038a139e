"""An inaudible watermark of generated speech: its embedder and its blind detector.

Spread spectrum, multiplicative in the magnitudes of the short-time spectrum, in the manner of
D. Kirovski and H. S. Malvar, "Spread-spectrum watermarking of audio signals", IEEE Transactions on
Signal Processing 51(4), 2003. Each cell of `BAND_HZ` and `CELL_SECONDS` is `STRENGTH_DB` louder or
softer, as a fixed key has it; the pattern lies in the telephone band, is the same for every
recording, and comes again after `PERIOD_SECONDS`, so that any cut carries it.

Shape letters: N samples, T frames, P frames of a period, C cells of a period, K bands, F bins.
"""

import dataclasses
import functools
import hashlib
import math
import os
from collections.abc import Iterator

import numpy as np

from lin_jax.errors import AudioError

KEY = b"lin_jax watermark 1"
STRENGTH_DB = 2.5
LOWEST_HZ, BAND_HZ, BANDS = 250.0, 125.0, 26  # up to 3500 Hz
CELL_SECONDS, CELLS = 0.032, 64
PERIOD_SECONDS = CELLS * CELL_SECONDS
CELL_FRAMES = 4  # that begin in one cell; each is as long as the cell

RATE = 8000  # at which it is detected, in Hz
FRAME, HOP = round(CELL_SECONDS * RATE), round(CELL_SECONDS * RATE) // CELL_FRAMES
SPEEDS = tuple(1 + percent / 100 for percent in range(-3, 4))  # at which it may be played
WINDOW_SECONDS = 6.0  # that are searched at once, every half of it
MIN_SECONDS = 1.0
MAX_FALSE_ALARM = 1e-4
# Speech is levelled out by moving means: over so many frames, and then over so many bands.
MEAN_FRAMES, MEAN_BANDS = 17, 5
MAX_RESIDUAL_DB = 6.0
# So much over the softest frames of a band, these percent of all, a level counts in full.
AUDIBLE_DB, SOFTEST = 15.0, 5.0
RANGE_DB = 90.0  # what is softer than the loudest bin by more is silence
TINY = 1e-20


@dataclasses.dataclass(frozen=True)
class Detection:
    """What the detector says of a recording.

    Attributes:
        marked: whether `false_alarm` is at most `MAX_FALSE_ALARM`.
        false_alarm: upper bound of the probability that a recording of this length without the
            watermark scores as high.
        score: the highest correlation with the pattern, in standard deviations.
        spans: seconds at which the stretches that carry it begin and end.
        seconds: length of the recording.
    """

    marked: bool
    false_alarm: float
    score: float
    spans: tuple[tuple[float, float], ...]
    seconds: float


def mark(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Embed the watermark.

    Args:
        samples: waveform [N], float.
        sample_rate: in Hz.

    Returns:
        float32 [N]; peaks may be up to `STRENGTH_DB` higher.
    """
    size = CELL_FRAMES * max(1, round(CELL_SECONDS * sample_rate / CELL_FRAMES))
    hop, window = size // CELL_FRAMES, np.hanning(size + 1)[:-1].astype(np.float32)
    padded = np.pad(np.asarray(samples, np.float32), (size, size + -len(samples) % hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]  # [T, size]
    bands = _bands(np.fft.rfftfreq(size, 1 / sample_rate))
    gains = 10 ** (STRENGTH_DB / 20 * (_pattern() @ bands))  # [C, F]
    gains /= np.where(bands.any(0), np.cosh(STRENGTH_DB / 10 * np.log(10)) ** 0.5, 1)  # mean power
    cells = np.floor((np.arange(len(frames)) - 0.5) * hop / sample_rate / CELL_SECONDS)
    cells = cells.astype(int) % CELLS
    marked, block = np.zeros(len(padded), np.float32), 8 * CELLS
    for start in range(0, len(frames), block):  # in constant memory
        spectrum = np.fft.rfft(frames[start : start + block] * window)
        spectrum *= gains[cells[start : start + block]]
        parts = (np.fft.irfft(spectrum, size) * window).reshape(-1, CELL_FRAMES, hop)
        for i in range(CELL_FRAMES):
            first = (start + i) * hop
            marked[first : first + parts[:, i].size] += parts[:, i].ravel()
    scale = np.sum(window**2) / hop  # overlapping squares of Hann windows add up to this
    return marked[size : size + len(samples)] / scale


def detect(source, sample_rate: int | None = None) -> Detection:
    """Search a recording of any length for the watermark, in constant memory.

    At any offset, at any level, and played up to 3 % too slowly or too fast.

    Args:
        source: path of an audio file, or a waveform [N], float.
        sample_rate: of a waveform, in Hz; not used for a path.

    Returns:
        A `Detection`.

    Raises:
        AudioError: the recording cannot be read, or is shorter than `MIN_SECONDS`.
    """
    scores, ends, count = [], [], 0
    for window, count in _windows(_blocks(source, sample_rate)):
        scores.append(float(score(window)))
        ends.append(count / RATE)
    if count < MIN_SECONDS * RATE:
        name = source if isinstance(source, str | os.PathLike) else "samples"
        raise AudioError(
            f"{name}: {count / RATE:.2f} s are too short to tell whether it is marked; use "
            f"{MIN_SECONDS:g} s or more"
        )
    chances = [min(1.0, len(scores) * false_alarm(z)) for z in scores]
    spans: list[tuple[float, float]] = []
    for i, (chance, end) in enumerate(zip(chances, ends, strict=True)):
        if chance <= MAX_FALSE_ALARM:
            start = i * WINDOW_SECONDS / 2
            if spans and spans[-1][1] >= start:
                start = spans.pop()[0]
            spans.append((start, end))
    return Detection(bool(spans), min(chances), max(scores), tuple(spans), ends[-1])


def false_alarm(z: float) -> float:
    """Upper bound of the probability that one window without the watermark scores at least `z`.

    Over the keys: signs that are drawn independently of the recording add up to `z` standard
    deviations with a probability of at most exp(-z²/2) (Hoeffding, 1963), whatever the recording
    is, and every offset and speed is a draw.
    """
    return CELLS * CELL_FRAMES * len(SPEEDS) * math.exp(-(max(z, 0.0) ** 2) / 2)


def score(samples: np.ndarray, patterns: np.ndarray | None = None) -> np.ndarray:
    """The highest correlation with a pattern over all offsets and `SPEEDS`.

    Args:
        samples: waveform at `RATE` [N], some seconds long.
        patterns: signs of any keys [..., C, K]; those of `KEY` [C, K] if None.

    Returns:
        Standard deviations [...] of what signs drawn at random would give; 0 of silence.
    """
    patterns = _pattern() if patterns is None else patterns
    residuals = (_residual(samples, speed) for speed in SPEEDS)
    return np.max([_correlation(residual, patterns).max(-1) for residual in residuals], axis=0)


def _blocks(source, sample_rate: int | None) -> Iterator[np.ndarray]:
    """A recording at `RATE` in blocks of half a window; the last one may be shorter."""
    from lin_jax.audio import files

    if isinstance(source, str | os.PathLike):
        yield from files.stream(source, RATE, block_seconds=WINDOW_SECONDS / 2)
        return
    if not sample_rate:
        raise AudioError("samples: the sample rate is unknown; pass sample_rate=")
    samples = files.resample(np.asarray(source, np.float32), sample_rate, RATE)
    half = round(WINDOW_SECONDS / 2 * RATE)
    yield from (samples[i : i + half] for i in range(0, len(samples), half))


def _windows(blocks: Iterator[np.ndarray]) -> Iterator[tuple[np.ndarray, int]]:
    """Each two neighbouring blocks, or the only one, and the samples up to their end."""
    before, count = None, 0
    for block in blocks:
        count += len(block)
        if before is not None:
            yield np.concatenate([before, block]), count
        before = block
    if before is not None and count == len(before):
        yield before, count


def _residual(samples: np.ndarray, speed: float) -> np.ndarray:
    """What is left of the levels of the bands [T, K] in decibels when speech is levelled out."""
    from scipy import ndimage

    padded = np.pad(samples, (FRAME // 2, FRAME // 2))
    starts = np.arange(0, len(padded) - FRAME, HOP / speed).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[starts]
    window = np.hanning(FRAME + 1)[:-1].astype(np.float32)
    spectrum = np.fft.rfft(frames * window)
    power = spectrum.real**2 + spectrum.imag**2
    floor = 10 ** (-RANGE_DB / 10) * power.max() + TINY
    bands = _bands(np.fft.rfftfreq(FRAME, 1 / RATE) / speed)
    level = 10 * np.log10(power + floor) @ (bands / bands.sum(1, keepdims=True)).T  # [T, K]
    residual = level - ndimage.uniform_filter1d(level, MEAN_FRAMES, axis=0, mode="nearest")
    residual -= ndimage.uniform_filter1d(residual, MEAN_BANDS, axis=1, mode="nearest")
    audible = (level - np.percentile(level, SOFTEST, axis=0)) / AUDIBLE_DB
    return np.clip(residual, -MAX_RESIDUAL_DB, MAX_RESIDUAL_DB) * np.clip(audible, 0, 1)


def _correlation(residual: np.ndarray, patterns: np.ndarray) -> np.ndarray:
    """Correlations of a residual [T, K] with patterns [..., C, K] at every offset, in deviations [..., P]."""
    P = CELLS * CELL_FRAMES
    folded = np.pad(residual, ((0, -len(residual) % P), (0, 0))).reshape(-1, P, BANDS).sum(0)
    # Sums over the cell that begins at each frame, by the frame of a cell at which it does.
    sums = sum(np.roll(folded, -i, axis=0) for i in range(CELL_FRAMES))
    sums = sums.reshape(CELLS, CELL_FRAMES, BANDS).swapaxes(0, 1)
    spectrum = np.fft.rfft(sums, axis=1) / np.sqrt(
        np.sum(sums**2, axis=(1, 2), keepdims=True) + TINY
    )
    keys = np.conj(np.fft.rfft(patterns, axis=-2))
    products = np.einsum("ick,...ck->...ic", spectrum, keys)
    return np.fft.irfft(products, CELLS, axis=-1).reshape(*patterns.shape[:-2], P)


@functools.cache
def _pattern() -> np.ndarray:
    """Signs of the cells [C, K], from the key."""
    digest = hashlib.shake_256(KEY).digest(-(-CELLS * BANDS // 8))
    bits = np.unpackbits(np.frombuffer(digest, np.uint8))[: CELLS * BANDS]
    return (1.0 - 2.0 * bits.reshape(CELLS, BANDS)).astype(np.float32)


def _bands(hz: np.ndarray) -> np.ndarray:
    """Which bins [F] of these frequencies are in which band: float32 [K, F] of ones and zeros."""
    band = np.floor((hz - LOWEST_HZ) / BAND_HZ)
    return (band == np.arange(BANDS)[:, None]).astype(np.float32)
