"""Perceived quality: what it hears and what it does not, and that a network can learn from it."""

import jax
import numpy as np
import pytest
from helpers import gradients

from lin_jax.audio.pmsqe import BEST, pmsqe

N = 16000
JUDGE = jax.jit(pmsqe)
SLOPE = jax.jit(jax.grad(lambda estimate, target: pmsqe(estimate, target).sum()))


@pytest.fixture(scope="module")
def speech():
    """A harmonic sound in syllables [1, N]."""
    t = np.arange(N) / 16000
    voice = sum(np.sin(2 * np.pi * 140 * k * t + k) / k**0.5 for k in range(1, 40))
    return (0.03 * voice * np.sin(2 * np.pi * 2 * t) ** 2)[None].astype(np.float32)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).standard_normal((1, N)).astype(np.float32)


def test_nothing_is_better_than_the_clean(speech, noise):
    assert JUDGE(speech, speech)[0] == pytest.approx(BEST, abs=0.02)
    scale = np.sqrt(np.mean(speech**2)) * noise
    scores = [
        float(JUDGE(speech + 10 ** (-snr / 20) * scale, speech)[0]) for snr in (60, 40, 20, 0)
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 4.0
    assert scores[-1] < 2.5


def test_what_is_not_heard(speech, noise):
    damaged = speech + 0.003 * noise
    reference = JUDGE(damaged, speech)[0]
    np.testing.assert_allclose(JUDGE(9 * damaged, 0.2 * speech)[0], reference, atol=1e-3)
    spectrum = np.fft.rfft(speech)
    coloured = np.fft.irfft(spectrum * np.linspace(1, 0.5, spectrum.shape[1])).astype(np.float32)
    same_error = speech + noise * np.sqrt(np.mean((coloured - speech) ** 2))
    assert JUDGE(coloured, speech)[0] > JUDGE(same_error, speech)[0] + 0.5
    assert JUDGE(-speech, speech)[0] == pytest.approx(BEST, abs=0.02), "phases do not count"


def test_goes_along_with_pesq(speech, noise):
    pesq = pytest.importorskip("pesq")
    scale = np.sqrt(np.mean(speech**2)) * noise
    speech, scale = np.tile(speech, 3), np.tile(scale, 3)
    ours, theirs = [], []
    for snr in (30, 20, 10, 0):
        damaged = speech + 10 ** (-snr / 20) * scale
        ours.append(float(JUDGE(damaged, speech)[0]))
        try:
            theirs.append(pesq.pesq(16000, speech[0], damaged[0], "wb"))
        except pesq.NoUtterancesError:
            pytest.skip("PESQ takes the sound for no speech")
    assert np.corrcoef(ours, theirs)[0, 1] > 0.8


def test_gradients_point_to_the_clean_and_are_finite_in_silence(speech, noise):
    gradients.check_slope(JUDGE, SLOPE, speech + 0.01 * noise, speech, step=1e-4)
