"""The conversion experiment on tones that the test spells: every mode, end to end."""

import copy
import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import spelt_corpus

import lin_jax
from data_pipelines import corpora, features
from experiments import conversion
from experiments.conversion import Experiment, TacotronConfig
from lin_jax import bundles
from lin_jax.errors import ConfigError
from lin_jax.metrics import transcription


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Every sixth recording has no text."""
    folder = tmp_path_factory.mktemp("spelt")
    made = [
        dataclasses.replace(u, text="" if i % 6 == 5 else u.text)
        for i, u in enumerate(spelt_corpus.utterances(folder))
    ]
    perturbed = corpora.speed_perturbed(made, (0.8,))
    features.prepare(perturbed, folder / "spelt", spelt_corpus.FRONTEND, progress=False)
    return folder / "spelt"


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The experiment's own config, but short and small."""
    spelt_corpus.spell(monkeypatch)
    config = copy.deepcopy(conversion.CONFIG)
    config.encoder = config.eval.encoder = spelt_corpus.encoder(tmp_path, monkeypatch)
    config.network = TacotronConfig(
        symbol_features=4,
        encoder_hidden=4,
        voice_features=2,
        decoder_hidden=8,
        prenet=(4, 4),
        postnet=(4,),
        dropout=0.0,
    )
    config.reductions, config.steps, config.anchor_voices = (2,), (2,), "spelt"
    config.speech = 1.0  # so that batches have one shape, and one program is compiled
    config.hold_out_texts, config.task.max_seconds = 0.4, 0.5
    config.eval = dataclasses.replace(config.eval, clips=1, seconds=1.0, examples=1)
    config.train = dataclasses.replace(config.train, eval_every=2, log_every=1)
    config.loader = dataclasses.replace(config.loader, batch_size=4, buckets=1)
    config.optim.warmup_steps = 1
    return config


def test_train_evaluate_and_ship(folder, config, tmp_path, monkeypatch):
    monkeypatch.setattr(transcription, "installed", lambda: True)
    monkeypatch.setattr(transcription, "name", lambda: "stub 1")
    monkeypatch.setattr(transcription, "recognise", lambda clips, rate, texts: ["x"] * len(clips))
    experiment = Experiment(config, folder)
    results = experiment.evaluate(tmp_path)
    lines = (tmp_path / "train/reduction_2/metrics.jsonl").read_text().splitlines()
    names = set().union(*map(json.loads, lines))
    assert {"train/loss", "train/guided", "eval/mel", "eval/stop_failures"} <= names
    assert results["tools"]["word_error"] == "stub 1, expecting any English"
    systems = results["voices"]["unseen"]["systems"]
    assert set(systems) == {"generated", "converted", "vocoded", "original"}
    assert systems["generated"]["word_error"]["value"] == 1, "every word is another one"
    assert systems["converted"]["problems"]["value"] in (0, 1)
    assert "mcd" not in systems["converted"]

    experiment.ship(tmp_path)
    path = tmp_path / "ship/conversion"
    assert (
        "| unseen voices, from a recording by somebody else | " in (path / "README.md").read_text()
    )
    bundle = lin_jax.load(path)
    assert set(bundle.names) == set(experiment.speakers[experiment.clips.speeds == 1]) - set(
        experiment.speakers[experiment.split.test]
    ) | set(bundle.anchor_voices)
    assert bundle.anchor_voices
    assert bundle.ltas.shape == bundle.ltas_corrections.shape == (len(bundle.names), 16)
    assert bundle.table == experiment.table

    twice = dataclasses.replace(bundle, variables=jax.tree.map(lambda x: 2 * x, bundle.variables))
    bundles.save(tmp_path / "twice", twice, "")
    config.init = f"{path},{tmp_path / 'twice'},{path}"
    again = Experiment(config, folder)
    assert again.stages == [(2, 2)]
    for leaf, first in zip(
        jax.tree.leaves(again.start.variables), jax.tree.leaves(bundle.variables), strict=True
    ):
        np.testing.assert_allclose(leaf, first * 4 / 3, rtol=1e-2, atol=1e-6)
    config.init, config.speech, config.fresh_postnet = str(path), 0.0, True
    batch = {"symbols": jnp.array([[1, 2, 1]]), "num_symbols": jnp.array([3])}
    batch["voice"] = jnp.asarray(bundle.voices[:1])
    made = []
    for widths in ((), (6, 4)):
        config.network.postnet = widths
        alone = Experiment(config, folder)
        start, (stage,) = alone.start, alone.stages
        assert (start.sources, stage) == (("text",), (2, 2))
        assert len(start.variables["params"].get("postnet_layers", {})) == 2 * len(widths)
        assert "speech_encoder" not in start.variables["params"]
        task = alone.make_task(bundle.voices.shape[1], 2, fresh=False)
        made.append(task.predict(start.variables, batch)["features"])
    np.testing.assert_array_equal(*made, "a fresh post-net changes nothing at first")
    assert np.abs(made[0]).max() > 0
    config.init, config.speech, config.fresh_postnet = f"{path},speaker", 1.0, False
    with pytest.raises(ConfigError, match="no synthesizer by attention; use conversion"):
        Experiment(config, folder)


def test_what_is_held_out(folder, config):
    """Texts and speakers, at whatever speed; nothing is tested by what is played at another one."""
    experiment = Experiment(config, folder)
    train, test = experiment.split.train, experiment.split.test
    assert not set(experiment.words[train]) & set(experiment.words[test])
    people = experiment.clips.people
    unseen = set(people[test]) - set(people[train])
    assert unseen
    assert (experiment.clips.speeds[train] == 0.8).any()
    assert (experiment.clips.speeds[test] == 1).all()
    assert (experiment.clips.speeds[experiment.split.validation] == 1).all()
    silent = np.flatnonzero(experiment.texts == "")
    assert set(silent) & set(train)
    assert not set(silent) & set(test)
    config.speech = 0.0
    alone = Experiment(config, folder)
    assert not set(silent) & set(alone.split.train)
    assert {alone.problems[index] for index in silent} == {"no text"}


def test_what_cannot_be_trained(folder, config):
    config.anchor_voices = "here"
    with pytest.raises(ConfigError, match="no corpus is named here"):
        Experiment(config, folder)
    config.init = "synthesis"
    with pytest.raises(ConfigError, match="synthesis: no synthesizer by attention; use conversion"):
        Experiment(config, folder)
    config.init = ""
    config.min_anchor_similarity = 1.2
    with pytest.raises(ConfigError, match="a cosine; choose 0 to 1"):
        Experiment(config, folder)
    config.steps = (1, 1)
    with pytest.raises(ConfigError, match="give as many of each"):
        Experiment(config, folder)
