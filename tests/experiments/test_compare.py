"""The comparison of synthesizers: what it compares, and references in noise; all else is tested apart."""

import json
import types

import numpy as np
import pytest
from helpers.recordings import speak

from data_pipelines.splits import Split
from experiments import compare, synthesis
from lin_jax import bundles
from lin_jax.audio import files
from lin_jax.evaluation import comparison
from lin_jax.evaluation.synthesis import Sentence


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """An experiment of one unseen sentence, and a repair bundle that halves."""
    speak(tmp_path / "a.wav", 120, 500, seconds=0.8)
    sentence = Sentence("Yes.", "s", "unseen", str(tmp_path / "a.wav"), (str(tmp_path / "a.wav"),))

    class Experiment:
        clips = types.SimpleNamespace(people=["set/t", "set/s", "set/s", "set/s"])
        usable = np.array([True, True, False, True])
        split = types.SimpleNamespace(test=np.array([0, 3]))

        def __init__(self, config, features, name):
            self.share = config.hold_out_texts
            sources = ("speech",) if name == "deaf" else ("text", "speech")
            self.given = types.SimpleNamespace(name=name, sources=sources)

        def test_set(self):
            if self.share == 0.5:  # by --hold-out-texts
                np.testing.assert_array_equal(self.split.test, [3])
            elif isinstance(self.split, Split):  # by --speakers
                np.testing.assert_array_equal(self.split.train, [0])
                np.testing.assert_array_equal(self.split.test, [1, 3])
            return [sentence]

        @property
        def profiles(self):
            return None

    monkeypatch.setattr(synthesis, "Experiment", Experiment)
    halving = types.SimpleNamespace(repair=lambda samples, rate: samples / 2)
    monkeypatch.setattr(bundles, "load", lambda name: halving)
    return sentence


def run(tmp_path, *more):
    return compare.main(["--features", "f", "--workdir", str(tmp_path / "out"), *more])


def test_references_in_noise_are_systems_of_their_own(stub, tmp_path, monkeypatch):
    compared = {}

    def collect(systems, profiles):
        compared.update(systems)
        spoken = bundles.Speech(np.zeros(800, np.float32), 8000, (), "a test")
        return {"one": {"q": {"value": 0.1}}}, {"one, 5 dB": [spoken], "mute": [None]}

    monkeypatch.setattr(comparison, "compare", collect)
    monkeypatch.setattr(comparison, "report", lambda *given: None)
    assert run(tmp_path, "--bundles", "a=runs/a,b", "--snr", "10", "--speakers", "s") == 0
    assert list(compared) == ["a", "b", "b, 10 dB", "b, 10 dB, repaired"]
    assert compared["a"][0].name == "runs/a"
    assert {bundle.sources for bundle, _ in compared.values()} == {("text",)}
    clean, noisy, repaired = (
        files.read(compared[name][1][0].references[0])[0]
        for name in ("b", "b, 10 dB", "b, 10 dB, repaired")
    )
    noise = noisy - clean
    assert 10 * np.log10(np.mean(clean**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.2)
    np.testing.assert_allclose(repaired, noisy / 2, atol=1e-4)
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert (results["sentences"], results["systems"]["one"]["q"]["value"]) == (1, 0.1)
    assert results["protocol"].startswith("1 sentences of s, provided that no bundle learnt from")
    (line,) = (tmp_path / "out/spoken.jsonl").read_text().splitlines()
    spoken = json.loads(line)
    assert spoken["file"] == "spoken/one-5-dB-000.flac"
    assert (tmp_path / "out" / spoken["file"]).exists()
    assert (spoken["text"], spoken["kind"], spoken["speaker"]) == ("Yes.", "one, 5 dB", "s")
    assert run(tmp_path, "--speakers", "s", "--hold-out-texts", "0.5") == 0


def test_who_does_not_read_is_refused(stub, tmp_path, capsys):
    assert run(tmp_path, "--bundles", "a,deaf") == 2
    assert "deaf: does not speak from text" in capsys.readouterr().err
    assert run(tmp_path, "--speakers", "s,nobody") == 2
    assert "nobody: no such speaker: check --speakers" in capsys.readouterr().err
