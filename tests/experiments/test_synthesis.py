"""The synthesis experiment on a corpus of noise with texts: what is held out, and a training of two steps."""

import copy
import dataclasses
import json

import numpy as np
import pytest
from noise_corpus import FRONTEND, make_corpus

from data_pipelines import features
from experiments import synthesis
from experiments._synthesis import Experiment, NetworkConfig, Stages
from lin_jax.errors import ConfigError
from lin_jax.text import SymbolTable


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    texts = ("one two", "two three", "one three", "three two one", "two one", "three one two")
    utterances = [dataclasses.replace(u, text=texts[i % 6]) for i, u in enumerate(make_corpus(folder / "audio"))]
    utterances[7] = dataclasses.replace(utterances[7], text=" ... ")
    features.prepare(utterances, folder / "set", FRONTEND, progress=False)
    return folder / "set"


@pytest.fixture
def config():
    config = copy.deepcopy(synthesis.CONFIG)
    config.network = NetworkConfig(4, 4, 2, 8, (4,), (4,), dropout=0.0)
    config.stages = Stages((2, 1), (2, 2))
    config.hold_out_texts, config.task.max_seconds = 0.34, 0.2
    config.train = dataclasses.replace(config.train, eval_every=2, log_every=1)
    config.loader = dataclasses.replace(config.loader, batch_size=4, buckets=1)
    config.optim.warmup_steps = 1
    return config


def test_train(folder, config, tmp_path):
    synthesis.train(config, folder, tmp_path)
    for stage in ("reduction_2", "reduction_1"):
        history = [json.loads(line) for line in (tmp_path / "train" / stage / "metrics.jsonl").read_text().splitlines()]
        names = set().union(*history)
        assert {"train/loss", "train/guided", "eval/mel", "eval/diagonality", "eval/stop_failures"} <= names
        assert (tmp_path / "train" / stage / "curves.png").exists()
    problems = json.loads((tmp_path / "train/problems.json").read_text())
    assert "nothing to say" in problems["clip07"]
    table = SymbolTable.from_dict(json.loads((tmp_path / "train/symbols.json").read_text()))
    assert table == Experiment(config, folder).table


def test_texts_and_voices_are_held_out(folder, config):
    config.voices, config.hold_out_texts = "speaker", 0.67
    experiment = Experiment(config, folder)
    sides = [experiment.train, experiment.validation, experiment.test_seen, experiment.test_unseen]
    texts = [set(experiment.texts[side]) for side in sides]
    assert all(texts)
    assert not texts[0] & (texts[1] | texts[2] | texts[3])
    assert not texts[1] & texts[2]
    unseen = set(experiment.speakers[experiment.test_unseen])
    assert unseen
    assert not unseen & set(experiment.speakers[np.concatenate(sides[:3])])
    config.longest_seconds = 0.1
    with pytest.raises(ConfigError, match=r"no clip is of use; the first: clip00: .* more than 0\.1"):
        Experiment(config, folder)
