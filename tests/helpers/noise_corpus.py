"""A small corpus of noise bursts, and what its features must be."""

import functools

import jax
import numpy as np
import soundfile

from data_pipelines.corpora import Utterance
from lin_jax.audio.frontend import FrontendConfig, extract

FRONTEND = FrontendConfig(n_mels=20, trim_db=None)


def write_clip(path, seconds, seed, sample_rate=16000):
    rng = np.random.default_rng(seed)
    soundfile.write(path, 0.1 * rng.standard_normal(int(seconds * sample_rate)), sample_rate)


def make_corpus(folder, count=22):
    """Utterances of 0.3 to 0.9 s by five speakers with two labels."""
    folder.mkdir(exist_ok=True)
    utterances = []
    for i in range(count):
        path = folder / f"clip{i:02d}.wav"
        write_clip(path, 0.3 + 0.6 * (i * 7 % count) / count, i)
        labels = {"emotion": ("sad", "happy")[i % 2]}
        utterances.append(Utterance(path.stem, path, f"s{i % 5}", f"text {i}", labels))
    return utterances


@functools.cache
def _extract():
    return jax.jit(functools.partial(extract, FRONTEND))


def reference(waveform):
    """Features [T, D] of a clip of less than a second, straight from the front end."""
    values, num_frames = _extract()(np.pad(waveform, (0, 16000 - len(waveform))), len(waveform))
    return np.asarray(values)[: int(num_frames)]
