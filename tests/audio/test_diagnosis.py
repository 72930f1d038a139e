"""What is wrong with a recording: the fault that was put in is found, and its size."""

import numpy as np
import pytest
from helpers.recordings import RATE, tone

from lin_jax.audio import files
from lin_jax.audio.diagnosis import Meter

SPEECH = np.concatenate(
    [tone(1.0, hz=hz, amplitude=0.3) for hz in (200, 700, 3000)] + [np.zeros(RATE // 2, "f4")]
)


def diagnosis(samples, rate=RATE, block_seconds=1.0):
    meter = Meter(rate)
    for block in files.blocks(samples, rate, block_seconds=block_seconds):
        meter.update(block)
    return meter.diagnosis()


def noise(seconds, level, seed=0):
    return np.random.default_rng(seed).normal(0, level, round(seconds * RATE)).astype(np.float32)


@pytest.mark.parametrize("level_db", [-60, -30])
@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_noise_is_heard_in_the_pauses(level_db, offset):
    result = diagnosis(SPEECH + noise(3.5, 10 ** (level_db / 20)) + np.float32(offset))
    assert result.noise_db == pytest.approx(level_db, abs=1.0)
    assert result.dc_offset == pytest.approx(offset, abs=1e-3)
    assert result.rms == pytest.approx(
        np.sqrt(0.3**2 / 2 * 3 / 3.5 + 10 ** (level_db / 10)), rel=0.01
    )


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("ceiling", [0.3, 0.7])
def test_clipped_peaks_are_counted(dtype, channels, ceiling):
    samples = noise(3.0, 0.3, seed=1)
    samples = np.convolve(samples, np.ones(8) / 3, "same")  # peaks some samples wide
    clipped = np.clip(samples, -ceiling, ceiling)
    if dtype == np.int16:
        clipped = np.round(clipped * 32767).astype(np.int16)
    share = np.mean(np.abs(samples) >= ceiling)
    result = diagnosis(np.repeat(clipped[:, None], channels, axis=1))
    assert 0.4 * share < result.clipped <= share, "lone samples cannot be told from peaks"
    whole = (
        np.round(samples * 8000).astype(np.int16)
        if dtype == np.int16
        else samples.astype(np.float32)
    )
    assert diagnosis(whole).clipped < 1e-4


def test_a_louder_part_shows_that_what_stood_still_was_no_rail():
    quiet = np.clip(tone(1.0), -0.2, 0.2)
    assert diagnosis(quiet).clipped > 0.5
    assert diagnosis(np.concatenate([quiet, tone(1.0)])).clipped < 1e-3


@pytest.mark.parametrize(("low_rate", "rate"), [(8000, 16000), (16000, 48000), (11025, 16000)])
def test_band_of_a_lower_rate_is_found(low_rate, rate):
    samples = np.random.default_rng(0).normal(0, 0.1, 2 * low_rate).astype(np.float32)
    result = diagnosis(files.resample(samples, low_rate, rate), rate)
    assert result.band_hz == pytest.approx(low_rate / 2, rel=0.05)
    assert diagnosis(noise(2.0, 0.1)).band_hz is None


@pytest.mark.parametrize("block_seconds", [0.1, 0.37, 10.0])
def test_blocks_change_next_to_nothing(block_seconds):
    samples = np.clip(SPEECH + noise(3.5, 0.01), -0.28, 0.28)
    whole, streamed = (
        diagnosis(samples, block_seconds=4.0),
        diagnosis(samples, block_seconds=block_seconds),
    )
    assert streamed.noise_db == pytest.approx(whole.noise_db, abs=0.5)
    assert streamed.clipped == pytest.approx(whole.clipped, rel=0.02)
    assert streamed.rms == pytest.approx(whole.rms, rel=1e-4)
    assert streamed.band_hz == whole.band_hz


def test_mean_of_a_healthy_recording_is_no_offset():
    assert diagnosis(noise(1.0, 0.5) + np.float32(0.01)).dc_offset == 0, (
        "next to the sound it is nothing"
    )
    assert diagnosis(noise(1.0, 0.001) + np.float32(5e-4)).dc_offset == 0, "it is nothing at all"
    assert diagnosis(np.abs(tone(0.01))).dc_offset == 0, "one period says nothing"
    stereo = np.stack([noise(1.0, 0.1), noise(1.0, 0.1) - np.float32(0.03)], axis=1)
    assert diagnosis(stereo).dc_offset == pytest.approx(-0.03, abs=1e-3)


@pytest.mark.parametrize("value", [0.0, 0.2])
@pytest.mark.parametrize("N", [1, 80, RATE])
def test_silence_has_no_faults(value, N):
    result = diagnosis(np.full(N, value, np.float32))
    assert result.silent
    assert (result.noise_db, result.clipped, result.band_hz) == (None, 0.0, None)
    assert result.dc_offset == pytest.approx(value if N == RATE else 0)
    assert not diagnosis(tone(0.1, amplitude=1e-4)).silent
