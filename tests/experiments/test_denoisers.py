"""Repairers beside their peers: the same clips, measured in time, and peers in an environment of their own."""

import json
import sys
import types

import numpy as np
import pytest

from data_pipelines.corpora import Utterance
from experiments import _peers, denoisers
from lin_jax import bundles
from lin_jax.audio import files
from lin_jax.errors import ConfigError

RATE = denoisers.RATE


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two speakers with two clips each, a noise, and a bundle that answers 10 ms late."""
    rng = np.random.default_rng(0)
    for speaker in "ab":
        (tmp_path / "speech" / speaker).mkdir(parents=True)
        for clip in range(2):
            envelope = np.repeat(rng.uniform(0.05, 1, 20), RATE // 20)
            samples = 0.3 * envelope * rng.standard_normal(RATE).clip(-3, 3) / 3
            files.write(str(tmp_path / f"speech/{speaker}/{clip}.wav"), samples, RATE)
    (tmp_path / "noise").mkdir()
    files.write(str(tmp_path / "noise/n.wav"), rng.uniform(-0.3, 0.3, RATE), RATE)
    late = types.SimpleNamespace(repair=lambda x, rate: np.append(np.zeros(rate // 100), x))
    monkeypatch.setattr(bundles, "load", lambda name: late)
    monkeypatch.setattr(
        denoisers, "MEASURES", {"si_sdr": denoisers.MEASURES["si_sdr"]}
    )  # the others are slow to import
    return tmp_path


def run(folder, *more):
    given = ["--speech", str(folder / "speech"), "--noise", str(folder / "noise")]
    return denoisers.main([*given, "--workdir", str(folder / "out"), *more])


def test_a_late_answer_is_as_good_as_one_in_time(folders, capsys):
    assert run(folders) == 0
    results = json.loads((folders / "out/results.json").read_text())
    assert (results["speakers"], results["clips"], results["seconds"]) == (2, 4, 4.0)
    untouched, repaired = (results["systems"][name] for name in ("untouched", "repair"))
    assert untouched["si_sdr"]["value"] == pytest.approx(7.5, abs=0.3), "0, 5, 10 and 15 dB"
    assert repaired["si_sdr"]["value"] == pytest.approx(untouched["si_sdr"]["value"], abs=0.05)
    assert "real_time_factor" in repaired
    assert "real_time_factor" not in untouched
    assert "repair: SI-SDR, dB 7." in capsys.readouterr().out


def test_bundles_in_folders_of_one_name_do_not_overwrite_each_other(folders):
    assert run(folders, "--bundles", "a/repair,b/repair") == 0
    names = {path.name for path in (folders / "out").iterdir()}
    assert names == {"untouched", "a-repair", "b-repair", "results.json"}


def test_peers_are_rows(folders, monkeypatch):
    """A peer that gives back what it was given is as good as untouched, and is scored by DNSMOS."""

    def peer(python, script, given):
        assert python == "peers/python"
        if script == "dnsmos":
            return [{"ovrl": 2.0, "sig": 3.0, "bak": len(given["files"])} for _ in given["files"]]
        for source, target in given["files"]:
            files.write(target, files.read(source, RATE)[0], RATE)
        return [{"seconds": [0.5] * 4}]

    monkeypatch.setattr(_peers, "run", peer)
    assert run(folders, "--peer", "peers/python", "--clips", "3") == 0
    systems = json.loads((folders / "out/results.json").read_text())["systems"]
    assert list(systems) == ["untouched", "repair", "DeepFilterNet 3", "RNNoise"]
    assert systems["RNNoise"]["si_sdr"] == systems["untouched"]["si_sdr"]
    assert systems["RNNoise"]["real_time_factor"] == pytest.approx(2 / 3)
    assert systems["untouched"]["bak"]["value"] == 3


def test_words_that_a_recogniser_mishears(folders, monkeypatch):
    """Of a corpus with texts they are counted, at each ratio of speech to noise and in all."""
    texts = ["one two", "three four", "five", "six seven eight"]
    names = [f"speech/{speaker}/{clip}.wav" for speaker in "ab" for clip in range(2)]
    rows = [f"{name},{name[7]},{text}" for name, text in zip(names, texts, strict=True)]
    (folders / "table.csv").write_text("\n".join(["path,speaker,text", *rows]))

    def peer(python, script, given):
        if script == "denoise":
            return [{"seconds": [0.0]}]
        if script == "dnsmos":
            return [{"ovrl": 2.0} for _ in given["files"]]
        # One of two words, both, more than there are, and none.
        return [{"text": text} for text in ("One.", "three, four!", "6 9 6 9 6 9", "")]

    monkeypatch.setattr(_peers, "run", peer)
    monkeypatch.setattr(denoisers, "measure", lambda clean, paths: {})
    given = ["--speech", str(folders), "--corpus", "table", "--noise", str(folders / "noise")]
    assert denoisers.main([*given, "--peer", "python", "--workdir", str(folders / "out")]) == 0
    row = json.loads((folders / "out/results.json").read_text())["systems"]["untouched"]
    assert row["word_error"]["value"] == pytest.approx(5 / 8)
    by_ratio = [row[f"word_error_{ratio}_db"]["value"] for ratio in (0, 5, 10, 15)]
    assert by_ratio == [0.5, 0.0, 1.0, 1.0]


def test_words_of_a_clip_that_is_cut_do_not_count(folders, monkeypatch):
    monkeypatch.setattr(denoisers, "SECONDS", 0.5)
    paths = [folders / f"speech/{speaker}/0.wav" for speaker in "ab"]
    files.write(str(paths[0]), files.read(paths[0], RATE)[0][: RATE // 2], RATE)
    utterances = [Utterance(path.parent.name, path, path.parent.name, "one two") for path in paths]
    clips = denoisers.mix(utterances, str(folders / "noise"), 2)
    assert clips.texts == ["one two", ""]
    rows = denoisers.word_errors(clips, ["one", "three"])
    assert set(rows) == {"word_error", "word_error_0_db"}
    assert rows["word_error"]["value"] == 0.5


def test_what_cannot_be_compared(folders, capsys):
    assert run(folders, "--peer", "nowhere/python") == 2
    assert "nowhere/python: No such file or directory; name an interpreter" in (
        capsys.readouterr().err
    )
    with pytest.raises(ConfigError, match="that has what it needs as --peer"):
        _peers.run(sys.executable, "denoise", {"system": "none", "files": []})
    for path in (folders / "speech/b").iterdir():
        path.unlink()
    assert run(folders) == 2
    assert "speech of one speaker only: give a corpus of several" in capsys.readouterr().err
    assert run(folders, "--corpus", "ravdess") == 2
    assert "not a RAVDESS name" in capsys.readouterr().err
