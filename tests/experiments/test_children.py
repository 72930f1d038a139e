"""Voices of children are told by those of other speakers, and few of the others are warned of."""

import dataclasses
import types

import numpy as np
import pytest

from experiments import _backend, _children


@dataclasses.dataclass
class Bundle:
    """Stands in for a verifier."""

    child_weight: np.ndarray | None = None
    child_bias: float = 0.0


def corpus(ages, shift):
    """Five clips of each speaker, whose embeddings [B, 4] are shifted where children speak."""
    rng = np.random.default_rng(0)
    years = np.repeat(ages, 5)
    embeddings = rng.normal(size=(len(years), 4)) + shift * (years < 14)[:, None] * [1, 0, 0, 0]
    people = np.array([f"s{i}" for i in np.repeat(np.arange(len(ages)), 5)])
    rows = [{"labels": {"age": str(age)}} for age in years]
    clips = types.SimpleNamespace(rows=rows, people=people, corpora=np.full(len(years), "c"))
    return clips, embeddings.astype(np.float32)


@pytest.fixture
def learn(monkeypatch):
    def run(ages, shift):
        clips, embeddings = corpus(np.array(ages), shift)
        monkeypatch.setattr(_backend, "waveforms", lambda clips, indices: embeddings[indices])
        monkeypatch.setattr(_children.evaluation, "embed", lambda bundle, x: (x, None))
        bundle = _children.with_children(Bundle(), clips, np.arange(len(embeddings)))
        return bundle, _children.warned(bundle, embeddings, clips)

    return run


def test_children_are_told_and_few_others(learn):
    bundle, shares = learn([8] * 20 + [30] * 20, 3.5)
    assert shares["children"] > 0.9
    assert shares["others"] <= 0.06
    assert np.abs(bundle.child_weight).argmax() == 0


def test_where_they_sound_alike_few_are_warned_of(learn):
    _, shares = learn([8] * 20 + [30] * 20, 0.0)
    assert shares["others"] < 0.15


def test_few_children_teach_nothing(learn):
    bundle, shares = learn([8] * 4 + [30] * 20, 5.0)
    assert bundle.child_weight is None
    assert shares == {}
