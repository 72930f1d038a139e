"""The repair experiment on buzzes and noises that the test makes: every mode, end to end."""

import copy
import dataclasses
import json
import shutil
import types

import numpy as np
import pytest
import soundfile
from helpers.tiny import drawn

import lin_jax
from data_pipelines import features
from data_pipelines.corpora import Utterance
from experiments import _noises, repair
from experiments._networks import AutoencoderConfig
from experiments.repair import EvalConfig, Experiment
from lin_jax import bundles
from lin_jax.audio.degrade import DegradeConfig
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import AudioError, ConfigError
from lin_jax.models.autoencoder import MelAutoencoder

RATE = 16000
FRONTEND = FrontendConfig(n_mels=16, hop_length=256, trim_db=None, level="rms", level_db=-25.0)


def buzz(rng, seconds, hiss):
    """Syllables of a harmonic sound over a hiss."""
    t = np.arange(round(seconds * RATE)) / RATE
    harmonics = rng.uniform(90, 220) * np.arange(1, 20)
    voice = np.sin(2 * np.pi * harmonics[:, None] * t + rng.uniform(0, 6, (19, 1))).sum(axis=0)
    return 0.02 * voice * np.sin(2 * np.pi * 3 * t) ** 4 + hiss * rng.standard_normal(len(t))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten speakers of two clips, those of even number in a hiss; and six noises."""
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for name, count, clips in (("voices", 10, 2), ("noises", 6, 1)):
        utterances = []
        for i in range(count * clips):
            path = folder / f"{name}{i:02d}.wav"
            hiss = 3e-3 if i // clips % 2 == 0 else 1e-5
            sound = buzz(rng, 1.2, hiss) if name == "voices" else 0.1 * rng.standard_normal(RATE)
            soundfile.write(path, sound, RATE)
            utterances.append(Utterance(path.stem, path, f"{name}{i // clips}"))
        features.prepare(utterances, folder / name, FRONTEND, store="waveform", progress=False)
    return folder


@pytest.fixture
def config(folder):
    """The experiment's own config, but short, with a small network."""
    config = copy.deepcopy(repair.CONFIG)
    config.network = AutoencoderConfig(
        width=4, inner_width=4, inner=(1,), bottleneck=2, hidden=8, middle=(1,)
    )
    config.noise, config.hold_out, config.validation = str(folder / "noises"), 2, 1
    config.eval, config.eval_batches = EvalConfig(20, 1.0, 2, 0), 1
    config.optim.warmup_steps = 1
    config.degrade = DegradeConfig(noise_prob=1.0, kinds=(1, 0, 0, 0, 0, 0), clip_prob=0.5)
    config.train = dataclasses.replace(config.train, num_steps=4, eval_every=2, log_every=2)
    config.loader = dataclasses.replace(config.loader, batch_size=4, crop_seconds=0.6)
    return config


def test_train_evaluate_and_ship(folder, config, tmp_path, capsys):
    with pytest.raises(ConfigError, match="--mode=evaluate first"):
        Experiment(config, folder / "voices").ship(tmp_path)
    experiment = Experiment(config, folder / "voices")
    experiment.evaluate(tmp_path)
    history = [
        json.loads(line) for line in (tmp_path / "train/metrics.jsonl").read_text().splitlines()
    ]
    assert {
        "train/loss",
        "train/si_sdr",
        "eval/loss",
        "eval/si_sdr",
        "eval/si_sdr_gain",
    } <= set().union(*history)

    results = json.loads((tmp_path / "evaluate/results.json").read_text())
    assert results["protocol"].startswith("speaker-disjoint")
    assert (results["train_speakers"], results["train_noises"]) == (7, 5)
    assert len(results["speakers"]["voices"]) == 2
    assert len(results["noises"]) == 1
    rows = {(row["damage"], row["amount"]): row for row in results["conditions"]}
    assert len(rows) == 1 + 4 + 6 * 3
    assert rows["clean", ""]["clips"] == 4
    assert rows["room", "0.5"]["clips"] == 2
    for snr in (0, 5, 10, 15):
        assert rows["noise", f"{snr} dB"]["untouched"]["si_sdr"] == pytest.approx(snr, abs=0.5)
    assert rows["clean", ""]["untouched"]["si_sdr"] == 100
    low, high = results["noise"]["intervals"]["si_sdr"]
    assert low <= results["noise"]["repaired"]["si_sdr"] <= high
    worse = [rows["clipping", amount]["untouched"]["si_sdr"] for amount in ("0.2", "0.5", "0.8")]
    assert worse == sorted(worse, reverse=True)
    assert "noise 5 dB: SI-SDR, dB 5." in capsys.readouterr().out
    for name in (
        "report.html",
        "si_sdr.png",
        "examples/noise-5-dB-repaired.flac",
        "examples/room-0.5-clean.png",
    ):
        assert (tmp_path / "evaluate" / name).exists()

    bundle = lin_jax.load(experiment.ship(tmp_path))
    again = Experiment(config, folder / "voices", str(tmp_path / "ship/repair"))
    given, training = again.bundle(tmp_path / "again")
    assert given.name == training["bundle"] == "repair", "nothing is trained"
    with pytest.raises(ConfigError, match="omit --bundle"):
        again.ship(tmp_path)
    example = folder / "voices00.wav"
    samples, _ = soundfile.read(example, dtype="float32")
    assert np.abs(bundle.repair(samples, RATE) - samples).max() > 0
    card = (tmp_path / "ship/repair/README.md").read_text()
    assert "| voices | not stated | 7 |" in card
    assert "| noise, 10 dB | 10" in card

    on = dataclasses.replace(config, init=str(tmp_path / "ship/repair"))
    start = bundle.model.clone(shifts=1).apply(bundle.variables, samples[None])
    for middle in ((1,), (1, 4, 2)):
        on.network = dataclasses.replace(config.network, middle=middle)
        again = Experiment(on, folder / "voices")
        params = again.start_params(task := again.make_task())
        np.testing.assert_allclose(
            task.model.apply({"params": params}, samples[None]), start, atol=1e-5
        )
    on.network = dataclasses.replace(config.network, hidden=9)
    larger = Experiment(on, folder / "voices")
    with pytest.raises(ConfigError, match="repair: another network, or of another size"):
        larger.start_params(larger.make_task())


def test_a_causal_network_becomes_a_live_repairer(folder, config):
    config.network = dataclasses.replace(config.network, name="CausalEnhancer", hop_length=160)
    config.adaptive_mix = ()
    experiment = Experiment(config, folder / "voices")
    task = experiment.make_task()
    result = types.SimpleNamespace(variables=drawn(task.init))
    bundle = experiment.make_bundle(task, result)
    assert isinstance(bundle, bundles.LiveRepairer)
    assert (bundle.name, bundle.adaptive_mix) == ("repair_live", None)
    assert len(bundle.stream(RATE).push(np.zeros(480, np.float32))) == 320


def test_recorded_rooms(folder, config, tmp_path):
    """Those of a folder are learnt in; one without a sound is named."""
    config.rooms = str(tmp_path / "rooms")
    with pytest.raises(AudioError, match="rooms: no such folder"):
        Experiment(config, folder / "voices").make_task()
    (tmp_path / "rooms").mkdir()
    soundfile.write(
        tmp_path / "rooms/hall.wav", np.r_[np.zeros(9), 0.5, np.linspace(0.2, 0, 99)], 2 * RATE
    )
    rooms = Experiment(config, folder / "voices").make_task().rooms
    assert rooms.response.shape[0] == 1
    assert rooms.response[0, 0] == 1
    soundfile.write(tmp_path / "rooms/void.wav", np.zeros(99), RATE)
    with pytest.raises(ConfigError, match=r"void\.wav: silent"):
        Experiment(config, folder / "voices").make_task()


def test_what_is_drawn(folder, config):
    """Held-out speakers and noises are apart, and clear clips come more often."""
    config.clear_weight = 3
    experiment = Experiment(config, folder / "voices")
    sides = [set(experiment.speakers[side]) for side in dataclasses.astuple(experiment.split)[1:]]
    assert [len(side) for side in sides] == [7, 1, 2]
    assert sorted([*experiment.noises.train, *experiment.noises.test]) == list(range(6))
    drawn = experiment.drawn(np.arange(20))
    times = np.bincount(drawn)
    assert set(times[0::4]) == set(times[1::4]) == {2}, "1.2 s are two crops of 0.6 s"
    assert set(times[2::4]) == set(times[3::4]) == {6}


def test_sets_that_are_only_trained_on(folder, config, tmp_path, monkeypatch):
    """Nobody in them is held out, and nobody in them is whom the other sets hold out."""
    alone = Experiment(config, folder / "voices")
    shutil.copytree(folder / "voices", tmp_path / "more")
    config.extra, opened = str(tmp_path / "more"), []
    open_features = features.open_features

    def spy(folder, *given, **options):
        opened.append(str(folder))
        return open_features(folder, *given, **options)

    monkeypatch.setattr(features, "open_features", spy)
    joined = Experiment(config, folder / "voices")
    assert sum("voices" in each for each in opened) == 1
    for side in ("validation", "test"):
        np.testing.assert_array_equal(getattr(joined.split, side), getattr(alone.split, side))
    added = joined.split.train[len(alone.split.train) :]
    assert set(joined.speakers[added]) == {
        f"more/{name}" for name in alone.speakers[alone.split.train]
    }


def test_noises_of_several_sets(folder, config, tmp_path, monkeypatch):
    """Each holds some out, and is drawn from equally often, a long noise in pieces."""
    alone = Experiment(config, folder / "voices").noises
    hum = 0.1 * np.sin(np.arange(5 * RATE))
    soundfile.write(tmp_path / "hum.wav", hum, RATE)
    utterances = [Utterance("hum", tmp_path / "hum.wav", "hum")]
    features.prepare(utterances, tmp_path / "hums", FRONTEND, store="waveform", progress=False)
    config.noise += f",{tmp_path / 'hums'}"
    monkeypatch.setattr(_noises, "SECONDS", 2)
    several = Experiment(config, folder / "voices").noises
    held_out = [f"noises/{name}" for name in alone.names(alone.test)]
    assert several.names(several.test) == held_out
    seconds = sorted(len(noise) / RATE for noise in several.to_draw())
    assert seconds == pytest.approx(5 * [1] + 2 * 3 * [5 / 3], abs=1e-3)


def test_the_original_network_without_recorded_noises(folder, config, tmp_path):
    config.network.name, config.task.loss, config.noise = "MelAutoencoder", "mel", ""
    config.train.num_steps, config.degrade.kinds = 2, (0.5, 0.5, 0, 0, 0, 0)
    task, result = Experiment(config, folder / "voices").fit(tmp_path)
    assert isinstance(task.model, MelAutoencoder)
    assert np.isfinite(result.best["loss"])


def test_what_cannot_work(folder, config, tmp_path):
    config.hold_out = 0
    with pytest.raises(ConfigError, match="no test speakers"):
        Experiment(config, folder / "voices").evaluate(tmp_path)
    config.hold_out, config.eval.seconds = 2, 60.0
    with pytest.raises(ConfigError, match=r"lower eval\.seconds"):
        Experiment(config, folder / "voices").evaluate(tmp_path)
    config.network.name = "Deep"
    with pytest.raises(ConfigError, match="network Deep is unknown: choose one of"):
        Experiment(config, folder / "voices")
