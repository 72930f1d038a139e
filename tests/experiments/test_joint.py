"""The joint experiment on hums in hisses, by parts so simple that they learn at once: every mode, end to end."""

import copy
import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import soundfile
from helpers import repairers, spelt_corpus, synthesizers, verifiers

import lin_jax
from data_pipelines import features
from data_pipelines.corpora import Utterance
from experiments import joint, synthesis
from experiments.joint import EvalConfig, Experiment
from lin_jax import bundles
from lin_jax.bundles.flow_synthesizer import FlowSynthesizer
from lin_jax.errors import ConfigError
from lin_jax.models.acoustic import AcousticModel
from lin_jax.tasks.acoustic import AcousticSynthesis

RATE, M = verifiers.RATE, synthesizers.M
TABLE = dataclasses.replace(synthesizers.TABLE, symbols=(*synthesizers.TABLE.symbols, ","))
NETWORK = AcousticModel(M, len(TABLE), 8, 8, 4, 16, 12, (1,), content_dilations=())


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A folder with a synthesizer that names an encoder and a repairer there, and with corpora."""
    folder = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        for helper in (repairers, synthesizers):
            helper.register(patch)
        encoder = verifiers.verifier(speech_bias=50.0)
        bundles.save(folder / "encoder", encoder, "")
        bundles.save(folder / "repairer", repairers.repairer(repairers.Gate()), "")
        base = synthesizers.synthesizer(folder / "encoder", sources=("text",))
        task = AcousticSynthesis(NETWORK, base.frontend, base.mean, base.std, 64)
        bundle = FlowSynthesizer(
            "speaks",
            NETWORK,
            base.frontend,
            jax.tree.map(np.array, jax.jit(task.init)(jax.random.key(0))),
            *(base.mean, base.std, base.voices, base.names, base.sexes, TABLE),
            encoder=base.encoder,
            encoder_fingerprint=encoder.fingerprint,
            repairer=str(folder / "repairer"),
        )
        bundles.save(folder / "speaks", bundle, "")
    for name, people in (("voices", 6), ("noises", 6)):
        utterances = []
        for number in range(2 * people):
            sound = verifiers.voice(number // 2 % 3, 1.5, number)
            sound = verifiers.noise(1.0, number) if name == "noises" else sound
            path = folder / f"{name}{number:02d}.wav"
            soundfile.write(path, sound, RATE)
            utterances.append(Utterance(path.stem, path, f"s{number // 2}"))
        features.prepare(
            utterances, folder / name, encoder.frontend, store="waveform", progress=False
        )
    return folder


@pytest.fixture
def config(parts, monkeypatch):
    """The experiment's own config, but short."""
    for helper in (repairers, synthesizers):
        helper.register(monkeypatch)
    config = copy.deepcopy(joint.CONFIG)
    config.init, config.noise = str(parts / "speaks"), str(parts / "noises")
    config.test_speakers, config.validation_speakers = "s4,s5", "s3"
    config.eval, config.eval_batches, config.optim.warmup_steps = EvalConfig(2, 1.0), 1, 0
    config.train = dataclasses.replace(config.train, num_steps=4, eval_every=2, log_every=2)
    config.loader = dataclasses.replace(config.loader, batch_size=2, crop_seconds=0.6)
    return config


def test_train_evaluate_and_ship(parts, config, tmp_path, capsys):
    experiment = Experiment(config, parts / "voices")
    sides = [set(experiment.speakers[side]) for side in dataclasses.astuple(experiment.split)[1:]]
    assert sides == [{"s0", "s1", "s2"}, {"s3"}, {"s4", "s5"}]
    assert (len(experiment.noises.train), len(experiment.noises.test)) == (10, 2)
    results = experiment.evaluate(tmp_path)
    assert results == json.loads((tmp_path / "evaluate/results.json").read_text())
    assert results["speakers"] == ["s4", "s5"]
    rows = results["conditions"]
    assert list(rows) == ["0 dB", "5 dB", "10 dB", "in noise", "clean"]
    assert set(rows["0 dB"]) == {"noisy", "in series", "joint"}
    assert rows["0 dB"]["noisy"]["value"] < rows["10 dB"]["noisy"]["value"] < 1
    assert rows["clean"]["noisy"]["value"] == pytest.approx(1.0, abs=1e-5)
    assert rows["0 dB"]["joint"] != rows["0 dB"]["in series"]
    assert "in noise: cosine with the clean profile noisy " in capsys.readouterr().out

    folder = experiment.ship(tmp_path)
    assert str(tmp_path) not in (folder / "bundle.json").read_text()
    shutil.rmtree(tmp_path / "parts")
    folder = folder.rename(tmp_path / "moved")
    bundle = lin_jax.load(folder)
    assert bundle.name == "joint"
    assert (bundle.encoder, bundle.repairer) == (str(folder / "encoder"), str(folder / "repairer"))
    assert "| in noise | " in (folder / "README.md").read_text()
    noisy = verifiers.voice(0) + verifiers.noise()
    profile = bundle.clone_voice(noisy, RATE, repair=True).embedding
    trained, _ = experiment.bundle(tmp_path)
    (expected,) = trained.encoder.embed_all([trained.repairer.repair(noisy, RATE)], RATE)
    np.testing.assert_allclose(profile, expected.embedding, atol=1e-3)
    started = experiment.start.synthesizer.clone_voice(noisy, RATE, repair=True).embedding
    assert np.abs(profile - started).max() > 1e-4

    again = Experiment(config, parts / "voices", str(folder))
    assert again.bundle(tmp_path / "again")[1]["bundle"] == "joint", "nothing is trained"


def test_what_is_frozen_is_not_written(parts, config, tmp_path):
    start = Experiment(config, parts / "voices").start
    changed = start.trained({"repair": {"params": {"floor": np.float32(2.0)}}})
    bundle = changed.save(tmp_path, start, "joint", [])
    assert bundle.encoder == start.synthesizer.encoder
    assert bundle.repairer == str(tmp_path / "repair")
    assert [path.name for path in tmp_path.iterdir()] == ["repair"]
    assert bundles.load(bundle.repairer).variables["params"]["floor"] == 2.0


def test_with_texts_all_parts_learn(parts, config, tmp_path, monkeypatch):
    """What is said in the voice of a reference is taken from other recordings of its speaker."""
    spelt_corpus.spell(monkeypatch)
    monkeypatch.setattr(synthesis.CONFIG, "min_seconds", 0.3)
    monkeypatch.setattr(synthesis.CONFIG, "align_steps", 2)
    monkeypatch.setattr(synthesis.Experiment, "voices", lambda self, workdir: np.ones((30, 64)))
    texts = spelt_corpus.prepare(tmp_path)
    config.texts, config.train.num_steps, config.validation_speakers = str(texts), 2, ""
    config.task = dataclasses.replace(config.task, freeze="", acoustic_weight=0.5)
    experiment = Experiment(config, parts / "voices")
    task, result = experiment.fit(tmp_path / "train")
    trained = experiment.make_bundle(task, result)
    for name in ("repairer", "encoder", "synthesizer"):
        before, after = (getattr(each, name).variables for each in (experiment.start, trained))
        assert not jax.tree.all(jax.tree.map(np.array_equal, before, after)), name
    assert np.isfinite(result.history[-1]["train/acoustic"])


def test_what_cannot_work(parts, config, monkeypatch):
    config.task.acoustic_weight = 1.0
    with pytest.raises(ConfigError, match="belong together"):
        Experiment(config, parts / "voices")
    config.task.acoustic_weight, config.eval.side = 0.0, "train"
    with pytest.raises(ConfigError, match=r"eval\.side train: nobody is on it"):
        Experiment(config, parts / "voices").test_set()
    config.eval = EvalConfig(2, 60.0)
    with pytest.raises(ConfigError, match=r"lower eval\.seconds"):
        Experiment(config, parts / "voices").test_set()
    config.noise = ""
    with pytest.raises(ConfigError, match="no noises to evaluate in"):
        Experiment(config, parts / "voices").test_set()
    config.test_speakers = "s4,s9"
    with pytest.raises(ConfigError, match="s9: no such speaker"):
        Experiment(config, parts / "voices")
    with pytest.raises(ConfigError, match="mended: no synthesizer by durations"):
        joint.Parts.of(repairers.repairer())
    fused = verifiers.verifier(fused=verifiers.verifier())
    monkeypatch.setattr(bundles, "load", lambda name: fused)
    with pytest.raises(ConfigError, match="fused with another"):
        joint.Parts.of(FlowSynthesizer("a", None, None, {}, *[None] * 6, encoder="fused"))
