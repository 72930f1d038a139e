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
from experiments import _run, emotion
from experiments._networks import ConvolutionalConfig
from experiments.emotion import Experiment
from lin_jax import bundles
from lin_jax.audio.augment import AugmentConfig
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import ConfigError, CorpusError, FeatureError
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
    utterances = corpora.speed_perturbed(corpora.load("ravdess", audio), [0.9, 1.1])
    features.prepare(utterances, out, front_end, progress=False)
    return out


@pytest.fixture
def config():
    """The experiment's own config, but short, with a small network."""
    config = copy.deepcopy(emotion.CONFIG)
    config.speech_gate, config.min_seconds, config.min_snr_db = (
        "",
        0.0,
        0.0,
    )  # what the test synthesises is no speech
    config.network = ConvolutionalConfig(widths=(4, 8), blocks=(0, 1), hidden=16)
    config.optim.warmup_steps = config.fused.optim.warmup_steps = 1
    config.augment.freq_mask_width = 2
    config.task.tta = dataclasses.replace(config.task.tta, tempo=0.0, frequency=0.0)
    config.folds = FoldsConfig(num_steps=2, batch_size=8, crop_frames=40)
    config.fused.folds = FoldsConfig(num_steps=2, batch_size=8)
    return config


def test_cross_validation_then_a_bundle(clips, config, tmp_path, capsys):
    config.seeds = 2
    experiment = Experiment(config, clips)
    with pytest.raises(ConfigError, match="--mode=evaluate first"):
        experiment.ship(tmp_path)
    experiment.train(tmp_path)
    experiment.evaluate(tmp_path)
    results = json.loads((tmp_path / "evaluate/results.json").read_text())
    counts = results["protocol"], results["speakers"], results["clips"]
    assert counts == ("leave-one-speaker-out", 4, 32)
    assert results["uar_low"] <= results["uar"] <= results["uar_high"]
    assert f"uar {results['uar']:.3f}" in capsys.readouterr().out
    assert sum(results["recalls"].values()) / 8 == pytest.approx(results["uar"])
    stored = np.load(tmp_path / "evaluate/predictions.npz")
    np.testing.assert_allclose(stored["clean"].sum(-1), 1)
    assert results["uar"] == pytest.approx(np.mean(stored["clean"].argmax(-1) == stored["labels"]))
    for name in ("confusion", "accuracy_by_speaker", "reliability", "accuracy"):
        assert (tmp_path / f"evaluate/{name}.png").exists()
    events = b"".join(path.read_bytes() for path in (tmp_path / "evaluate").rglob("events.*"))
    assert b"confusion" in events

    experiment.ship(tmp_path)
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

    again = Experiment(config, clips, str(tmp_path / "ship/emotion")).evaluate(tmp_path / "again")
    assert again["bundle"] == "emotion"
    assert "whether or not the bundle was trained on them" in again["protocol"]


def test_functionals_are_fused(clips, functionals, config, tmp_path):
    """Both kinds of networks are held out alike, their probabilities averaged, and shipped together."""
    config.fused.features, config.protocol, config.num_folds = str(functionals), "random", 2
    config.speech_gate, config.min_seconds, config.min_snr_db = "gender", 1.0, 20.0
    experiment = Experiment(config, clips)
    results = experiment.evaluate(tmp_path)
    assert results["protocol"] == "speaker-dependent 2-fold"
    folds = experiment.fit(experiment.make_splits(), tmp_path / "train")
    row = experiment.clips.rows[experiment.make_splits()[1].test[0]]
    shares = [
        np.array(list(bundle.predict(row["path"]).probabilities.values()))
        for bundle in (folds[1], folds[1].fused, dataclasses.replace(folds[1], fused=None))
    ]
    np.testing.assert_allclose(2 * shares[0], shares[1] + shares[2], rtol=1e-6)
    assert folds[0]._forward is folds[1]._forward, "compiled once"

    experiment.ship(tmp_path)
    bundle = lin_jax.load(tmp_path / "ship/emotion")
    assert features.needed_by(str(tmp_path / "ship/emotion"))[2] == []
    assert features.needed_by(str(tmp_path / "ship/emotion/fused"))[2] == [0.84, 1.16]
    counts = bundle.members, bundle.fused.members, bundle.fused.temperature
    assert counts == (1, 4, results["temperature"])
    answers = bundle.speech_gate, bundle.min_seconds, bundle.min_snr_db, bundle.note
    assert answers == ("gender", 1.0, 20.0, "of acted studio speech")
    assert bundle.unsure_below == results["unsure_below"]
    assert bundle.fused.speech_gate == "", "which is asked once"
    assert "4 networks that differ" in (tmp_path / "ship/emotion/fused/README.md").read_text()


def test_clips_at_other_speeds_are_trained_on_and_not_evaluated(functionals, config):
    config.augment = AugmentConfig()
    experiment = Experiment(config, functionals)
    assert (len(features.open_features(functionals)), len(experiment.clips)) == (96, 32)
    networks, fold = experiment.networks, experiment.make_splits()[0]
    assert len(networks.labels) == 32
    rows = networks.clips.at_every_speed(fold.train)
    assert len(rows) == 72
    assert {speed: (networks.clips.speeds[rows] == speed).sum() for speed in (0.9, 1.0, 1.1)} == {
        0.9: 24,
        1.0: 24,
        1.1: 24,
    }
    held_out = {experiment.clips.rows[clip]["path"] for clip in fold.test}
    assert held_out.isdisjoint(networks.clips.rows[row]["path"] for row in rows)
    values = np.concatenate([networks.clips[row]["features"] for row in rows])
    mean, _, _ = networks.constants(rows)
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-4, atol=1e-4)


def test_folds_of_a_paper_with_each_seed_alone(config, tmp_path, capsys):
    """All 24 actors, say one emotion of two each; the recall of a run is that of its networks."""
    for actor in range(1, 25):
        for code in (3, 5) if actor % 2 else (4, 5):
            name = f"03-01-{code:02d}-01-01-01-{actor:02d}.wav"
            speak(tmp_path / name, 80 + 5 * actor, 300 * code, seconds=0.5)
    sets = {}
    for feature in ("log_mel", "functionals"):
        front_end = FrontendConfig(feature=feature, n_mels=8, n_mfcc=4)
        sets[feature] = tmp_path / "features" / feature
        utterances = corpora.load("ravdess", tmp_path)
        features.prepare(utterances, sets[feature], front_end, progress=False)
    config.fused.features = str(sets["functionals"])
    (stage,) = emotion.PRESETS["reslstm"]
    for name, value in stage.settings.items():
        _run.assign(config, name, 2 if name.endswith("seeds") else value)
    experiment = Experiment(config, sets["log_mel"])
    folds = experiment.make_splits()
    assert [len(fold.test) for fold in folds] == [10, 10, 10, 10, 8]
    results = experiment.evaluate(tmp_path / "run")
    assert results["protocol"] == "speaker-disjoint 5-fold of arXiv:2606.03359"
    runs = results["by_seed"]
    assert (len(runs["runs"]), len(runs["folds"])) == (2, 5)
    assert "2 seeds, each alone: unweighted average recall" in capsys.readouterr().out
    bundle = experiment.fit(folds, tmp_path / "run/train")[4]
    path = experiment.clips.rows[folds[4].test[0]]["path"]
    alone = [bundle.member(seed).predict(path).probabilities for seed in (0, 1)]
    both = bundle.predict(path).probabilities
    for label, share in both.items():
        assert share == pytest.approx(np.mean([each[label] for each in alone]), abs=1e-6)
    assert alone[0] != alone[1]
    config.fused.seeds = 1
    with pytest.raises(ConfigError, match=r"eval.by_seed: .* set fused.seeds"):
        Experiment(config, sets["log_mel"])


def test_the_folds_of_a_paper_take_all_actors(clips, config):
    config.protocol = "reslstm"
    with pytest.raises(CorpusError, match=r"Actor_05, .* are missing"):
        Experiment(config, clips).make_splits()


def test_the_fused_networks_may_be_trained_alone(functionals, config, tmp_path):
    (stage,) = emotion.PRESETS["functionals"]
    for name, value in stage.settings.items():
        _run.assign(config, name, value)
    config.folds = FoldsConfig(num_steps=2, batch_size=8)
    config.seeds, config.num_folds, config.optim.warmup_steps = 1, 2, 1
    config.eval.whisper, config.eval.per_speaker = True, 1
    experiment = Experiment(config, functionals)
    network = experiment.networks.network
    assert (type(network).__name__, network.hidden) == ("DenseResidualClassifier", 128)
    results = experiment.evaluate(tmp_path)
    assert (results["clips"], results["conditions"]["whisper"]["clips"]) == (32, 4)


def test_what_cannot_be_trained(clips, functionals, config, tmp_path):
    with pytest.raises(ConfigError, match="functionals cannot be augmented"):
        Experiment(config, functionals)
    fewer, config.fused.features = tmp_path / "fewer", str(functionals)
    audio = pathlib.Path(features.open_features(clips).rows[0]["path"]).parents[1]
    front_end = FrontendConfig(n_mels=16)
    features.prepare(corpora.load("ravdess", audio)[1:], fewer, front_end, progress=False)
    with pytest.raises(ConfigError, match="other clips than those fused"):
        Experiment(config, fewer)
    config.fused.features, config.label = "", "colour"
    with pytest.raises(FeatureError, match="colour"):
        Experiment(config, clips)
    config.label, config.train.compile_only = "", True
    with pytest.raises(ConfigError, match="compile_only is of training on waveforms"):
        Experiment(config, clips).train(tmp_path)
    config.protocol, config.train.compile_only = "twice", False
    with pytest.raises(ConfigError, match=r"protocol twice: choose one of loso, .*, reslstm"):
        Experiment(config, clips).train(tmp_path)
    config.network.name = "Deep"
    with pytest.raises(ConfigError, match="network Deep is unknown: choose one of"):
        Experiment(config, clips)
    config.network.name, config.protocol, config.eval.snrs = "ResidualClassifier", "random", (0.0,)
    with pytest.raises(ConfigError, match="no noises to add"):
        Experiment(config, clips).train(tmp_path)
