"""One command for a voice of one's own: what it reads, what it asks of the experiment, what it refuses."""

import numpy as np
import pytest
from helpers import spelt_corpus

from experiments import clone, synthesis
from lin_jax import bundles
from lin_jax.audio import files
from lin_jax.errors import CorpusError


@pytest.fixture
def clips(tmp_path):
    """Two recordings with their texts beside them."""
    folder = tmp_path / "clips"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("ab", "ba"):
        samples = spelt_corpus.say(name, rng).astype(np.float32)
        files.write(folder / f"{name}.wav", samples, spelt_corpus.RATE)
        (folder / f"{name}.txt").write_text(f"{name}\n {name}", encoding="utf-8-sig")
    return folder


def test_texts_beside_recordings_or_in_a_table(clips, tmp_path):
    rows = clone.read_utterances("anna", clips)
    assert [(row.id, row.speaker, row.text) for row in rows] == [
        ("ab", "anna", "ab ab"),
        ("ba", "anna", "ba ba"),
    ]
    (clips / "ba.txt").unlink()
    with pytest.raises(CorpusError, match=r"ba\.wav: no ba\.txt beside it: .* lin voice save"):
        clone.read_utterances("anna", clips)
    (tmp_path / "texts.csv").write_text("path,speaker,text,sex\nba.wav,x,bab,female\n")
    (row,) = clone.read_utterances("anna", clips, tmp_path / "texts.csv")
    assert (row.speaker, row.text, row.path) == ("anna", "bab", clips / "ba.wav")


def test_prepares_and_asks_the_experiment(clips, tmp_path, monkeypatch, capsys):
    """The fine-tuned preset, with the commas of the texts, measured before and after."""
    asked = []

    def results(similarity):
        generated = {"similarity": {"value": similarity}, "pitch": {"value": 0.125}}
        systems = {"generated": generated, "original": {"similarity": {"value": 0.75}}}
        return {"voices": {"seen": {"clips": 2, "systems": systems}}}

    def evaluate(*inputs):
        assert inputs == ("what ships", ["a sentence"], "profiles")
        return results(0.25), {}

    class Experiment(synthesis.Experiment):
        def __init__(self, config, folder):
            self.config, self.corpora = config, np.array(["clips", "clips"])
            self.start = "what ships"
            asked.append((folder / "rows.jsonl").exists())

        def evaluate(self, workdir):
            asked.append("evaluate")
            print("what every experiment prints")
            return results(0.5)

        def test_set(self):
            return ["a sentence"]

        @property
        def profiles(self):
            return "profiles"

        def ship(self, workdir):
            settings = self.config
            asked.append((settings.init, settings.train.num_steps, settings.punctuated))
            assert settings.optim.warmup_steps < settings.train.num_steps
            return workdir / "ship"

    class Bundle:
        frontend = spelt_corpus.FRONTEND

    monkeypatch.setattr(synthesis, "Experiment", Experiment)
    monkeypatch.setattr(bundles, "load", lambda name: Bundle)
    monkeypatch.setattr(clone.evaluation, "evaluate", evaluate)
    command = ["anna", str(clips), "--out", str(tmp_path / "out"), "--steps", "7"]
    assert clone.main(command) == 2
    assert "add --i-may-use-this-voice" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert clone.main([*command, "--i-may-use-this-voice"]) == 0
    assert asked == [True, "evaluate", ("synthesis", 7, "clips")]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        "on 2 sentences that were not learnt:",
        "                                 before      after   recorded  better is",
        "speaker similarity                 0.25       0.50       0.75     higher",
        "log-F0 RMSE                        0.12       0.12                 lower",
    ]
    assert lines[4].endswith("out/evaluate/report.html")
    assert str(tmp_path / "out/ship") in lines[5]
