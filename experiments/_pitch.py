"""The pitch of every frame of recordings, with what is no voice left out."""

import functools
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from data_pipelines.feature_set import FeatureSet
from lin_jax.audio import files
from lin_jax.audio.chunking import zero_padded
from lin_jax.audio.functionals import RANGE, voiced_pitch

PADDED_SECONDS = 4  # lengths are padded to its multiples, so that few are compiled


def track(clips: FeatureSet, indices: Sequence[int]) -> dict[int, np.ndarray]:
    """Pitch [T] in octaves above 100 Hz of each frame of some clips, NaN where none is voiced.

    Args:
        clips: of the "features" store; their recordings are read again.
        indices: of the clips.
    """
    frontend = clips.frontend
    step = PADDED_SECONDS * frontend.sample_rate
    of_samples = jax.jit(
        functools.partial(
            voiced_pitch, sample_rate=frontend.sample_rate, hop_length=frontend.hop_length
        )
    )
    pitches = {}
    for index in map(int, indices):
        speed = float(clips.speeds[index])
        samples = files.load(clips.rows[index]["path"], frontend, speed=speed)
        padded = zero_padded(samples, -(-len(samples) // step) * step)
        count = frontend.num_frames(len(samples))
        pitches[index] = np.asarray(of_samples(padded))[:count]
    return within_range(pitches, clips.speakers)


def within_range(
    pitches: Mapping[int, np.ndarray], speakers: Sequence[str]
) -> dict[int, np.ndarray]:
    """Pitches without those that lie too far from the median of their speaker.

    Args:
        pitches: of the frames of each clip [T].
        speakers: of every clip.
    """
    of_speaker: dict[str, list[np.ndarray]] = {}
    for index, pitch in pitches.items():
        of_speaker.setdefault(speakers[index], []).append(pitch[~np.isnan(pitch)])
    medians = {
        name: np.median(voiced) if len(voiced := np.concatenate(parts)) else 0.0
        for name, parts in of_speaker.items()
    }
    return {
        index: np.where(np.abs(pitch - medians[speakers[index]]) < RANGE, pitch, np.nan)
        for index, pitch in pitches.items()
    }
