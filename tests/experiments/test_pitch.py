"""Pitch of recordings: followed where somebody speaks, and nowhere else."""

import numpy as np
import soundfile

from data_pipelines import features
from data_pipelines.corpora import Utterance
from experiments import _pitch
from lin_jax.audio.frontend_config import FrontendConfig

RATE = 16000
FRONTEND = FrontendConfig(n_mels=20, n_mfcc=13, trim_db=None)


def test_follows_a_voice(tmp_path):
    """A buzz of 200 Hz, hiss, and one of 160 Hz, at their speed and half as fast again."""
    t = np.arange(RATE // 2) / RATE
    hiss = 0.1 * np.random.default_rng(0).standard_normal(len(t))
    turns = np.cumsum(1 + 0.03 * np.sin(2 * np.pi * 5 * t)) / RATE  # a vibrato, of one hertz
    buzzes = [np.sign(np.sin(2 * np.pi * pitch * turns)) for pitch in (200, 160)]
    soundfile.write(tmp_path / "a.wav", 0.3 * np.concatenate([buzzes[0], hiss, buzzes[1]]), RATE)
    utterances = [
        Utterance(f"{name}@{speed:g}", tmp_path / "a.wav", f"{name}@{speed:g}", speed=speed)
        for name, speed in (("a", 1.0), ("b", 1.5))
    ]
    features.prepare(utterances, tmp_path / "set", FRONTEND, progress=False)
    clips = features.open_features(tmp_path / "set")
    for index, pitch in _pitch.track(clips, range(2)).items():
        assert len(pitch) == clips.lengths[index]
        third, raised = len(pitch) // 3, np.log2(clips.speeds[index])
        np.testing.assert_allclose(pitch[8 : third - 8], 1 + raised, atol=0.06)
        assert np.isnan(pitch[third + 8 : 2 * third - 8]).mean() > 0.9


def test_no_other_voice():
    """What lies too far from the median of a speaker is no voice of theirs."""
    pitches = {0: np.array([1.0, 1.1, np.nan, 2.0]), 2: np.array([1.0]), 1: np.array([np.nan])}
    kept = _pitch.within_range(pitches, ["high", "silent", "high"])
    np.testing.assert_array_equal(kept[0], [1.0, 1.1, np.nan, np.nan])
    np.testing.assert_array_equal(kept[1], [np.nan])
    np.testing.assert_array_equal(kept[2], [1.0])
