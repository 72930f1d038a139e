"""The vocoder experiment on buzzes that the test makes: every mode, end to end."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import soundfile

import lin_jax
from data_pipelines import features
from data_pipelines.corpora import Utterance
from experiments import vocoder
from experiments.vocoder import EvalConfig, Experiment, NetworkConfig
from lin_jax.audio.frontend import FrontendConfig, extract
from lin_jax.errors import ConfigError, FeatureError
from lin_jax.metrics import audio as audio_metrics
from lin_jax.tasks.waveform_vocoding import WaveformVocoding

RATE = 16000
FRONTEND = FrontendConfig(
    n_mels=24, n_fft=512, win_length=512, hop_length=128, trim_db=None, level="rms", level_db=-25.0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten speakers of two clips."""
    folder = tmp_path_factory.mktemp("voices")
    rng, utterances = np.random.default_rng(0), []
    for i in range(20):
        t = np.arange(RATE) / RATE
        harmonics = rng.uniform(90, 220) * np.arange(1, 20)
        sound = np.sin(2 * np.pi * harmonics[:, None] * t + rng.uniform(0, 6, (19, 1))).sum(axis=0)
        path = folder / f"clip{i:02d}.wav"
        soundfile.write(
            path,
            0.02 * sound * np.sin(2 * np.pi * 3 * t) ** 2 + 1e-4 * rng.standard_normal(RATE),
            RATE,
        )
        utterances.append(Utterance(path.stem, path, f"s{i // 2}"))
    for store in ("waveform", "features"):
        features.prepare(utterances, folder / store, FRONTEND, store=store, progress=False)
    return folder


@pytest.fixture
def config():
    """The experiment's own config, but short, with a small network."""
    config = copy.deepcopy(vocoder.CONFIG)
    config.network = NetworkConfig(width=8, dilations=(1, 2))
    config.hold_out, config.validation, config.eval = 2, 1, EvalConfig(3, 1.0)
    config.task.iterations, config.eval_batches, config.optim.warmup_steps = 4, 1, 1
    config.train = dataclasses.replace(config.train, num_steps=4, eval_every=2, log_every=2)
    config.loader = dataclasses.replace(config.loader, batch_size=4, crop_seconds=0.5)
    return config


def test_train_evaluate_and_ship(folder, config, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(audio_metrics.PACKAGES, "pesq", "a_package_that_is_not_there")
    config.task.adversarial_weight = 0.1
    with pytest.raises(ConfigError, match="--mode=evaluate first"):
        Experiment(config, folder / "waveform").ship(tmp_path)
    experiment = Experiment(config, folder / "waveform")
    experiment.evaluate(tmp_path)
    history = [
        json.loads(line) for line in (tmp_path / "train/metrics.jsonl").read_text().splitlines()
    ]
    assert {"train/loss", "train/judged", "train/fooled", "eval/distance"} <= set().union(*history)
    results = json.loads((tmp_path / "evaluate/results.json").read_text())
    assert (results["clips"], results["speakers"], results["train_speakers"]) == (3, 2, 7)
    systems = results["systems"]
    assert systems["magnitudes"]["lsd"] < systems["griffin_lim"]["lsd"]
    assert systems["vocoder"]["lsd"] < 2 * systems["griffin_lim"]["lsd"]
    assert "pesq" not in systems["vocoder"]
    low, high = results["intervals"]["vocoder"]["lsd"]
    assert low <= systems["vocoder"]["lsd"] <= high
    assert "Griffin-Lim, of mel frames: " in capsys.readouterr().out
    for name in (
        "report.html",
        "lsd.png",
        "examples/waveform-0-vocoder.flac",
        "examples/waveform-0-original.png",
    ):
        assert (tmp_path / "evaluate" / name).exists()

    experiment.ship(tmp_path)
    bundle = lin_jax.load(tmp_path / "ship/vocoder")
    assert (bundle.task, bundle.iterations) == ("vocoding", 4)
    samples, _ = soundfile.read(folder / "clip00.wav", dtype="float32")
    frames, count = extract(bundle.frontend, samples[None])
    waveform, length = bundle.vocode(bundle.constants, frames, count)
    assert length.tolist() == [RATE]
    assert np.std(waveform[0]) == pytest.approx(np.std(samples), rel=0.5)
    card = (tmp_path / "ship/vocoder/README.md").read_text()
    assert "| waveform | not stated | 7 |" in card
    assert "| vocoder, of mel frames | – | " in card
    made = soundfile.SoundFile(tmp_path / "evaluate/examples/waveform-0-vocoder.flac")
    assert "synthetic speech" in made.comment


def test_what_cannot_work(folder, config, tmp_path):
    with pytest.raises(
        FeatureError, match="holds the features store: prepare it with --store waveform"
    ):
        Experiment(config, folder / "features")
    config.network.name = "SpeakerEncoder"
    with pytest.raises(ConfigError, match="choose SpectrumDecoder or Vocos"):
        Experiment(config, folder / "waveform")
    config.network.name, config.eval.seconds = "Vocos", 60.0
    assert isinstance(Experiment(config, folder / "waveform").make_task(), WaveformVocoding)
    with pytest.raises(ConfigError, match=r"lower eval\.seconds"):
        Experiment(config, folder / "waveform").evaluate(tmp_path)
