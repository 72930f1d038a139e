"""Error rates of embeddings that are given: by hand, and without recordings that hold too little sound."""

import types

import numpy as np
import pytest

from lin_jax import metrics
from lin_jax.audio import files
from lin_jax.errors import AudioError, ConfigError
from lin_jax.evaluation import verification
from lin_jax.evaluation.conditions import ConditionsConfig
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
                else types.SimpleNamespace(embedding=np.array(vector, np.float32), narrow=False)
            )


def test_error_rates():
    names = list(VECTORS)
    left, right = np.triu_indices(5, 1)
    speakers = np.array([0, 0, 1, 1, 2])
    pairs = np.stack([left, right], axis=1)
    same = speakers[left] == speakers[right]
    trials = metrics.Trials(pairs, same, np.ones(len(pairs), bool), speakers[pairs])
    embeddings, narrow = verification.embed(Encoder(), names)
    assert not narrow.any()
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


class Tones:
    """Embeds a recording by its power below and above 2 kHz, and keeps what it was given."""

    embedding_size, frontend = 2, types.SimpleNamespace(sample_rate=16000)
    backend, fused, threshold = ScoringBackend(), None, 0.9

    def __init__(self):
        self.given = []

    def embed_all(self, sources, sample_rate):
        for samples in sources:
            self.given.append(samples)
            power = np.abs(np.fft.rfft(samples)) ** 2
            edge = 2000 * len(samples) // sample_rate
            vector = np.array([power[:edge].sum(), power[edge:].sum()])
            yield types.SimpleNamespace(embedding=vector / np.linalg.norm(vector), narrow=False)


def test_groups_and_conditions(tmp_path):
    """Two speakers apart by their tones are one in enough noise, and as before by telephone."""
    t = np.arange(16000) / 16000
    recordings = [np.sin(2 * np.pi * f * t).astype(np.float32) for f in (600, 700, 2500, 2600)]
    files.write(str(tmp_path / "noise.wav"), np.sin(2 * np.pi * 1000 * t) / 2, 16000)
    left, right = np.triu_indices(4, 1)
    speakers = np.array([0, 0, 1, 1])
    pairs = np.stack([left, right], axis=1)
    trials = metrics.Trials(
        pairs, speakers[left] == speakers[right], np.ones(6, bool), speakers[pairs]
    )
    bundle = Tones()
    embeddings, _ = verification.embed(bundle, recordings)
    groups = {"most": np.array([True, True, True, False]), "few": speakers == 0}
    results, _ = verification.evaluate(bundle, embeddings, trials, groups)
    assert results["all"]["false_accept"] == results["all"]["false_reject"] == 0
    assert set(results["groups"]) == {"most"}, "the others have trials of one kind"
    assert results["groups"]["most"]["trials"] == 3
    config = ConditionsConfig((-20.0,), telephone=True, noise=str(tmp_path))
    bundle.given.clear()
    conditions = verification.by_condition(bundle, recordings, trials, config)
    assert conditions["noise -20 dB"]["false_accept"] == 1
    assert conditions["telephone"]["false_accept"] == 0
    noisy, narrow = bundle.given[0], bundle.given[4]
    assert np.mean((noisy - recordings[0]) ** 2) == pytest.approx(
        100 * np.mean(recordings[0] ** 2), rel=0.01
    )
    assert len(narrow) == 16000
    results |= {"protocol": "by hand", "conditions": conditions}
    assert "tones, telephone: EER" in verification.summary("tones", results)
    with pytest.raises(ConfigError, match=r"no noises to add: name a folder"):
        verification.by_condition(bundle, recordings, trials, ConditionsConfig((0.0,)))
