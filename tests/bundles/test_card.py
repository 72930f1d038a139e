"""Model cards: nothing but what bundle.json says."""

import json

import pytest
import yaml
from helpers import verifiers

from lin_jax import bundles
from lin_jax.bundles import card

OWN = {"name": "mine", "licence": "CC BY 4.0", "speakers": 12, "clips": 1200, "hours": 1.5}
ACTORS = {"name": "RAVDESS", "licence": "CC BY-NC-SA 4.0", "speakers": 20, "clips": 1200}


def described(**provenance):
    return {
        "task": "classification",
        "name": "mood",
        "model": {"name": "ResidualClassifier"},
        "frontend": {"sample_rate": 16000, "feature": "log_mel", "n_mels": 64, "n_mfcc": 20},
        "labels": ["good", "bad"],
        "provenance": provenance,
    }


def header(text):
    return yaml.safe_load(text.split("---\n")[1])


def test_says_what_it_was_trained_on_and_no_more():
    text = card.render(described(corpora=[OWN], command="python -m experiments.emotion"))
    assert "| mine | CC BY 4.0 | 12 | 1,200 | 1.5 |" in text
    assert "from scratch and on nothing else" in text
    assert "RAVDESS" not in text
    assert "NC" not in text
    assert header(text) == {
        "license": "cc-by-4.0",
        "library_name": "lin_jax",
        "pipeline_tag": "audio-classification",
        "datasets": ["mine"],
        "tags": ["jax", "flax", "speech", "audio-classification"],
    }


def test_says_when_it_does_not_answer():
    text = card.render(
        described()
        | {"speech_gate": "gender", "min_seconds": 1.0, "calibration": {"unsure_below": 0.6}}
    )
    assert "answers where `gender` hears speech, 1 s or more of sound, and a class is 60% l" in text
    assert "answers where" not in card.render(described() | {"speech_gate": ""})
    text = card.render(described() | {"child_gate": "speaker"})
    assert "Where `speaker` hears what may be a child, a note says so." in text


def test_licence_and_data_of_parents_are_inherited():
    grandparent = {"name": "first", "provenance": {"corpora": [ACTORS]}}
    parent = {"name": "second", "provenance": {"corpora": [], "parents": [grandparent]}}
    text = card.render(described(corpora=[OWN], parents=[parent]))
    assert "Fine-tuned from `second`" in text
    assert "itself fine-tuned from `first` (of RAVDESS)" in text
    assert "nothing else" not in text
    assert "not for commercial use" in text
    assert header(text)["license"] == "cc-by-nc-sa-4.0"
    assert header(text)["datasets"] == ["mine", "RAVDESS"]
    assert header(text)["base_model"] == ["second"]


def test_what_was_learnt_from_is_not_to_be_quoted():
    """By this training or by one that it went on from; nothing is said of what only trains."""
    readers = OWN | {"name": "LibriSpeech", "evaluation_subsets": ["dev-clean", "test-clean"]}
    parent = {"name": "second", "provenance": {"corpora": [readers]}}
    for text in (
        card.render(described(corpora=[readers])),
        card.render(described(corpora=[OWN], parents=[parent])),
    ):
        for subset in ("dev-clean", "test-clean"):
            limit = f"- It learnt from speakers of LibriSpeech {subset}: quote no figure on them."
            assert text.count(limit) == 1
    assert "quote no figure" not in card.render(described(corpora=[OWN]))


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        ([], "not stated"),
        (["CC BY 4.0", "public domain"], "CC BY 4.0"),
        (["CC BY 4.0", "my own terms"], "not stated"),
        (["CC BY-NC-SA 4.0", "not stated"], "CC BY-NC-SA 4.0"),
    ],
)
def test_strictest_licence(licences, expected):
    assert card.strictest(licences) == expected


def test_a_parent_of_which_nothing_is_known_has_no_stated_licence():
    text = card.render(described(corpora=[OWN], parents=[{"name": "second"}]))
    assert header(text)["license"] == "other"
    assert header(text)["license_name"] == "not stated"


def test_metrics_with_intervals_references_and_gaps():
    metrics = {
        "clean": {"recall": {"value": 0.5, "low": 0.4, "high": 0.6}, "PESQ": None},
        "noise": {"recall": {"value": 0.25, "reference": 0.125}, "PESQ": 1},
    }
    text = card.render(described(protocol="Leave one out.", metrics=metrics))
    assert "| data | recall | PESQ |" in text
    assert "| clean | 0.5 [0.4, 0.6] | – |" in text
    assert "| noise | 0.125 → 0.25 | 1 |" in text


def test_is_saved_beside_the_bundle(tmp_path, monkeypatch):
    verifiers.register(monkeypatch)
    folder = bundles.save(tmp_path / "own", verifiers.verifier(), provenance={"corpora": [OWN]})
    content = json.loads((folder / "bundle.json").read_text())
    del content["sha256"]
    assert content == bundles.describe(folder)
    assert content["provenance"] == {"corpora": [OWN]}
    assert bundles.read_card(folder) == card.render(content)
