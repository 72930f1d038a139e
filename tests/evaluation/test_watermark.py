"""The evaluation of the watermark: rates of what is found, and the tail of what is not marked."""

import numpy as np
import pytest
from helpers.recordings import RATE, buzz

from lin_jax.audio import watermark
from lin_jax.evaluation import watermark as evaluation
from lin_jax.metrics import audio as audio_metrics


@pytest.fixture
def clips():
    return [(buzz(4.0, seed=seed), RATE) for seed in range(2)]


def test_marked_clips_are_found_after_every_change(clips, monkeypatch):
    monkeypatch.setattr(audio_metrics, "installed", lambda measure: True)
    monkeypatch.setattr(audio_metrics, "pesq", lambda clean, marked, rate: np.mean(clean != marked))
    results = evaluation.detection(clips)
    pesq = results.pop("pesq")
    assert pesq["clips"] == 2
    assert 0.5 < pesq["min"] <= pesq["mean"] <= 1
    assert set(results) == {name + cut for name in evaluation.CHANGES for cut in ("", ", cut")}
    for name, row in results.items():
        assert row["clips"] == row["found"] == 2, name
        assert row["rate"] == 1
        assert row["score"] > 6


def test_without_the_mark_nothing_is_found(clips, monkeypatch):
    monkeypatch.setattr(watermark, "mark", lambda samples, rate: samples)
    monkeypatch.setattr(audio_metrics, "installed", lambda measure: False)
    monkeypatch.setattr(evaluation, "CHANGES", {"none": evaluation.CHANGES["none"]})
    results = evaluation.detection(clips)
    assert {name: row["rate"] for name, row in results.items()} == {"none": 0, "none, cut": 0}


def test_codecs_change_the_samples_and_keep_the_sound(clips):
    samples, rate = clips[0]
    for name in ("MP3, 64 kbit/s", "Opus, 24 kbit/s"):
        coded, new_rate = evaluation.CHANGES[name](samples, rate, None)
        assert len(coded) / new_rate == pytest.approx(4.0, abs=0.15)
        assert coded.std() == pytest.approx(samples.std(), rel=0.2)


def test_false_alarms_are_counted_and_their_tail_is_fitted(clips):
    results = evaluation.false_alarms(clips, keys=50)
    assert results["threshold"] == pytest.approx(5.78, abs=1e-2)
    assert results["key"]["scores"] == 2
    others = results["other_keys"]
    assert others["scores"] == 100
    assert others["found"] == 0
    assert 0 < others["tail"] < 1e-3
    marked = [(watermark.mark(samples, rate), rate) for samples, rate in clips]
    assert evaluation.false_alarms(marked, keys=2)["key"]["found"] == 2
