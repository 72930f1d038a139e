"""Synthesizers compared: the score by hand, who is better, and the report."""

import dataclasses
import types

import numpy as np
import pytest
import soundfile
from helpers import synthesizers

from lin_jax import bundles
from lin_jax.errors import ConfigError
from lin_jax.evaluation import comparison, synthesis
from lin_jax.evaluation.synthesis import Sentence
from lin_jax.metrics.audio import Quality

RATE = synthesizers.RATE


def glide(hz, seconds=1.2):
    """A harmonic sound that grows, from hz upwards."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * hz * (t + 0.1 * t**2)
    return (0.05 * t * sum(np.sin(k * phase) / k for k in range(1, 9))).astype(np.float32)


@pytest.fixture
def sentences(tmp_path):
    made = []
    for number, hz in enumerate((110, 140)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, glide(hz), RATE)
        made.append(Sentence(f"text {number}", f"s{number}", "unseen", str(path), (str(path),)))
    return made


@pytest.fixture
def systems(sentences, monkeypatch):
    """One that says what the speakers did, one that hums, and one that says nothing at all."""
    speech = {
        "same": [glide(110), glide(140)],
        "hum": [glide(300, 0.9)[::-1], glide(220, 0.9)[::-1]],
        "mute": [None, None],
    }

    def evaluate(bundle, sentences, profiles, known_texts, recorded):
        assert recorded == (bundle.name == "mute"), "once, with the last system"
        made = [x if x is None else bundles.Speech(x, RATE, (), "") for x in speech[bundle.name]]
        measured = {"word_error": {"value": 0.5}, "pitch": {"value": 9.0}}
        vocoded = [bundles.Speech(glide(hz), RATE, (), "") for hz in (110, 140)]
        systems = {"generated": measured, "vocoded": {"word_error": {"value": 0.1}}}
        originals = [glide(110), glide(140)]
        rows = {"generated": speech[bundle.name], "vocoded": originals}
        qualities = {
            name: synthesis._compare(originals, row, RATE)[1] for name, row in rows.items()
        }
        results = {"voices": {"unseen": {"systems": systems}}, "qualities": qualities}
        return results, {"generated": made, "vocoded": vocoded}

    monkeypatch.setattr(synthesis, "evaluate", evaluate)
    return {
        name: (types.SimpleNamespace(name=name, frontend=synthesizers.FRONTEND), sentences)
        for name in speech
    }


def test_the_score_is_the_sum_of_its_shares():
    quality = Quality(mse=0.2, pitch=0.9, loudness=0.5)
    assert quality.shares == pytest.approx({"mse": 0.1, "pitch": 0.03, "loudness": 0.1})
    assert quality.score == pytest.approx(0.23)


def test_compare(systems, sentences, tmp_path):
    rows, spoken = comparison.compare(systems, None)
    assert (
        rows["same"]["q"]["value"] < 0.05 < rows["hum"]["q"]["value"] < rows["mute"]["q"]["value"]
    )
    assert rows["mute"]["q"]["value"] == pytest.approx(1.0)
    recorded = rows.pop(comparison.RECORDED)
    assert recorded["q"] == rows["same"]["q"]
    assert recorded["word_error"] == {"value": 0.1}
    spoken.pop(comparison.RECORDED)
    assert "q_difference" not in rows["same"]
    for name in ("hum", "mute"):
        difference = rows[name]["q"]["value"] - rows["same"]["q"]["value"]
        assert rows[name]["q_difference"]["value"] == pytest.approx(difference)
    for row in rows.values():
        assert sum(row["shares"].values()) == pytest.approx(row["q"]["value"])
        assert row["pitch"]["value"] <= 1, "the cosine, not what synthesis calls pitch"
        assert row["word_error"] == {"value": 0.5}
    assert "hum: Q 0.1" in comparison.summary(rows)
    rows["runs/hum, 5 dB"], spoken["runs/hum, 5 dB"] = rows.pop("hum"), spoken.pop("hum")
    page = comparison.report(rows, spoken, sentences, "by hand", tmp_path / "out").read_text()
    assert "word error rate" in page
    assert "MCD, dB" not in page, "which nobody measured"
    assert page.count("<audio") == 3, "the original and who spoke"
    for name in ("scores", "shares", "spectrograms"):
        assert (tmp_path / f"out/{name}.png").exists()


def test_of_one_speaker_intervals_are_over_the_sentences(systems, sentences):
    sentences[1] = dataclasses.replace(sentences[1], speaker=sentences[0].speaker)
    rows, _ = comparison.compare(systems, None)
    assert rows["hum"]["q"]["low"] < rows["hum"]["q"]["value"] < rows["hum"]["q"]["high"]


def test_other_sentences_are_refused(systems, sentences):
    systems["hum"] = systems["hum"][0], sentences[:1]
    with pytest.raises(ConfigError, match="each on the same sentences"):
        comparison.compare(systems, None)
