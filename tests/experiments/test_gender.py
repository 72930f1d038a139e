"""The gender experiment on voices that the test synthesises, from corpora of two layouts and of noises, end to end."""

import copy
import dataclasses
import json

import numpy as np
import pytest
from helpers.recordings import speak

import lin_jax
from data_pipelines import corpora, features, splits
from data_pipelines.corpora import NO_SPEECH, noise
from experiments import gender
from lin_jax.apps import cli
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import CorpusError, FeatureError
from lin_jax.models import residual_classifier

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
def config(monkeypatch):
    """The experiment's own config, but short, with a small network and two folds."""
    small = residual_classifier.ResidualClassifier(3, widths=(4,), blocks=(1,), hidden=8)
    dense = residual_classifier.DenseResidualClassifier(3, hidden=8, blocks=1)
    networks = {"convolutional": lambda num_classes: small, "shallow": lambda num_classes: dense}
    monkeypatch.setattr("experiments._classification.NETWORKS", networks)
    monkeypatch.setattr(gender, "FOLDS", 2)
    config = copy.deepcopy(gender.CONFIG)
    config.augment.room_prob = config.augment.band_prob = 0.0
    config.train = dataclasses.replace(config.train, num_steps=2, eval_every=1)
    config.loader = dataclasses.replace(config.loader, batch_size=8, crop_seconds=0.5)
    config.optim.warmup_steps = 1
    for name, value in (
        ("train", config.train),
        ("loader", config.loader),
        ("augment", config.augment.of_waveforms),
    ):
        monkeypatch.setattr(gender.FUNCTIONALS, name, value)
    monkeypatch.setattr(gender.FUNCTIONALS.optim, "warmup_steps", 1)
    return config


def test_children_are_judged_but_not_learnt_from(clips, config, tmp_path, monkeypatch):
    experiment = gender._open(config, clips)
    assert experiment.learnt.sum() == len(experiment.labels) - 2
    monkeypatch.setattr(experiment, "_fit_members", lambda members, workdir: members)
    members, _ = experiment.fit_folds(splits.k_fold(experiment.speakers, 2), tmp_path)
    assert all(experiment.learnt[member.train].all() for member in members)
    assert sum(len(member.test) for member in members) == len(experiment.labels)


def test_train_evaluate_ship(clips, config, tmp_path, capsys):
    """With functionals beside: what is heard is the mean of what both kinds of network say, as it ships."""
    config.functionals = clips.replace("mfcc", "functionals")
    gender.train(config, clips, tmp_path)
    results = json.loads((tmp_path / "train/results.json").read_text())
    assert (results["protocol"], results["clips"]) == ("speaker-disjoint 2-fold", 5 + 4 + 8)
    assert set(results["recalls"]) == {"female", "male", NO_SPEECH}
    assert (tmp_path / "train/member-001/curves.png").exists()
    trained = sorted((tmp_path / "train").glob("**/member-000/checkpoints/*"))
    assert len(trained) >= 2, "of each kind"

    gender.evaluate(config, clips, tmp_path)
    assert sorted((tmp_path / "train").glob("**/member-000/checkpoints/*")) == trained, (
        "nothing is trained again"
    )
    results = json.loads((tmp_path / "evaluate/results.json").read_text())
    assert (results["speakers"], results["clips"]) == (7, 7), "adults whose sex is known"
    counts = {name: group["clips"] for name, group in results["groups"].items()}
    assert counts == {"kaldi": 2, "librispeech": 5, "children": 2, NO_SPEECH: 8}
    assert set(results["conditions"]) == {
        "clean",
        "noise 20 dB",
        "noise 10 dB",
        "noise 0 dB",
        "telephone",
    }
    assert results["unsure_below"] == gender.UNSURE_BELOW
    assert 0 <= results["told_right"] <= 1
    stored = np.load(tmp_path / "evaluate/predictions.npz")
    assert all(np.isfinite(stored[condition]).all() for condition in results["conditions"])
    assert not np.allclose(stored["clean"], stored["noise 0 dB"])
    assert all(
        (tmp_path / "evaluate" / f"{name}.png").exists()
        for name in ("confusion", "reliability", "accuracy")
    )

    gender.ship(config, clips, tmp_path)
    bundle = lin_jax.load(tmp_path / "ship/gender")
    assert bundle.labels == ("female", "male", NO_SPEECH)
    assert (bundle.temperature, bundle.unsure_below) == (
        results["temperature"],
        results["unsure_below"],
    )
    assert (bundle.members, bundle.fused.members, bundle.fused.frontend) == (1, 1, FUNCTIONALS)
    card = (tmp_path / "ship/gender/README.md").read_text()
    assert (tmp_path / "ship/gender/fused/README.md").is_file()
    assert f"{results['accuracy']:.3g}" in card
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
        gender.train(config, unknown, tmp_path)


def test_classes_that_are_missing(clips, config, tmp_path):
    with pytest.raises(FeatureError, match="no clip is 'no speech': add a feature set"):
        gender.train(config, clips.split(",")[0], tmp_path)


def test_conditions():
    rng = np.random.default_rng(0)
    speech, sound = rng.standard_normal(16000), 0.01 * rng.standard_normal(16000)
    heard = {name: change(speech, 16000, sound) for name, change in gender._conditions().items()}
    assert heard["clean"][0] is speech
    for snr in gender.SNRS:
        mixed, rate = heard[f"noise {snr} dB"]
        assert rate == 16000
        added = np.sum(speech**2) / np.sum((mixed - speech) ** 2)
        assert 10 * np.log10(added) == pytest.approx(snr, abs=0.01)
    narrow, rate = heard["telephone"]
    power = np.abs(np.fft.rfft(narrow)) ** 2
    assert (rate, len(narrow)) == (8000, 8000)
    assert power[:150].mean() < 0.01 * power[500:3000].mean()
