"""How much of a change is made.

By its size frame by frame, by the bands it fills, and not by what stands around.
"""

import functools

import numpy as np
import pytest

from lin_jax.audio.adaptive_mix import adaptive_mix

RATE = 16000
N = 4 * RATE
made = functools.partial(
    adaptive_mix, sample_rate=RATE, slight_db=-20.0, large_db=-10.0, min_gain=0.25
)


def white(level, seed=0):
    return np.random.default_rng(seed).normal(0, level, (1, N)).astype(np.float32)


def share(waveform, change):
    """How much of a change is made, away from the ends."""
    inner = slice(RATE, N - RATE)
    given = np.asarray(made(waveform, change, np.array([N])))
    return float(
        np.vdot(given[:, inner], change[:, inner]) / np.vdot(change[:, inner], change[:, inner])
    )


@pytest.mark.parametrize(("change_db", "expected"), [(-6, 1.0), (-15, 0.625), (-30, 0.25)])
def test_less_is_made_of_a_slight_change(change_db, expected):
    """In between by its decibels; what is made has the shape of the change."""
    waveform = white(0.1)
    change = -(10 ** (change_db / 20)) * waveform
    given = np.asarray(made(waveform, change, np.array([N])))
    np.testing.assert_allclose(given, expected * change, atol=2e-3 * np.abs(change).max())


def test_pauses_count_like_speech():
    """Noise 15 dB below speech that pauses half of the time is taken away.

    As much within the speech alone is not.
    """
    speaks = (np.arange(N) // (RATE // 2)) % 2 == 0
    speech, noise = white(0.1) * speaks, white(0.1 * 10 ** (-15 / 20), seed=1)
    within = np.sqrt(2) * noise * speaks
    assert share(speech + noise, -noise) > 0.95
    assert share(speech + within, -within) < 0.7


def test_a_band_that_was_empty_is_filled_with_caution():
    """A loud tone far above a low one.

    Where there was noise all along, it is a change like any other.
    """
    time = np.arange(N) / RATE
    low, high = (
        0.1 * np.sin(2 * np.pi * hertz * time, dtype=np.float32)[None] for hertz in (400, 5000)
    )
    assert share(low, high) == pytest.approx(0.25, abs=0.01)
    assert share(low + 2 * high, high - 2 * high) == pytest.approx(1.0, abs=0.01)


def test_silence_and_padding_change_nothing():
    """What stands past the end of a recording, and other recordings beside it, do not matter to
    it.
    """
    waveform, change = white(0.1), white(0.02, seed=1)
    length, short = np.array([N // 2]), slice(N // 2)
    alone = np.asarray(made(waveform[:, short], change[:, short], length))
    beside = [np.concatenate([x, np.ones_like(x)]) for x in (waveform, change)]
    padded = np.asarray(made(*beside, np.array([N // 2, N])))[:1, short]
    inner = slice(N // 2 - 256)  # the last frame has the end of the recording in it
    np.testing.assert_allclose(padded[:, inner], alone[:, inner], atol=1e-6)
    silence = np.zeros((1, N), np.float32)
    np.testing.assert_array_equal(made(silence, silence, np.array([N])), silence)
