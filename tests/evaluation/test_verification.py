"""Error rates of embeddings that are given: by hand, and without recordings that hold too little sound."""

import types

import numpy as np
import pytest

from lin_jax import metrics
from lin_jax.errors import AudioError
from lin_jax.evaluation import verification
from lin_jax.scoring import ScoringBackend

VECTORS = {"a0": (1, 0), "a1": (0.8, 0.6), "b0": (0, 1), "b1": (0.6, 0.8), "c0": None}


class Encoder:
    embedding_size, frontend = 2, types.SimpleNamespace(sample_rate=16000)
    backend, fused, threshold = ScoringBackend(), None, 0.9

    def embed_all(self, sources, sample_rate):
        for source in sources:
            vector = VECTORS[source]
            yield (
                AudioError("too short")
                if vector is None
                else types.SimpleNamespace(embedding=np.array(vector, np.float32))
            )


def test_error_rates():
    names = list(VECTORS)
    left, right = np.triu_indices(5, 1)
    speakers = np.array([0, 0, 1, 1, 2])
    pairs = np.stack([left, right], axis=1)
    same = speakers[left] == speakers[right]
    trials = metrics.Trials(pairs, same, np.ones(len(pairs), bool), speakers[pairs])
    embeddings = verification.embed(Encoder(), names)
    assert np.isnan(embeddings[4]).all()
    results, scores = verification.evaluate(Encoder(), embeddings, trials)
    # Same: 0.8 twice. Impostors: 0, 0.6, 0.6 and 0.96.
    assert (results["left_out"], results["speakers"], results["all"]["trials"]) == (1, 2, 6)
    assert results["all"]["false_accept"] == pytest.approx(1 / 4), "0.96 is above 0.9"
    assert results["all"]["false_reject"] == 1
    assert results["cosine"]["eer"] == results["all"]["eer"]
    assert np.isnan(scores).sum() == 4, "those of c0"
    results |= {"protocol": "by hand", "clips": 5}
    assert "corpus: EER" in verification.summary("corpus", results)
    card = verification.card_metrics({"corpora": {"corpus": results}})
    assert card["corpus, 2 speakers, by hand"]["false accepts"] == results["all"]["false_accept"]
