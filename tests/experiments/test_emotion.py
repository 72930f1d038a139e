"""The emotion experiment on a corpus in RAVDESS's layout that the test synthesises: every mode, end to end."""

import copy
import dataclasses
import json
import pathlib

import numpy as np
import pytest
from helpers.recordings import speak

import lin_jax
from data_pipelines import corpora, features
from data_pipelines.corpora.ravdess import EMOTIONS
from experiments import _classification, emotion
from lin_jax import bundles, calibration
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import ConfigError
from lin_jax.models import residual_classifier
from lin_jax.training.folds import FoldsConfig


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ravdess")
    for actor in range(1, 5):
        (folder / f"Actor_{actor:02d}").mkdir()
        for code in range(1, 9):
            name = f"03-01-{code:02d}-01-01-01-{actor:02d}.wav"
            speak(folder / f"Actor_{actor:02d}" / name, 80 + 20 * actor, 300 * code)
    out = tmp_path_factory.mktemp("features") / "ravdess"
    features.prepare(
        corpora.load("ravdess", folder), out, FrontendConfig(n_mels=16), progress=False
    )
    return out


@pytest.fixture(scope="module")
def functionals(clips, tmp_path_factory):
    out = tmp_path_factory.mktemp("functionals") / "ravdess"
    audio = pathlib.Path(features.open_features(clips).rows[0]["path"]).parents[1]
    front_end = FrontendConfig(feature="functionals", n_mels=8, n_mfcc=4)
    features.prepare(corpora.load("ravdess", audio), out, front_end, progress=False)
    return out


@pytest.fixture
def config(monkeypatch):
    """The experiment's own config, but short, with a small network."""
    small = residual_classifier.ResidualClassifier(8, widths=(4, 8), blocks=(0, 1), hidden=16)
    monkeypatch.setitem(_classification.NETWORKS, "convolutional", lambda num_classes: small)
    config = copy.deepcopy(emotion.CONFIG)
    config.optim.warmup_steps = 1
    config.augment.freq_mask_width = 2
    config.folds = dataclasses.replace(config.folds, num_steps=2, batch_size=8, crop_frames=40)
    config.train = dataclasses.replace(config.train, num_steps=2, eval_every=1)
    config.loader = dataclasses.replace(config.loader, batch_size=8, crop_seconds=0.5)
    return config


def test_cross_validation_then_a_bundle(clips, config, tmp_path, capsys):
    config.seeds = 2
    with pytest.raises(ConfigError, match="cross-validate into it first"):
        emotion.ship(config, clips, tmp_path)
    emotion.loso(config, clips, tmp_path)
    results = json.loads((tmp_path / "loso/results.json").read_text())
    assert (results["protocol"], results["speakers"], results["clips"]) == (
        "leave-one-speaker-out",
        4,
        32,
    )
    assert results["uar_low"] <= results["uar"] <= results["uar_high"]
    assert f"uar {results['uar']:.3f}" in capsys.readouterr().out
    assert sum(results["recalls"].values()) / 8 == pytest.approx(results["uar"])
    stored = np.load(tmp_path / "loso/predictions.npz")
    assert stored["logits"].shape == (2, 32, 8)
    assert np.abs(stored["logits"]).sum(-1).all(), "every clip was judged by every seed"
    assert all(
        (tmp_path / "loso" / name).exists() for name in ("confusion.png", "accuracy_by_speaker.png")
    )

    emotion.ship(config, clips, tmp_path)
    bundle = lin_jax.load(tmp_path / "ship/emotion")
    assert (bundle.labels, bundle.members) == (EMOTIONS, 2)
    assert bundle.temperature == results["temperature"]
    row = features.open_features(clips).rows[0]
    assert sum(bundle.predict(row["path"]).probabilities.values()) == pytest.approx(1)
    provenance = bundles.describe(tmp_path / "ship/emotion")["provenance"]
    recall = provenance["metrics"]["held-out speakers"]["unweighted average recall"]
    assert recall["value"] == results["uar"]
    assert f"| {round(results['uar'], 3):g} [" in bundles.read_card(tmp_path / "ship/emotion")
    described = features.open_features(clips).describe()
    assert provenance["corpora"] == described
    assert described[0]["speakers"] == results["speakers"]


def test_functionals_are_heard_beside(clips, functionals, config, tmp_path, monkeypatch):
    """Both kinds of networks are held out alike, their probabilities averaged, and shipped together."""
    monkeypatch.setattr(emotion.FUNCTIONALS, "folds", FoldsConfig(num_steps=2, batch_size=8))
    monkeypatch.setattr(emotion.FUNCTIONALS.optim, "warmup_steps", 1)
    config.functionals = str(functionals)
    emotion.loso(config, clips, tmp_path)
    folders = [tmp_path / "loso" / name for name in ("", "alone", "fused")]
    results, alone, fused = (
        json.loads((folder / "results.json").read_text()) for folder in folders
    )
    assert (results["seeds"], alone["seeds"], fused["seeds"], fused["clips"]) == (1, 1, 4, 32)
    assert results["uar_alone"] == alone["uar"]
    together, *apart = (np.load(folder / "predictions.npz") for folder in folders)
    shares = [
        calibration.mean_probabilities(stored["logits"], results["temperature"])
        for stored in (together, *apart)
    ]
    np.testing.assert_allclose(shares[0], (shares[1] + shares[2]) / 2)
    assert results["uar"] == pytest.approx(np.mean(shares[0].argmax(-1) == together["labels"]))

    emotion.ship(config, clips, tmp_path)
    bundle = lin_jax.load(tmp_path / "ship/emotion")
    assert (bundle.members, bundle.fused.members, bundle.fused.temperature) == (
        1,
        4,
        results["temperature"],
    )
    path = features.open_features(clips).rows[0]["path"]
    rows = [list(one.predict(path).probabilities.values()) for one in (bundle, bundle.fused)]
    bundle.fused = None
    np.testing.assert_allclose(
        2 * np.array(rows[0]) - rows[1], list(bundle.predict(path).probabilities.values())
    )
    assert "4 small dense networks" in (tmp_path / "ship/emotion/README.md").read_text()

    with pytest.raises(ConfigError, match="functionals cannot be augmented"):
        emotion.train(config, functionals, tmp_path)
    fewer = tmp_path / "fewer"
    audio = pathlib.Path(path).parents[1]
    features.prepare(
        corpora.load("ravdess", audio)[1:], fewer, FrontendConfig(n_mels=16), progress=False
    )
    with pytest.raises(ConfigError, match="other clips than those fused"):
        emotion.loso(config, fewer, tmp_path)


def test_random_split_says_what_it_is(clips, config, tmp_path):
    emotion.random_split(config, clips, tmp_path)
    results = json.loads((tmp_path / "random_split/results.json").read_text())
    assert results["protocol"] == "speaker-dependent 5-fold"


def test_one_training(clips, config, tmp_path, capsys):
    emotion.train(config, clips, tmp_path)
    assert "speaker-disjoint, 1 speakers, 8 clips:" in capsys.readouterr().out
    for name in ("curves.png", "confusion.png", "results.json"):
        assert (tmp_path / "train" / name).exists()
    events = b"".join(path.read_bytes() for path in (tmp_path / "train").rglob("events.*"))
    assert all(picture in events for picture in (b"curves", b"confusion"))


def test_networks(clips, config):
    config.network = "deep"
    with pytest.raises(ConfigError, match="choose one of"):
        emotion.train(config, clips, None)
