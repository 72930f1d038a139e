"""Phrases: found where somebody speaks, joined over short pauses, and cut where it is quietest."""

import numpy as np
import pytest
from helpers.recordings import RATE, tone

from lin_jax.audio.segmentation import GRAIN_SECONDS, SMOOTH, split_on_silence


def seconds(samples, max_seconds=10.0):
    return np.array(split_on_silence(samples, RATE, max_seconds)) / RATE


def test_pauses_part_phrases():
    silence = np.random.default_rng(0).normal(0, 1e-4, RATE).astype(np.float32)
    sound = np.concatenate(
        [silence, tone(1.0), silence[: RATE // 5], tone(0.5), silence, tone(0.8), silence]
    )
    near = SMOOTH * GRAIN_SECONDS
    np.testing.assert_allclose(seconds(sound), [[1.0, 2.7], [3.7, 4.5]], atol=near)


def test_long_phrase_is_cut_where_it_is_quietest():
    sound = tone(10.0)
    sound[int(3.1 * RATE) : int(3.3 * RATE)] *= 0.1
    sound[int(6.8 * RATE) : int(7.0 * RATE)] *= 0.1
    spans = seconds(sound, max_seconds=4.0)
    np.testing.assert_allclose(spans[:, 0], [0.0, 3.2, 6.9], atol=0.1)
    np.testing.assert_array_equal(spans[1:, 0], spans[:-1, 1])
    assert spans[-1, 1] == 10.0


@pytest.mark.parametrize("length", [4.02, 7.3, 61.7])
def test_no_scraps(length):
    spans = np.diff(seconds(tone(length), max_seconds=4.0))
    assert spans.max() <= 4.0
    assert spans.min() >= 1.0
