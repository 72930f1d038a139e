"""Metrics of classifiers against a hand computation, and the conditions that they are tried under."""

import numpy as np
import pytest

from lin_jax.evaluation import classification
from lin_jax.evaluation.conditions import ConditionsConfig

NAMES = ("a", "b")


def test_measure_by_hand():
    """Two speakers: three clips right of four, one of two; the second is wrong in the mean."""
    probabilities = np.array(
        [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]]
    )
    labels = np.array([0, 0, 1, 1, 0, 0])
    speakers = np.array(["x", "x", "x", "x", "y", "y"])
    results = classification.measure(probabilities, labels, speakers, NAMES, 0.7)
    assert (results["speakers"], results["clips"]) == (2, 6)
    assert results["accuracy"] == pytest.approx(4 / 6)
    assert results["recalls"] == pytest.approx({"a": 3 / 4, "b": 1 / 2})
    assert results["uar"] == pytest.approx(0.625)
    assert results["worst_recall"] == pytest.approx(0.5)
    assert results["accuracy_by_speaker"] == pytest.approx({"x": 0.75, "y": 0.5})
    assert results["answered"] == pytest.approx(4 / 6), "0.9, 0.8, 0.7 and 0.8"
    assert results["answered_accuracy"] == pytest.approx(0.5)
    assert results["speaker_accuracy"] == pytest.approx(0.5)
    assert results["accuracy_low"] <= results["accuracy"] <= results["accuracy_high"]


def test_runs_by_hand():
    """The second run errs once of two in class b, which is half of one fold."""
    labels, folds = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    results = classification.over_runs(np.array([[0, 0, 1, 1], [0, 0, 0, 1]]), labels, folds, NAMES)
    assert results["runs"] == pytest.approx([1.0, 0.75])
    assert (results["mean"], results["deviation"]) == pytest.approx((0.875, 0.125))
    assert results["folds"] == pytest.approx([0.75, 1.0])
    assert results["fold_deviation"] == pytest.approx(0.125)


def test_groups_and_conditions():
    rng = np.random.default_rng(0)
    labels, speakers = rng.integers(2, size=40), np.repeat(list("abcdefgh"), 5)
    clean = rng.dirichlet((1, 1), 40)
    noisy = clean[:, ::-1].copy()
    noisy[20:] = np.nan
    groups = {"adults": np.arange(40) < 30, "children": np.arange(40) >= 30, "none": labels > 1}
    results, tempered = classification.evaluate(
        {"clean": clean, "noisy": noisy}, labels, speakers, NAMES, groups
    )
    assert (results["clips"], results["groups"]["children"]["clips"]) == (30, 10)
    assert "none" not in results["groups"], "a group of no clips"
    assert results["conditions"]["noisy"]["clips"] == 20, "those that were tried"
    np.testing.assert_allclose(tempered["clean"].sum(-1), 1)
    card = classification.card_metrics(results)
    assert card["held-out speakers"]["accuracy"]["value"] == results["accuracy"]
    assert {"noisy", "children"} <= set(card)
    assert len(list(classification.summary(results))) == 3


def test_conditions():
    rng = np.random.default_rng(0)
    speech, noise = rng.standard_normal(16000), 0.01 * rng.standard_normal(16000)
    under = ConditionsConfig((20.0, 10.0), telephone=True, whisper=True).conditions()
    tried = {name: change(speech, 16000, noise) for name, change in under.items()}
    assert tried["clean"][0] is speech
    for snr in (20, 10):
        mixed, rate = tried[f"noise {snr} dB"]
        assert rate == 16000
        added = np.sum(speech**2) / np.sum((mixed - speech) ** 2)
        assert 10 * np.log10(added) == pytest.approx(snr, abs=0.01)
    whispered, rate = tried["whisper"]
    assert (rate, len(whispered)) == (16000, 16000)
    assert abs(np.corrcoef(whispered, speech)[0, 1]) < 0.1
    narrow, rate = tried["telephone"]
    power = np.abs(np.fft.rfft(narrow)) ** 2
    assert (rate, len(narrow)) == (8000, 8000)
    assert power[:150].mean() < 0.01 * power[500:3000].mean()
