"""Timbre: a mean spectrum of speech alone, and what it changes."""

import numpy as np
import pytest

from lin_jax.audio import ltas


@pytest.fixture
def speech():
    """Two clips of 60 frames of 5 bands; of the second one 20 are padding."""
    rng = np.random.default_rng(0)
    return rng.normal(-30.0, 5.0, (2, 60, 5)).astype(np.float32), np.array([60, 40])


def test_mean_spectrum_is_of_speech_alone(speech):
    """Neither pauses nor padding count."""
    log_mel, num_frames = speech
    expected = [log_mel[0].mean(axis=0), log_mel[1, :40].mean(axis=0)]
    spectrum, frames = ltas.long_term_spectrum(log_mel, num_frames)
    np.testing.assert_allclose(spectrum, expected, rtol=1e-5)
    assert frames.tolist() == [60, 40]
    spoilt = np.array(log_mel)
    spoilt[1, 40:] = 70.0
    pauses = np.concatenate([np.full((2, 9, 5), -95.0, np.float32), spoilt], axis=1)
    again, frames = ltas.long_term_spectrum(pauses, num_frames + 9)
    np.testing.assert_allclose(again, expected, rtol=1e-5)
    assert frames.tolist() == [60, 40]


def test_match_spectrum(speech):
    """The whole way but for the share that is what was said, alike in every frame, and never more
    than the most.
    """
    log_mel, num_frames = speech
    spectrum, _ = ltas.long_term_spectrum(log_mel, num_frames)
    wanted = np.array(spectrum) + np.array([4.0, -8.0, 0.0, 1.0, 500.0])
    change = np.asarray(ltas.match_spectrum(log_mel, num_frames, wanted)) - log_mel
    np.testing.assert_allclose(change, np.broadcast_to(change[:, :1], change.shape), atol=1e-4)
    for clip, share in ((0, 60 / 120), (1, 40 / 100)):
        np.testing.assert_allclose(
            change[clip, 0], [4 * share, -8 * share, 0.0, share, 20.0], atol=1e-4
        )
