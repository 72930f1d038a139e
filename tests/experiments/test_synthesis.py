"""The synthesis experiment on a corpus of noise with texts: what is held out, a training of two steps, its judging."""

import copy
import dataclasses
import json
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from helpers.noise_corpus import FRONTEND, make_corpus

from data_pipelines import corpora, features
from experiments import _judgement, synthesis
from experiments._profiles import Profiles
from experiments._synthesis import EvalConfig, Experiment, NetworkConfig, Stages
from lin_jax import bundles
from lin_jax.bundles.verifier import SpeakerEmbedding
from lin_jax.errors import AudioError, ConfigError
from lin_jax.metrics import transcription
from lin_jax.text import SymbolTable


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    texts = ("one two", "two three", "one three", "three two one", "two one", "three one two")
    utterances = [
        dataclasses.replace(u, text=texts[i % 6])
        for i, u in enumerate(make_corpus(folder / "audio"))
    ]
    utterances[7] = dataclasses.replace(utterances[7], text=" ... ")
    features.prepare(utterances, folder / "set", FRONTEND, progress=False)
    return folder / "set"


@pytest.fixture
def config():
    config = copy.deepcopy(synthesis.CONFIG)
    config.network = NetworkConfig(4, 4, 2, 8, (4,), (4,), dropout=0.0)
    config.stages = Stages((2, 1), (2, 2))
    config.voices, config.form, config.speech = "table", "characters", 0.0
    config.hold_out_texts, config.task.max_seconds = 0.34, 0.2
    config.train = dataclasses.replace(config.train, eval_every=2, log_every=1)
    config.loader = dataclasses.replace(config.loader, batch_size=4, buckets=1)
    config.optim.warmup_steps = 1
    return config


def test_train(folder, config, tmp_path):
    config.hold_out_texts = 0.5
    synthesis.train(config, folder, tmp_path)
    for stage in ("reduction_2", "reduction_1"):
        history = [
            json.loads(line)
            for line in (tmp_path / "train" / stage / "metrics.jsonl").read_text().splitlines()
        ]
        names = set().union(*history)
        assert {
            "train/loss",
            "train/guided",
            "eval/mel",
            "eval/diagonal_rate",
            "eval/stop_failures",
        } <= names
        assert (tmp_path / "train" / stage / "curves.png").exists()
    problems = json.loads((tmp_path / "train/problems.json").read_text())
    assert "nothing to say" in problems["clip07"]
    table = SymbolTable.from_dict(json.loads((tmp_path / "train/symbols.json").read_text()))
    assert table == Experiment(config, folder).table


def test_texts_and_voices_are_held_out(folder, config):
    config.voices, config.hold_out_texts = "voice", 0.67
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
    with pytest.raises(
        ConfigError, match=r"no clip is of use; the first: clip00: .* more than 0\.1"
    ):
        Experiment(config, folder)


def test_recordings_at_other_speeds_are_learnt_from_only(config, tmp_path, monkeypatch):
    """They are held out with their speaker, heard as they are played, and nothing is judged by them."""
    texts = ("one two", "two three", "one three", "three two one")
    clips = [
        dataclasses.replace(u, text=texts[i // 5 % 4])
        for i, u in enumerate(make_corpus(tmp_path / "audio"))
    ]
    features.prepare(
        corpora.speed_perturbed(clips, (0.8,)), tmp_path / "set", FRONTEND, progress=False
    )
    config.voices, config.hold_out_texts = "voice", 0.67
    experiment = Experiment(config, tmp_path / "set")
    slow = np.flatnonzero(experiment.speeds == 0.8)
    (unseen,) = set(experiment.speakers[experiment.test_unseen])
    learnt = set(experiment.speakers[np.intersect1d(slow, experiment.train)])
    assert learnt == {f"s{number}@0.8" for number in range(5)} - {f"{unseen}@0.8"}
    judged = (
        experiment.natural,
        experiment.validation,
        experiment.test_seen,
        experiment.test_unseen,
    )
    assert not np.isin(slow, np.concatenate(judged)).any()
    heard = []
    ear = types.SimpleNamespace(embed=lambda *sound: heard.append(sound) or np.ones(1))
    monkeypatch.setattr(bundles, "load", lambda name: ear)
    experiment.voices(tmp_path)
    assert heard[0] == (str(clips[0].path),)
    sound, rate = heard[int(slow[0])]
    assert len(sound) / rate == pytest.approx(0.3 / 0.8, rel=1e-3)


def test_recordings_without_texts_are_said_again_only(config, tmp_path):
    """They are learnt from, except in held-out voices; the same at another speed is said by somebody else."""
    texts = ("one two", "two three", "one three", "three two one", "")
    clips = make_corpus(tmp_path / "audio")
    clips = [
        dataclasses.replace(clip, text=texts[(i + i // 5) % 5]) for i, clip in enumerate(clips)
    ]
    features.prepare(
        corpora.speed_perturbed(clips, (0.8,)), tmp_path / "set", FRONTEND, progress=False
    )
    config.speech, config.voices, config.hold_out_texts = 0.5, "voice", 0.67
    experiment = Experiment(config, tmp_path / "set")
    silent = experiment.texts == ""
    (unseen,) = set(experiment.speakers[experiment.test_unseen])
    learnt = np.isin(np.arange(len(silent)), experiment.train)
    assert set(experiment.speakers[silent & ~learnt]) == {unseen, f"{unseen}@0.8"}
    assert not silent[
        np.concatenate([experiment.validation, experiment.test_seen, experiment.test_unseen])
    ].any()
    voices = np.arange(len(silent), dtype=np.float32)[:, None]
    stream, said = (
        experiment._loader(experiment.train, voices, config.loader, train=True, speech=0.5),
        set(),
    )
    for batch in (next(stream) for _ in range(30)):
        if silent[batch["index"][0]]:
            said |= set((batch["num_frames"] == batch["num_source_frames"]).tolist())
    stream.close()
    assert said == {True, False}
    config.speech = 0.0
    alone = Experiment(config, tmp_path / "set")
    assert not silent[alone.train].any()
    assert {alone.problems[index] for index in np.flatnonzero(silent)} == {
        "no text, and speech is 0"
    }


class Ear:
    """A speaker bundle that knows the speakers by the names of their files, and hears the last of them in samples."""

    task, fingerprint, embedding_size = "verification", "ear", 5

    def embed(self, path):
        return np.eye(5, dtype=np.float32)[int(path[-6:-4]) % 5]

    def embed_all(self, sources, sample_rate=None):
        for source in sources:
            if not isinstance(source, str) and len(source) > 3300:
                yield AudioError("no voice")
                continue
            yield SpeakerEmbedding(
                "", self.embed(source if isinstance(source, str) else "04.wav"), 1.0, 1.0, ""
            )


class Sound:
    """A vocoder bundle that makes a rising tone of whatever frames."""

    constants = ()

    def vocode(self, constants, features, num_frames):
        hop = FRONTEND.hop_length
        waveform = jnp.sin(jnp.arange(hop * (features.shape[1] - 1)) ** 1.5 / 500)
        return jnp.broadcast_to(0.1 * waveform, (len(features), len(waveform))), hop * (
            num_frames - 1
        )


FIT = Experiment.fit


def untrained(experiment, workdir):
    """What `Experiment.fit` returns, before any step."""
    workdir.mkdir(parents=True, exist_ok=True)
    task = experiment.make_task(experiment.voices(workdir), 1)
    return task, jax.jit(task.init)(jax.random.key(0)), 7


def test_evaluate(folder, config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Experiment, "fit", untrained)
    monkeypatch.setattr(bundles, "load", lambda name: Ear())
    monkeypatch.setattr(
        bundles, "load_vocoder", lambda name, frontend: Sound() if name == "sound" else None
    )
    monkeypatch.setattr(transcription, "installed", lambda: True)
    monkeypatch.setattr(transcription, "name", lambda: "stub 1")
    monkeypatch.setattr(
        transcription, "recognise", lambda clips, rate, texts: ["two four"] * len(clips)
    )
    config.voices, config.hold_out_texts, config.stages = "voice", 0.67, Stages((1,), (2,))
    config.speech, config.vocoder, config.anchor_voices = 0.5, "sound", folder.name
    config.judge = EvalConfig(
        clips=3, copies=2, heard_seconds=(0.0, 1.0), lengths=(1, 2), profile=9
    )
    config.judge.batch_size, config.judge.examples = 2, 1
    synthesis.evaluate(config, folder, tmp_path)
    results = json.loads((tmp_path / "evaluate/results.json").read_text())
    assert "sentences that nobody learnt from, voices: heard by voice" in results["protocol"]
    assert (
        results["tools"]["word_error"] == "stub 1, expecting words as in the texts of the corpora"
    )
    assert (results["step"], results["sides"]) == (7, ["seen", "unseen"])
    assert results["real_time_factor"] > 0
    experiment = Experiment(config, folder)
    speaker = dict(
        zip((row["id"] for row in experiment.clips.rows), experiment.speakers, strict=True)
    )
    rows = [
        json.loads(line) for line in (tmp_path / "evaluate/clips.jsonl").read_text().splitlines()
    ]
    assert results["protocol"].startswith(str(len({row["text"] for row in rows})))
    for side, indices in (("seen", experiment.test_seen), ("unseen", experiment.test_unseen)):
        found, ids = results[side], [experiment.clips.rows[i]["id"] for i in indices]
        own = [row for row in rows if row["id"] in ids]
        assert found["clips"] == len(own) == min(3, len(indices))
        true = [row["text"].split() for row in own]
        errors = sum(transcription.edit_distance(words, ["two", "four"]) for words in true)
        for system in ("generated", "revoiced", "copied", "griffin_lim", "original"):
            assert found[system]["word_error"] == pytest.approx(errors / sum(map(len, true)))
        assert (found["original"]["similarity"], found["original"]["strangers"]) == pytest.approx(
            (1, 0)
        )
        assert found["original"]["speaker_top1"] == 1
        heard = [speaker[row["id"]] == "s4" for row in own]
        assert found["generated"]["speaker_top1"] == pytest.approx(np.mean(heard))
        assert found["copied"]["speaker_top1"] == 0
        assert found["copied"]["missing"]["similarity"] == len(own)
        assert found["copied"]["duration"] == pytest.approx(1, abs=0.05)
        assert found["griffin_lim"]["quality"] < found["copied"]["quality"]
        for length, health in found["attention"].items():
            assert health["texts"] == found["clips"] // int(length)
            assert 0 <= health["diagonal"] <= 1
            assert health["words"] == sum(map(len, true)) or length != "1"
        assert 0 <= found["revoiced"]["stop_failures"] <= 1
    assert set(results["seen"]["attention"]) == {"1", "2"}
    for seconds, (name, copied) in zip((0.0, 1.0), results["copied"].items(), strict=True):
        references, _ = experiment.copies(seconds)
        assert name == f"{folder.name}, {'1 s' if seconds else 'a clip'}"
        assert (copied["clips"], copied["speakers"]) == (len(references), len(references) // 2)
        lengths = [sum(experiment.clips.rows[i]["seconds"] for i in own) for own in references]
        assert copied["heard_seconds"] == pytest.approx(np.mean(lengths))
        assert copied["original"]["speaker_top1"] == 1
        heard = [experiment.speakers[own[0]] == "s4" for own in references]
        assert copied["generated"]["speaker_top1"] == pytest.approx(np.mean(heard))
        assert 0 < copied["generated"]["word_error"] <= 2
    assert (
        "synthetic speech"
        in soundfile.SoundFile(tmp_path / "evaluate/examples/seen-0-copied.flac").comment
    )
    assert "seen voices: 3 clips of" in capsys.readouterr().out
    for name in (
        "report.html",
        "speaker_top1.png",
        "attention.png",
        "long-seen.png",
        "examples/seen-0-generated.png",
    ):
        assert (tmp_path / "evaluate" / name).exists()
    config.speech, config.vocoder, config.min_anchor_similarity = 0.0, "", 0.7
    ship_and_go_on(config, folder, tmp_path, monkeypatch)
    config.hold_out_texts = 0.0
    with pytest.raises(ConfigError, match="raise hold_out_texts"):
        synthesis.evaluate(config, folder, tmp_path)


def ship_and_go_on(config, folder, tmp_path, monkeypatch):
    """What was judged is shipped with its voices and figures, and another training starts from it."""
    synthesis.ship(config, folder, tmp_path)
    path, experiment = tmp_path / "ship/synthesis", Experiment(config, folder)
    card = (path / "README.md").read_text()
    assert "| seen voices | 3 of " in card
    assert re.search(rf"\| cloned: {folder.name}, a clip \| 0\.[56]\d* \| 2 of 1 \| ", card)
    assert "{" not in card
    talker = bundles.folder.load(path)
    assert list(talker.names) == sorted(set(experiment.speakers[experiment.train]))
    np.testing.assert_allclose(talker.voices[0], np.eye(5)[int(talker.names[0][-1])], atol=1e-3)
    assert talker.clear == talker.names
    assert talker.min_anchor_similarity == 0.7
    assert np.abs(talker.ltas_corrections).max() < 60 > talker.ltas.max() > -80
    assert (talker.table, talker.encoder, talker.encoder_fingerprint) == (
        experiment.table,
        "voice",
        "ear",
    )
    twice = dataclasses.replace(
        talker, variables=jax.tree.map(lambda leaf: 2 * leaf, talker.variables)
    )
    quick = dataclasses.replace(
        talker, frontend=dataclasses.replace(talker.frontend, hop_length=128)
    )
    known = {str(path): talker, "twice": twice, "quick": quick}
    monkeypatch.setattr(bundles, "load", lambda name: known.get(name) or Ear())
    more = dataclasses.replace(config, init=str(path), stages=Stages((4, 2), (9, 3)))
    again = Experiment(more, folder)
    assert again.stages == [(1, 3)]
    task = again.make_task(again.voices(tmp_path / "train"), 1, fresh=False)
    assert (task.model, again.table) == (talker.model, talker.table)
    assert jax.tree.map(np.shape, talker.variables["params"]) == jax.tree.map(
        np.shape, jax.eval_shape(task.init, jax.random.key(0))["params"]
    )
    mean = dataclasses.replace(more, init=f"{path},twice,{path}", stages=Stages((1,), (0,)))
    _, variables, step = FIT(Experiment(mean, folder), tmp_path / "train")
    assert step == 0
    for leaf, expected in zip(*map(jax.tree.leaves, (variables, talker.variables)), strict=True):
        np.testing.assert_allclose(leaf, expected * 4 / 3, rtol=1e-6)
    with pytest.raises(
        ConfigError, match="another network, or other frames, symbols or voices, than the first one"
    ):
        Experiment(dataclasses.replace(more, init=f"{path},quick"), folder)
    with pytest.raises(ConfigError, match="a verification bundle; give one of synthesis as init"):
        Experiment(dataclasses.replace(config, init="speaker"), folder)
    with pytest.raises(ConfigError, match="clear here: no corpus is named here; choose from set"):
        Experiment(dataclasses.replace(config, anchor_voices="here"), folder)
    with pytest.raises(ConfigError, match="a cosine; choose one from 0 to 1"):
        Experiment(dataclasses.replace(config, min_anchor_similarity=1.2), folder)
    with pytest.raises(ConfigError, match="says texts only: set speech to 0"):
        Experiment(dataclasses.replace(more, speech=0.5), folder)
    config.voices = "table"
    with pytest.raises(ConfigError, match="train with --config"):
        synthesis.ship(config, folder, tmp_path)


def test_voices_held_out_copy_what_nobody_learnt(folder, config):
    """Each says as many sentences, in its own clips by turns."""
    config.voices, config.hold_out_texts, config.judge.copies = "voice", 0.67, 3
    experiment = Experiment(config, folder)
    references, texts = experiment.copies(0)
    (speaker,) = set(experiment.speakers[np.concatenate(references)])
    own = np.setdiff1d(np.flatnonzero(experiment.speakers == speaker), list(experiment.problems))
    assert len(texts) == len(references) == len(set(texts)) == 3
    assert list(map(len, references)) == [1, 1, 1]
    assert len(set(np.concatenate(references))) == min(3, len(own))
    longer, same = experiment.copies(1)
    assert same.tolist() == texts.tolist()
    for heard, first in zip(longer, references, strict=True):
        lengths = [experiment.clips.rows[i]["seconds"] for i in heard]
        assert sum(lengths[:-1]) < 1 <= sum(lengths)
        assert heard[0] == first[0]
        assert len(set(heard)) == len(heard) > 1
    assert {len(heard) for heard in experiment.copies(60)[0]} == {len(own) - 1}
    assert not set(texts) & set(experiment.texts[experiment.train])
    assert speaker not in experiment.speakers[experiment.train]
    config.voices = "table"
    assert Experiment(config, folder).copies(0)[0] == []


def test_learnt_voices_are_heard_in_what_was_learnt(folder, config):
    """Others in another clip; whoever is not learnt from is not judged as one who is."""
    config.voices, config.hold_out_texts = "voice", 0.67
    experiment = Experiment(config, folder)
    index = np.concatenate([experiment.test_seen, experiment.test_unseen])
    for i, heard in zip(index, _judgement._references(experiment, index), strict=True):
        assert set(experiment.speakers[heard]) == {experiment.speakers[i]}
        assert i not in heard
        assert (
            len(heard) == 1 if i in experiment.test_unseen else set(heard) <= set(experiment.train)
        )
    lost = experiment.speakers[experiment.test_seen[0]]
    experiment.problems |= dict.fromkeys(
        np.intersect1d(experiment.train, np.flatnonzero(experiment.speakers == lost))
    )
    experiment._split()
    assert (
        lost
        not in experiment.speakers[np.concatenate([experiment.test_seen, experiment.validation])]
    )


def test_voices_heard_in_several_clips(folder, config, tmp_path, monkeypatch):
    """They are what the clips have in common."""
    monkeypatch.setattr(bundles, "load", lambda name: Ear())
    config.voices = "voice"
    experiment = Experiment(config, folder)
    task, variables, _ = untrained(experiment, tmp_path)
    one, other, both = (
        experiment.heard(tmp_path, task, variables, [np.array(clips)])
        for clips in ([0], [1], [1, 0])
    )
    for name in ("ltas", "ltas_correction"):
        np.testing.assert_allclose(both[name], (one[name] + other[name]) / 2, atol=1e-3)
    np.testing.assert_allclose(both["voice"], (one["voice"] + other["voice"]) / 2**0.5, atol=1e-6)


def test_kin_are_those_who_are_as_clear(folder, config, monkeypatch):
    """A voice that is nearer to a clear one than to its own speaker may be the nearest of its group."""
    config.voices = "voice"
    experiment = Experiment(config, folder)
    experiment.anchor_voices = np.flatnonzero(experiment.speakers == "s4")
    corpora = np.where(experiment.speakers == "s4", "clear", "people")
    kept = {name: getattr(experiment.clips, name) for name in ("rows", "frontend")}
    experiment.clips = types.SimpleNamespace(corpora=corpora, **kept)
    ear = Ear()
    ear.embed_all = lambda sources, rate: (
        SpeakerEmbedding("", ear.embed(one) if isinstance(one, str) else one, 1.0, 1.0, "")
        for one in sources
    )
    monkeypatch.setattr(bundles, "load", lambda name: ear)
    own = np.flatnonzero(experiment.speakers == "s1")[:1]
    between = np.array([0, 0.6, 0, 0, 0.8], np.float32)
    profiles = Profiles(experiment)
    found = profiles.compare({"between": [between]}, ["s1"], own[:, None])["between"]
    assert [
        found[name].item()
        for name in ("similarity", "speaker_top1", "speaker_top1_in_group", "strangers")
    ] == [
        pytest.approx(0.6),
        0,
        1,
        0,
    ]
    alone = profiles.compare({"between": [between]}, ["s4"], own[:, None])["between"]
    assert alone["speaker_top1"] == 1
    assert np.isnan(alone["speaker_top1_in_group"])


def test_speakers_and_sentences_take_turns(folder, config):
    experiment = Experiment(config, folder)
    chosen = _judgement._choose(experiment, experiment.train, 6)
    assert len(set(chosen)) == 6
    assert len(set(experiment.speakers[chosen[:5]])) == 5
    assert (
        len(set(experiment.texts[chosen[:4]])) == len(set(experiment.texts[experiment.train])) == 4
    )
    everything = _judgement._choose(experiment, experiment.train, 99)
    assert sorted(everything) == sorted(experiment.train)
