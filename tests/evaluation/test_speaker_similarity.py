"""Similarity to speakers by an encoder whose embeddings are given."""

import types

import numpy as np
import pytest

from lin_jax.errors import AudioError
from lin_jax.evaluation.speaker_similarity import SpeakerProfiles

EMBEDDINGS = {"a0": (1, 0, 0), "a1": (0.6, 0.8, 0), "b0": (0, 1, 0), "c0": (0, 0, 1)}


class Encoder:
    embedding_size, frontend = 3, types.SimpleNamespace(sample_rate=16000)

    def embed_all(self, sources, sample_rate):
        for source in sources:
            if isinstance(source, str) and source not in EMBEDDINGS:
                yield AudioError("no voice")
                continue
            vector = EMBEDDINGS[source] if isinstance(source, str) else source
            yield types.SimpleNamespace(embedding=np.array(vector, float))


def test_nearest_to_whom():
    profiles = SpeakerProfiles(Encoder(), {"a": ["a0", "a1"], "b": ["b0"], "c": ["c0"]})
    between = np.array([0.6, 0.8, 0.0])
    recordings = [between, between, "silent", "c0"]
    results = profiles.compare(recordings, ["a", "b", "a", "c"], [["a1"], [], [], ["c0"]])
    assert results["similarity"][:2] == pytest.approx([0.6, 0.8])
    nearest_of_b = np.array([1.6, 0.8]) @ [0.6, 0.8] / np.linalg.norm([1.6, 0.8])
    assert results["speaker_top1"][0] == 0, "b is nearer than a0"
    assert results["speaker_top1"][1] == float(nearest_of_b < 0.8)
    assert results["speaker_top1"][2] == 0, "without a voice it is near nobody"
    assert np.isnan(results["similarity"][3])
    assert np.isnan(results["speaker_top1"][3]), "nothing of c is left to compare with"
