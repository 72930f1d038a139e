"""Whispered speech keeps its envelope and loses its pitch."""

import numpy as np
import pytest

from lin_jax.audio.functionals import track_pitch
from lin_jax.audio.whisper import whisper

RATE = 16000


def voice(rate, seconds=1.5):
    """A buzz at 150 Hz with resonances at 700 and 2,200 Hz, the second half ten times softer."""
    t = np.arange(round(seconds * rate)) / rate
    k = 150 * np.arange(1, 25)[:, None]
    gains = np.exp(-(((k - 700) / 250) ** 2)) + 0.5 * np.exp(-(((k - 2200) / 250) ** 2))
    sound = (gains * np.sin(2 * np.pi * k * t)).sum(axis=0)
    return 0.1 * sound * np.where(t < seconds / 2, 1.0, 0.1)


def spectrum(samples, rate):
    """Mean power in bands of 200 Hz up to 3 kHz, in dB."""
    frames = samples[: len(samples) // 512 * 512].reshape(-1, 512) * np.hanning(512)
    power = (np.abs(np.fft.rfft(frames)) ** 2).mean(axis=0)
    band = (np.fft.rfftfreq(512, 1 / rate) // 200).astype(int)
    return 10 * np.log10([power[band == b].mean() for b in range(1, 15)])


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_pitch_goes_and_envelope_and_loudness_stay(rate):
    speech = voice(rate)
    result = whisper(speech, rate)
    assert (result.dtype, result.shape) == (np.float32, speech.shape)
    harmonicity = [np.median(track_pitch(x, rate, 160)[1]) for x in (speech, result)]
    assert harmonicity[0] > 0.9
    assert harmonicity[1] < 0.65, "a narrow resonance leaves some"
    peaks = np.argsort(spectrum(result, rate))[-2:], np.argsort(spectrum(speech, rate))[-2:]
    assert abs(np.sort(peaks[0]) - np.sort(peaks[1])).max() <= 1, "within 200 Hz"
    half = len(speech) // 2
    for part in (slice(half - rate // 4), slice(half + rate // 4, None)):
        levels = [np.sqrt(np.mean(x[part] ** 2)) for x in (speech, result)]
        assert levels[1] == pytest.approx(levels[0], rel=0.2)


def test_silence_and_less_than_a_frame():
    np.testing.assert_array_equal(whisper(np.zeros(1000), RATE), 0)
    assert whisper(voice(RATE)[:10], RATE).shape == (10,)
    assert np.isfinite(whisper(np.ones(1), RATE)).all()
