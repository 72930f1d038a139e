"""The acoustic experiment on tones that the test spells: every mode, end to end."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import soundfile
from helpers import verifiers

import lin_jax
from data_pipelines import features
from data_pipelines.corpora import Utterance
from experiments import acoustic
from lin_jax import bundles
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.bundles.flow_synthesizer import FlowSynthesizer
from lin_jax.errors import ConfigError

RATE = verifiers.RATE
FRONTEND = FrontendConfig(
    n_mels=16, n_mfcc=16, n_fft=512, win_length=512, hop_length=256, level="rms", level_db=-25.0
)
WORDS = ("aba", "bab", "abba", "baba", "ab", "ba")


def say(text, rng):
    """A tone for each letter, and silence for what is none."""
    parts = []
    for letter in f" {text} ":
        t = np.arange(round(0.08 * RATE)) / RATE
        hz = {"a": 500, "b": 1500}.get(letter)
        parts.append(0.3 * np.sin(2 * np.pi * hz * t) if hz else np.zeros(2 * len(t)))
    return np.concatenate(parts) + 1e-3 * rng.standard_normal(sum(map(len, parts)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five speakers of six sentences."""
    folder, rng, utterances = tmp_path_factory.mktemp("spelt"), np.random.default_rng(0), []
    for speaker in range(5):
        for number in range(6):
            text = " ".join(rng.choice(WORDS, 4)) + f" {WORDS[number]}"
            path = folder / f"s{speaker}-{number}.wav"
            soundfile.write(path, say(text, rng), RATE)
            utterances.append(Utterance(path.stem, path, f"s{speaker}", text, {"sex": "female"}))
    features.prepare(utterances, folder / "features", FRONTEND, progress=False)
    return folder / "features"


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The experiment's own config, but short and small."""
    verifiers.register(monkeypatch)
    bundles.save(tmp_path / "encoder", verifiers.verifier(speech_bias=50.0), "")
    config = copy.deepcopy(acoustic.CONFIG)
    config.init, config.vocoder, config.encoder = "", "", str(tmp_path / "encoder")
    config.network = acoustic.NetworkConfig(8, 4, 16, (1, 2))
    config.hold_out_texts, config.min_seconds, config.sentences = 0.3, 0.3, 1
    config.align_steps, config.optim.warmup_steps = 30, 1
    config.task.steps = 2
    config.train = dataclasses.replace(
        config.train, num_steps=4, eval_every=2, log_every=2, checkpoint_every=2
    )
    config.loader = dataclasses.replace(config.loader, batch_size=8, buckets=1)
    return config


def spell(monkeypatch):
    """Letters in place of phonemes: espeak-ng need not be there."""
    from lin_jax import espeak

    monkeypatch.setattr(espeak, "phonemes", lambda text, language: text)


def test_train_evaluate_and_ship(folder, config, tmp_path, monkeypatch):
    spell(monkeypatch)
    acoustic.train(config, folder, tmp_path / "run")
    report = json.loads((tmp_path / "run/train/report.json").read_text())
    assert report["pieces"] >= 20
    acoustic.evaluate(config, folder, tmp_path / "run")
    lines = (tmp_path / "run/evaluate/spoken.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["kind"] for row in rows} >= {"spoken-unseen", "original-unseen"}
    assert all((tmp_path / "run/evaluate" / row["file"]).is_file() for row in rows)
    acoustic.ship(config, folder, tmp_path / "run")
    bundle = lin_jax.load(tmp_path / "run/ship/synthesis")
    assert isinstance(bundle, FlowSynthesizer)
    speech = bundle.speak("ab ba. baba", bundle.names[0])
    assert [segment.text for segment in speech.segments] == ["ab ba.", "baba"]
    assert [word for word, *_ in speech.segments[0].words] == ["ab", "ba"]
    times = [time for segment in speech.segments for _, *span in segment.words for time in span]
    assert times == sorted(times)
    assert times[-1] <= speech.seconds
    slow = bundle.speak("ab ba. baba", bundle.names[0], speed=0.5)
    assert slow.seconds > 1.2 * speech.seconds
    with pytest.raises(ConfigError, match="speaks from text only"):
        bundle.convert_voice(np.ones(RATE, np.float32), sample_rate=RATE)


def test_what_cannot_be_learnt_from(folder, config, tmp_path, monkeypatch):
    spell(monkeypatch)
    config.learnt_voices = "nobody"
    experiment = acoustic.Experiment(config, folder)
    monkeypatch.setattr(experiment, "fit", lambda workdir: (None, None))
    monkeypatch.setattr(experiment, "voices", lambda workdir: None)
    with pytest.raises(ConfigError, match="nobody is called nobody"):
        experiment.bundle(tmp_path)
