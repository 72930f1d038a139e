"""Intelligibility: that it is STOI, and that a network can learn from it."""

import jax
import numpy as np
import pytest
from helpers import gradients

from lin_jax.audio.stoi import stoi

N = 3 * 16000
JUDGE = jax.jit(stoi)
SLOPE = jax.jit(jax.grad(lambda estimate, target: stoi(estimate, target).sum()))


@pytest.fixture(scope="module")
def speech():
    """A harmonic sound in syllables, with a pause [1, N]."""
    t = np.arange(N) / 16000
    voice = sum(
        np.sin(2 * np.pi * 140 * k * t + k + 2 * np.sin(2 * np.pi * 0.7 * k * t)) / k**0.5
        for k in range(1, 40)
    )
    return (0.03 * voice * np.sin(2 * np.pi * 2 * t) ** 2 * (np.abs(t - 1.2) > 0.3))[None].astype(
        np.float32
    )


@pytest.fixture(scope="module")
def noise(speech):
    """As loud as the speech [1, N]."""
    drawn = np.random.default_rng(0).standard_normal((1, N)).astype(np.float32)
    return drawn * np.sqrt(np.mean(speech**2))


def test_is_stoi(speech, noise):
    pystoi = pytest.importorskip("pystoi")
    for snr in (20, 10, 5, 0, -5):
        damaged = speech + 10 ** (-snr / 20) * noise
        theirs = pystoi.stoi(speech[0].astype(np.float64), damaged[0].astype(np.float64), 16000)
        assert JUDGE(damaged, speech)[0] == pytest.approx(theirs, abs=0.015), f"{snr} dB"


def test_levels_and_pauses_do_not_count(speech, noise):
    damaged = speech + 0.3 * noise
    reference = JUDGE(damaged, speech)[0]
    np.testing.assert_allclose(JUDGE(9 * damaged, 0.2 * speech)[0], reference, atol=1e-3)
    pause = np.abs(np.arange(N) / 16000 - 1.2) < 0.25
    np.testing.assert_allclose(
        JUDGE(damaged + 0.3 * noise * pause, speech)[0], reference, atol=2e-3
    )
    assert JUDGE(speech, speech)[0] == pytest.approx(1, abs=1e-3)


def test_too_little_is_not_understood(speech):
    assert JUDGE(speech[:, :4000], speech[:, :4000])[0] == 0
    assert JUDGE(speech, 0 * speech)[0] == 0


def test_gradients_point_to_the_clean_and_are_finite_in_silence(speech, noise):
    gradients.check_slope(JUDGE, SLOPE, speech + noise, speech, step=1e-3)
