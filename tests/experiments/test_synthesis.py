"""The synthesis experiment on tones that the test spells: every mode, end to end."""

import copy
import dataclasses
import json

import jax
import numpy as np
import pytest
from helpers import spelt_corpus

import lin_jax
from experiments import synthesis
from experiments.synthesis import AcousticModelConfig, Experiment
from lin_jax.bundles.flow_synthesizer import FlowSynthesizer
from lin_jax.errors import ConfigError
from lin_jax.metrics import transcription


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return spelt_corpus.prepare(tmp_path_factory.mktemp("spelt"))


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The experiment's own config, but short and small."""
    spelt_corpus.spell(monkeypatch)
    config = copy.deepcopy(synthesis.CONFIG)
    config.init, config.vocoder = "", ""
    config.encoder = config.eval.encoder = spelt_corpus.encoder(tmp_path, monkeypatch)
    sizes = {"hidden": 8, "context": 4, "width": 16, "dilations": (1, 2)}
    content = {"content_width": 8, "content_dilations": (1, 2)}
    config.network = AcousticModelConfig(**sizes, **content)
    config.hold_out_texts, config.min_seconds, config.eval.clips = 0.4, 0.3, 2
    config.eval.seconds, config.eval.examples, config.align_steps = 1.0, 1, 6
    config.optim.warmup_steps, config.task.steps = 1, 2
    config.train = dataclasses.replace(
        config.train, num_steps=4, eval_every=2, log_every=2, checkpoint_every=2
    )
    config.loader = dataclasses.replace(config.loader, batch_size=8, buckets=1)
    return config


def all_in_the_mark(frames, sources):
    """A sentence whose frames are all of its mark but one of each other symbol."""
    (symbols,) = sources
    counts = np.ones(len(symbols), int)
    counts[-2] += len(frames) - len(symbols)
    return [counts]


@pytest.mark.filterwarnings("ignore:.*is silent at|.*sounds a second|.*holds a sound")
def test_train_evaluate_and_ship(folder, config, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(transcription, "installed", lambda: False)
    experiment = Experiment(config, folder)
    results = experiment.evaluate(tmp_path)
    report = json.loads((tmp_path / "train/report.json").read_text())
    assert report["pieces"] >= 15
    assert results == json.loads((tmp_path / "evaluate/results.json").read_text())
    assert (results["voices"]["seen"]["clips"], results["voices"]["unseen"]["clips"]) == (2, 2)
    systems = results["voices"]["unseen"]["systems"]
    assert set(systems) == {"generated", "converted", "vocoded", "original"}
    assert systems["original"]["similarity"]["value"] > 0.9
    assert 0 < systems["generated"]["duration"]["value"] < 20
    assert "unseen voices, generated: " in capsys.readouterr().out
    for name in ("report.html", "similarity.png", "examples/unseen-0-generated.flac"):
        assert (tmp_path / "evaluate" / name).exists()

    experiment.ship(tmp_path)
    card = (tmp_path / "ship/synthesis/README.md").read_text()
    assert "| unseen voices, from the text | " in card
    bundle = lin_jax.load(tmp_path / "ship/synthesis")
    assert isinstance(bundle, FlowSynthesizer)
    assert set(bundle.sexes) == {"female"}
    speech = bundle.speak("ab ba. baba", bundle.names[0])
    assert [segment.text for segment in speech.segments] == ["ab ba.", "baba"]
    assert [word for word, *_ in speech.segments[0].words] == ["ab", "ba"]
    times = [time for segment in speech.segments for _, *span in segment.words for time in span]
    assert times == sorted(times)
    assert times[-1] <= speech.seconds
    slow = bundle.speak("ab ba. baba", bundle.names[0], speed=0.5)
    assert slow.seconds > 1.2 * speech.seconds
    row = experiment.clips.rows[0]
    assert bundle.convert_voice(row["path"]).seconds == pytest.approx(row["seconds"], rel=0.2)

    config.init = str(tmp_path / "ship/synthesis")
    again = Experiment(config, folder)
    start = again.start_params(again.make_task(bundle.voices.shape[1]))
    np.testing.assert_array_equal(
        start["symbols"]["embedding"], bundle.variables["params"]["symbols"]["embedding"]
    )
    (tmp_path / "again").mkdir()
    for index, counts in again.align(tmp_path / "again").items():
        assert len(counts) == len(again.symbols[index]) + 1
        assert counts.sum() == round(again.clips.rows[index]["seconds"] / 0.016) + 1
    assert not (tmp_path / "again/aligner").exists()  # the bundle aligns by itself
    with monkeypatch.context() as patch:
        patch.setattr(again.start, "align", all_in_the_mark)
        for counts in again.align(tmp_path / "again").values():
            assert (counts[:-1] == 1).all()
            assert counts[-1] > 20  # the silence after the last word is the end's

    config.imitate = True
    textless = int(again.split.train[0])
    again.texts[textless] = ""
    assert not any(len(piece.symbols) for piece in again.cut(tmp_path / "again")[textless])
    config.shipped_voices = bundle.names[0]
    task, result = again.fit(tmp_path / "imitating")
    imitating = again.make_bundle(task, result)
    assert imitating.names == bundle.names != (bundle.names[0],)
    np.testing.assert_array_equal(imitating.voices, bundle.voices)
    for name, part in bundle.variables["params"].items():
        same = jax.tree.map(np.array_equal, part, imitating.variables["params"][name])
        assert all(jax.tree.leaves(same)) == (name != "content")


def test_what_cannot_be_trained(folder, config, tmp_path):
    config.imitate = True
    with pytest.raises(ConfigError, match="imitate: no init has no encoder of recordings"):
        Experiment(config, folder).fit(tmp_path)
    config.imitate = False
    config.shipped_voices = "nobody"
    with pytest.raises(ConfigError, match="nobody is called nobody"):
        Experiment(config, folder).make_bundle(None, None)
    config.max_clip_seconds = 0.1
    with pytest.raises(ConfigError, match=r"no clip is of use; the first: s0-0: .* more than 0\.1"):
        Experiment(config, folder)
    config.max_clip_seconds, config.hold_out_texts = 9.0, 0.0
    config.hold_out = 0
    with pytest.raises(ConfigError, match="raise hold_out_texts"):
        Experiment(config, folder).evaluate(tmp_path)
    config.extra = str(folder)
    with pytest.raises(ConfigError, match="synthesis holds out some of every set: use --features"):
        Experiment(config, folder)
