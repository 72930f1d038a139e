"""The verification experiment on two corpora of buzzes that the test makes: every mode, end to end."""

import copy
import dataclasses
import json

import jax
import numpy as np
import pytest
import soundfile

import lin_jax
from data_pipelines import features
from data_pipelines.corpora import Utterance
from experiments import _backend, verification
from experiments.verification import EncoderConfig, Experiment
from lin_jax.audio.augment import AugmentConfig
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import ConfigError
from lin_jax.models.speaker_encoder import SmallSpeakerEncoder
from lin_jax.scoring import first

FRONTEND = FrontendConfig(n_mels=16, hop_length=256, trim_db=None)


def speak(path, speaker, clip, seconds, rate=16000):
    """A buzz: pitch and formants are the speaker's, a little vibrato the clip's."""
    rng = np.random.default_rng(speaker)
    pitch, formants = rng.uniform(80, 250), rng.uniform(300, 4000, 3)
    t = np.arange(round(seconds * rate)) / rate
    harmonics = pitch * np.arange(1, 30)
    gains = sum(np.exp(-(((harmonics - formant) / 200) ** 2)) for formant in formants) + 0.02
    phase = t + 0.002 * np.sin(2 * np.pi * (2 + clip) * t)
    wave = np.sum(gains[:, None] * np.sin(2 * np.pi * harmonics[:, None] * phase), axis=0)
    soundfile.write(path, 0.3 * wave / np.abs(wave).max(), rate)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two corpora, one with 20 speakers of 3 clips, one with 10 of whom each has one long clip; and noises."""
    folder = tmp_path_factory.mktemp("audio")
    for corpus, speakers, clips, seconds in (("many", 20, 3, 1.0), ("single", 20, 1, 2.0)):
        utterances = []
        for speaker in range(speakers):
            for clip in range(clips):
                path = folder / f"{corpus}-{speaker:02d}-{clip}.wav"
                speak(path, speaker + 100 * clips, clip, seconds)
                labels = {"sex": ("female", "male")[speaker % 2], "age": str(5 + 2 * speaker)}
                utterances.append(Utterance(path.stem, path, f"s{speaker:02d}", labels=labels))
        features.prepare(utterances, folder / corpus, FRONTEND, store="waveform", progress=False)
    noises = []
    for i in range(6):
        path = folder / f"noise{i}.wav"
        soundfile.write(path, 0.1 * np.random.default_rng(i).standard_normal(32000), 16000)
        noises.append(Utterance(path.stem, path, path.stem))
    features.prepare(noises, folder / "noise", FRONTEND, store="waveform", progress=False)
    return folder


@pytest.fixture
def config():
    """The experiment's own config, but short, with a small network."""
    config = copy.deepcopy(verification.CONFIG)
    config.network = EncoderConfig(widths=(4, 8), blocks=(0, 1), hidden=16, embedding=8)
    config.hold_out, config.validation, config.segment_seconds, config.cohort = 4, 2, 1.0, 5
    config.optim.warmup_steps = 1
    config.augment.freq_mask_width, config.task.speeds = 2, (0.9, 1.0)
    config.augment.room_prob = config.augment.band_prob = 0.0
    config.train = dataclasses.replace(config.train, num_steps=4, eval_every=2, log_every=2)
    config.loader = dataclasses.replace(config.loader, batch_size=8, crop_seconds=0.6, buckets=1)
    return config


def test_train_evaluate_and_ship(folder, config, tmp_path, capsys):
    both = f"{folder / 'many'},{folder / 'single'}"
    with pytest.raises(ConfigError, match="--mode=evaluate first"):
        Experiment(config, both).ship(tmp_path)
    experiment = Experiment(config, both)
    experiment.evaluate(tmp_path)
    history = [
        json.loads(line) for line in (tmp_path / "train/metrics.jsonl").read_text().splitlines()
    ]
    names = set().union(*history)
    assert {
        "train/loss",
        "train/triplet_loss",
        "train/accuracy",
        "eval/triplet_loss",
        "eval/eer",
    } <= names
    assert (tmp_path / "train/curves.png").exists()

    results = json.loads((tmp_path / "evaluate/results.json").read_text())
    assert (results["protocol"], results["train_speakers"]) == ("speaker-disjoint", 28)
    many, single = (results["corpora"][name] for name in ("many", "single"))
    assert (many["speakers"], many["clips"], many["all"]["trials"], many["all"]["same"]) == (
        4,
        12,
        66,
        12,
    )
    assert (single["speakers"], single["clips"]) == (4, 8)
    assert set(many["network"]) == set(many["functionals"]) == set(many["cosine"])
    assert many["protocol"] == "whole clips"
    assert single["protocol"] == "same recording, 1 s pieces"
    for corpus in (many, single):
        assert corpus["all"]["eer_low"] <= corpus["all"]["eer"] <= corpus["all"]["eer_high"]
        assert 0 <= corpus["all"]["min_dcf_0.01"] <= 1
        assert 0 <= corpus["cosine"]["eer"] <= 1
        assert 0 <= corpus["all"]["false_accept"] <= 1
        assert corpus["seconds"]["1"]["speakers"] == 4
    assert set(single["seconds"]) == {"1"}, "no clip has two pieces of 2 s"
    assert f"many: EER {many['all']['eer']:.2%}" in capsys.readouterr().out
    for name in ("trials.tsv", "det.png", "scores.png", "projection.png"):
        assert (tmp_path / f"evaluate/single_{name}").exists()

    with pytest.raises(ConfigError, match="no noises: name"):
        Experiment(config, both).ship(tmp_path)
    config.noise, config.augment = str(folder / "noise"), AugmentConfig()
    config.everyone = True
    Experiment(config, both).ship(tmp_path)
    bundle = lin_jax.load(tmp_path / "ship/speaker")
    assert _backend.calibration_of(bundle) == results["calibration"], "of what was evaluated"
    assert bundle.fused.threshold != bundle.threshold, "each of its own kind of score"
    assert bundle.fusion_weight == 0.2
    assert bundle.speech_weight.any()
    assert bundle.child_weight.shape == (bundle.embedding_size,)
    assert set(many["taken_for_children"]) <= {"children", "others"}
    assert bundle.fused.plda_mean.shape == (bundle.fused.embedding_size,)
    assert bundle.fused.cohort.shape == (40, bundle.fused.embedding_size)
    assert (bundle.cohort.shape, bundle.top) == ((40, 16), 5)
    assert bundle.narrow_cohort.shape == (2 * 40, 16), "by two narrow channels"
    assert bundle.fused.narrow_cohort.shape == (2 * 40, bundle.fused.embedding_size)
    for cohort in (bundle.cohort, bundle.narrow_cohort):
        np.testing.assert_allclose(np.linalg.norm(cohort, axis=1), 1, rtol=1e-3)
    assert bundle.plda_axes.shape == (16, 16), "no more axes than there are features"
    experiment = Experiment(config, both)
    task, fitted = experiment.fit(tmp_path / "everyone", everyone=True)
    assert task.num_speakers == 40
    row = experiment.clips.rows[5]
    sound = experiment.clips[5]["waveform"]
    batch = {"waveform": sound[None], "length": np.array([len(sound)])}
    expected = jax.jit(task.predict)(fitted.variables, batch)["embedding"][0]
    embedding = first(bundle.embed(row["path"]), len(expected))
    np.testing.assert_allclose(embedding, expected, atol=0.02)  # stored in half precision
    card = (tmp_path / "ship/speaker/README.md").read_text()
    assert "| many, 4 speakers, " in card
    assert f" | {round(many['all']['eer'], 3):g} [" in card
    assert "the one that ships was trained on 40, other speeds included" in card
    assert {"| many |", "| single |"} <= {
        line[: line.find("|", 2) + 1] for line in card.splitlines()
    }

    config.init = str(tmp_path / "ship/speaker")
    again = Experiment(config, folder / "many")
    params = again.start_params(again.make_task())["encoder"]
    same = jax.tree.map(np.array_equal, params, bundle.variables["params"])
    assert all(jax.tree.leaves(same)), "it goes on from the bundle"
    config.network.hidden = 9
    larger = Experiment(config, folder / "many")
    with pytest.raises(ConfigError, match="speaker: another network, or of another size"):
        larger.start_params(larger.make_task())


def test_no_speaker_is_on_two_sides(folder, config):
    experiment = Experiment(config, f"{folder / 'many'},{folder / 'single'}")
    sides = [set(experiment.speakers[side]) for side in dataclasses.astuple(experiment.split)[1:]]
    assert [len(side) for side in sides] == [28, 4, 8]
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]


def test_the_original_network(folder, config, tmp_path):
    """The small network with the triplet loss alone, on one corpus."""
    config.network.name = "SmallSpeakerEncoder"
    config.task.loss, config.task.triplet_weight = "triplet", 0.0
    config.train.num_steps = 2
    task, result = Experiment(config, folder / "many").fit(tmp_path)
    assert isinstance(task.model, SmallSpeakerEncoder)
    assert "eer" in result.best
    config.network.name = "Deep"
    with pytest.raises(ConfigError, match="network Deep is unknown"):
        Experiment(config, folder / "many").train(tmp_path)


def test_nobody_to_judge(folder, config, tmp_path):
    config.hold_out = 0
    with pytest.raises(ConfigError, match="no test speakers"):
        Experiment(config, folder / "many").evaluate(tmp_path)
