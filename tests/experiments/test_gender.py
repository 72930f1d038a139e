"""The gender experiment on voices that the test synthesises, from corpora of two layouts and of noises, end to end."""

import copy
import dataclasses
import json

import numpy as np
import pytest
from helpers.recordings import speak

import lin_jax
from data_pipelines import corpora, features
from data_pipelines.corpora import NO_SPEECH, noise
from experiments import gender
from experiments._networks import ConvolutionalConfig, DenseConfig
from experiments.gender import Experiment
from lin_jax.apps import cli
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import CorpusError, FeatureError

FRONTEND = FrontendConfig(feature="mfcc", n_mels=16, n_mfcc=12, hop_length=320)
PITCH = {"F": 230, "M": 110}


FUNCTIONALS = FrontendConfig(feature="functionals", n_mels=16, n_mfcc=12, hop_length=320)


def prepare(folder, name, audio, store="waveform", frontend=FRONTEND, **options):
    features.prepare(
        corpora.load(name, audio, **options), folder / name, frontend, store=store, progress=False
    )
    return str(folder / name)


def libri(root, sexes):
    """A LibriSpeech folder; readers whose sex is None are missing from SPEAKERS.TXT."""
    for reader, sex in sexes.items():
        folder = root / f"dev-clean/{reader}/1"
        folder.mkdir(parents=True)
        speak(folder / f"{reader}-1-0000.wav", PITCH[sex or "F"] + reader, 700, seconds=0.8)
    lines = [
        f"{reader} | {sex} | dev-clean | 25.19 | Name\n" for reader, sex in sexes.items() if sex
    ]
    (root / "SPEAKERS.TXT").write_text("".join(lines) or "; nobody\n")
    return root


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Feature sets of six readers, one of unknown sex, of four speakers of whom two are children, and of noises."""
    root, out = tmp_path_factory.mktemp("audio"), tmp_path_factory.mktemp("features")
    names = libri(root / "libri", {1: "F", 2: "M", 3: "F", 4: "M", 5: None, 6: "F"})
    kaldi = root / "kaldi"
    kaldi.mkdir()
    people = [("a", "f", 30), ("b", "m", 9), ("c", "f", 8), ("d", "m", 40)]
    for name, sex, _ in people:
        speak(kaldi / f"{name}.wav", PITCH[sex.upper()] + 10, 600)
    (kaldi / "wav.scp").write_text("".join(f"{name} {name}.wav\n" for name, *_ in people))
    for table, column in (("utt2spk", 0), ("spk2gender", 1), ("spk2age", 2)):
        (kaldi / table).write_text("".join(f"{person[0]} {person[column]}\n" for person in people))
    noise.generate(root / "noise", 8)
    for frontend in (FRONTEND, FUNCTIONALS):
        for name, audio in (("librispeech", names), ("kaldi", kaldi), ("noise", root / "noise")):
            prepare(out / frontend.feature, name, audio, frontend=frontend)
    return ",".join(str(out / f"mfcc/{name}") for name in ("librispeech", "kaldi", "noise"))


@pytest.fixture
def config():
    """The experiment's own config, but short, with a small network and two folds."""
    config = copy.deepcopy(gender.CONFIG)
    config.child_gate = ""  # what the test synthesises is nobody's voice
    config.network = ConvolutionalConfig(widths=(4,), blocks=(1,), hidden=8)
    config.fused.network, config.num_folds = DenseConfig(hidden=8), 2
    config.augment.room_prob = config.augment.band_prob = 0.0
    config.fused.augment = config.augment.of_waveforms
    for part in (config, config.fused):
        part.train = dataclasses.replace(part.train, num_steps=2, eval_every=1)
        part.loader = dataclasses.replace(part.loader, batch_size=8, crop_seconds=0.5)
        part.optim.warmup_steps = 1
    return config


def test_children_are_evaluated_but_not_trained_on(clips, config):
    experiment = Experiment(config, clips)
    assert experiment.trainable.sum() == len(experiment.labels) - 2
    folds = experiment.make_splits()
    assert all(experiment.trainable[fold.train].all() for fold in folds)
    assert sum(len(fold.test) for fold in folds) == len(experiment.labels)


def test_train_evaluate_ship(clips, config, tmp_path, capsys):
    """Fused with functionals: a prediction is the mean of both kinds of network, as it ships."""
    config.fused.features = clips.replace("mfcc", "functionals")
    experiment = Experiment(config, clips)
    experiment.train(tmp_path)
    assert (tmp_path / "train/member-001/curves.png").exists()
    trained = sorted((tmp_path / "train").glob("**/member-000/checkpoints/*"))
    assert len(trained) >= 2, "of each kind"

    experiment.evaluate(tmp_path)
    assert sorted((tmp_path / "train").glob("**/member-000/checkpoints/*")) == trained, (
        "nothing is trained again"
    )
    results = json.loads((tmp_path / "evaluate/results.json").read_text())
    assert results["protocol"] == "speaker-disjoint 2-fold"
    assert (results["speakers"], results["clips"]) == (7, 7), "adults whose sex is known"
    counts = {name: group["clips"] for name, group in results["groups"].items()}
    ages = {"children under 9": 1, "children of 9 to 13": 1}
    assert counts == {"kaldi": 2, "librispeech": 5, "children": 2, NO_SPEECH: 8} | ages
    conditions = {"noise 20 dB", "noise 10 dB", "noise 0 dB", "telephone"}
    assert set(results["conditions"]) == conditions
    assert results["unsure_below"] == 0.65
    assert 0 <= results["answered_accuracy"] <= 1
    stored = np.load(tmp_path / "evaluate/predictions.npz")
    assert all(np.isfinite(stored[condition]).all() for condition in conditions)
    assert not np.allclose(stored["clean"], stored["noise 0 dB"])

    experiment.ship(tmp_path)
    bundle = lin_jax.load(tmp_path / "ship/gender")
    assert bundle.labels == ("female", "male", NO_SPEECH)
    calibrated = bundle.temperature, bundle.unsure_below
    assert calibrated == (results["temperature"], results["unsure_below"])
    assert (bundle.members, bundle.fused.members, bundle.fused.frontend) == (1, 1, FUNCTIONALS)
    card = (tmp_path / "ship/gender/README.md").read_text()
    assert (tmp_path / "ship/gender/fused/README.md").is_file()
    assert f"{results['accuracy']:.3g}" in card
    assert "learnt from speakers of librispeech dev-clean: quote no figure on them" in card
    capsys.readouterr()
    row = features.open_features(clips.split(",")[0]).rows[0]
    assert (
        cli.main(["gender", "--json", "--model", str(tmp_path / "ship/gender"), row["path"]]) == 0
    )
    assert json.loads(capsys.readouterr().out)["gender"] in (*bundle.labels, "unsure")


def test_sexes_that_nobody_told(config, tmp_path):
    audio = libri(tmp_path / "audio", {1: None, 2: None})
    with pytest.raises(CorpusError, match=r"SPEAKERS.TXT: no readers in it"):
        corpora.load("librispeech", audio)
    (audio / "SPEAKERS.TXT").write_text("99 | F | dev-clean | 25.19 | Somebody else\n")
    unknown = prepare(tmp_path, "librispeech", audio)
    with pytest.raises(FeatureError, match="sex is known of no clip: add"):
        Experiment(config, unknown)


def test_classes_that_are_missing(clips, config):
    with pytest.raises(FeatureError, match="no clip is 'no speech': add a feature set"):
        Experiment(config, clips.split(",")[0])
