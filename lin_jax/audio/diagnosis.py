"""What is wrong with a recording: noise, clipping, a narrow band, an offset, measured by blocks.

By NumPy alone, so that exported verifiers can take this file along.

Shape letters: N samples, C channels, F frequency bins.
"""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from lin_jax.audio.levels import SILENCE

FRAME_SECONDS = 0.032
RANGE_SECONDS = 0.02  # frames of the dynamic range
SILENT_RMS = SILENCE / 10
# Levels of frames are counted in steps of half a decibel from here to there.
MIN_DB, MAX_DB, STEP_DB = -100.0, 40.0, 0.5
QUIET_SHARE = 0.1  # share of the frames that counts as noise alone
NEAR_RAIL = 0.98  # of the largest sample: where a plateau is a clipped peak
# The mean of the samples is a fault from here on, in full scale and relative to their RMS; a clip
# that is too short has a mean of its own.
OFFSET, OFFSET_RATIO, OFFSET_SECONDS = 1e-3, 0.05, 0.5
BAND_DB = 60.0  # below the strongest frequency nothing counts as audible
BAND_BINS = 5  # frequency bins that are averaged first
NARROW_HZ = 4500.0  # with nothing above, a recording came through a telephone, or the like of it
SPARSE = 4  # one frame of so many gives its spectrum


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What is measured of a recording.

    Attributes:
        peak: largest magnitude of a sample, 1 being full scale.
        rms: root mean square without the mean.
        noise_db: level of the quietest tenth of the frames that hold anything, in dB of full scale;
            None if none does.
        clipped: share of the samples that stand on a plateau at the largest or smallest value.
        band_hz: frequency above which nothing is audible; None where all is that the sample rate
            can hold.
        dc_offset: mean of the samples of the channel where it is largest, if it is a fault; else 0.
    """

    peak: float
    rms: float
    noise_db: float | None
    clipped: float
    band_hz: float | None
    dc_offset: float

    @property
    def silent(self) -> bool:
        """Whether there is nothing to hear."""
        return self.rms < SILENT_RMS

    @property
    def snr_db(self) -> float:
        """Level above that of the noise, in dB; infinite where there is none."""
        return math.inf if self.noise_db is None else 20 * math.log10(self.rms) - self.noise_db

    @property
    def narrow(self) -> bool:
        """See `is_narrow`."""
        return is_narrow(self.band_hz)


class Meter:
    """Measures a recording block by block."""

    def __init__(self, sample_rate: int):
        """Start at a rate in Hz, before the first block."""
        self._rate = sample_rate
        self._frame = max(2, round(FRAME_SECONDS * sample_rate))
        self._count, self._sum, self._square = 0, 0.0, 0.0
        self._rails = [_Rail(1), _Rail(-1)]
        self._levels = np.zeros(round((MAX_DB - MIN_DB) / STEP_DB) + 1, np.int64)
        self._window = np.hanning(self._frame).astype(np.float32)
        self._power = np.zeros(self._frame // 2 + 1)

    def update(self, samples: np.ndarray):
        """Take finite samples [N, C]; what does not fill a frame is not looked at for noise."""
        x = np.ascontiguousarray(samples.T, np.float32)  # [C, N]
        self._count += x.shape[1]
        wide = x.astype(np.float64)
        self._sum = self._sum + wide.sum(axis=1)
        self._square = self._square + np.vecdot(wide, wide)
        for rail in self._rails:
            rail.update(x)
        whole = x.shape[1] // self._frame * self._frame
        frames = x[:, :whole].reshape(len(x), -1, self._frame)
        frames = frames - frames.mean(axis=-1, keepdims=True)
        level = 10 * np.log10(
            np.maximum(np.vecdot(frames, frames).mean(axis=0) / self._frame, 1e-20)
        )
        level = level[level > MIN_DB]
        np.add.at(self._levels, ((np.minimum(level, MAX_DB) - MIN_DB) / STEP_DB).astype(int), 1)
        spectrum = np.fft.rfft(frames[:, ::SPARSE] * self._window)  # [C, frames, F]
        self._power += (spectrum.real**2 + spectrum.imag**2).sum(axis=(0, 1))

    @property
    def offset(self) -> np.ndarray:
        """The mean [C] float32 of the samples of each channel where it is a fault, else 0."""
        mean, deviation = self._moments()
        fault = (np.abs(mean) >= OFFSET) & (np.abs(mean) >= OFFSET_RATIO * deviation)
        return np.where(fault & (self._count >= OFFSET_SECONDS * self._rate), mean, 0).astype(
            np.float32
        )

    def diagnosis(self) -> Diagnosis:
        """The diagnosis of all blocks so far."""
        mean, deviation = self._moments()
        rms = float(np.sqrt(np.mean(deviation**2)))
        sounds = rms >= SILENT_RMS
        return Diagnosis(
            peak=max(rail.height for rail in self._rails),
            rms=rms,
            noise_db=self._noise_db(),
            clipped=sum(rail.count for rail in self._rails) / (self._count * np.size(mean))
            if sounds
            else 0.0,
            band_hz=self._band_hz() if sounds else None,
            dc_offset=float(max(np.ravel(self.offset), key=abs)),
        )

    def _moments(self):
        """Mean and standard deviation of the samples of each channel [C]."""
        mean = self._sum / max(self._count, 1)
        return mean, np.sqrt(np.maximum(self._square / max(self._count, 1) - mean**2, 0))

    def _noise_db(self) -> float | None:
        counts = np.cumsum(self._levels)
        if not counts[-1]:
            return None
        return float(MIN_DB + STEP_DB * np.searchsorted(counts, QUIET_SHARE * counts[-1]))

    def _band_hz(self) -> float | None:
        power = np.convolve(self._power[1:], np.ones(BAND_BINS), "same")  # without the offset
        (audible,) = np.nonzero(power > power.max(initial=0) * 10 ** (-BAND_DB / 10))
        if not len(audible):
            return None
        highest = (audible[-1] + 1) / self._frame * self._rate
        return None if highest > 0.9 * self._rate / 2 else float(highest)


class _Rail:
    """The largest (sign 1) or smallest (sign -1) value, and how many samples stand still at it.

    A run counts from three on.
    """

    def __init__(self, sign):
        self._sign, self.height, self.count = sign, 0.0, 0

    def update(self, x):  # [C, N]
        height = max(float(x.max() if self._sign > 0 else -x.min()), 0.0)
        if NEAR_RAIL * height > self.height:
            self.count = 0  # what stood still lower down was no rail
        self.height = max(self.height, height)
        if self.height < SILENCE or height < NEAR_RAIL * self.height:
            return
        level = NEAR_RAIL * self.height
        for channel in x:
            (near,) = np.nonzero(channel >= level if self._sign > 0 else channel <= -level)
            run = np.cumsum(np.diff(near, prepend=-2) > 1)  # samples side by side
            run += np.cumsum(np.diff(channel[near], prepend=0) != 0)  # of one value
            lengths = np.unique_counts(run).counts
            self.count += int(lengths[lengths >= 3].sum())


def diagnose(blocks: Iterable[np.ndarray], sample_rate: int) -> Diagnosis:
    """The diagnosis of blocks [N] or [N, C] of one recording at a rate in Hz."""
    meter = Meter(sample_rate)
    for block in blocks:
        meter.update(block.reshape(len(block), -1))
    return meter.diagnosis()


def is_narrow(band_hz: float | None) -> bool:
    """Whether a `Diagnosis.band_hz` is that of a narrow channel, such as a telephone's."""
    return band_hz is not None and band_hz < NARROW_HZ


def dynamic_range(samples, sample_rate: int) -> float:
    """How far the softest frames of speech [N] lie below the loudest, in dB.

    Between the 5th and the 95th percentile of the frames' power: where it is far, the background is
    faint. 0 for less than a frame.
    """
    size = round(RANGE_SECONDS * sample_rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.mean(frames**2, axis=1) + 1e-10
    return float(np.ptp(10 * np.log10(np.percentile(power, [5, 95])))) if len(frames) else 0.0
