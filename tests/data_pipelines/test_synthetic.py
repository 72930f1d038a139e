"""The synthetic corpus: the same on every run, with the sexes and styles that it claims."""

import numpy as np
import pytest

from data_pipelines import corpora
from data_pipelines.corpora import synthetic
from lin_jax.audio import files
from lin_jax.errors import CorpusError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pytest.importorskip("espeakng_loader")
    folder = tmp_path_factory.mktemp("synthetic")
    synthetic.generate(folder, speakers=3, clips=2, seed=5)
    return folder


def test_speakers_styles_and_text(folder):
    utterances = corpora.load("synthetic", folder)
    assert len(utterances) == 3 * 2 * len(synthetic.STYLES)
    assert {u.speaker: u.labels["sex"] for u in utterances} == {
        "00_en-us_f1": "female",
        "01_en-us_m1": "male",
        "02_en-us_f2": "female",
    }
    assert {u.text for u in utterances} == set(synthetic.OPENING[:2])
    loudness = {}
    for utterance in utterances:
        samples, rate = files.read(utterance.path)
        assert 0.8 < len(samples) / rate < 8
        loudness.setdefault(utterance.labels["style"], []).append(samples.std())
    assert min(loudness["angry"]) > max(loudness["sad"])


def test_the_same_on_every_run(folder, tmp_path):
    synthetic.generate(tmp_path, speakers=3, clips=2, seed=5)
    for path in sorted(folder.rglob("*.*")):
        assert path.read_bytes() == (tmp_path / path.relative_to(folder)).read_bytes(), path


def test_left_alone_when_there_and_refused_when_other(folder):
    before = (folder / "table.csv").stat().st_mtime_ns
    synthetic.generate(folder, speakers=3, clips=2, seed=5)
    assert (folder / "table.csv").stat().st_mtime_ns == before
    with pytest.raises(CorpusError, match="choose another folder"):
        synthetic.generate(folder, speakers=3, clips=2, seed=6)


def test_arguments_and_installation_are_checked(tmp_path, monkeypatch):
    with pytest.raises(CorpusError, match="choose 1 to 72 speakers, or random voices"):
        synthetic.generate(tmp_path, speakers=73)
    with pytest.raises(CorpusError, match="choose from calm"):
        synthetic.generate(tmp_path, styles=["bored"])
    with pytest.raises(CorpusError, match="choose en or ru"):
        synthetic.generate(tmp_path, language="xx")
    monkeypatch.setattr(synthetic.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CorpusError, match=r"pip install 'lin_jax\[tts\]'"):
        synthetic.generate(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_groups_of_voices_speak_the_same_sentences(tmp_path):
    """Two voices a sentence; the texts given come first, and made ones follow without a
    repetition.
    """
    pytest.importorskip("espeakng_loader")
    given = ["Привет, мир!", "Добрый вечер."]
    synthetic.generate(
        tmp_path,
        speakers=3,
        clips=2,
        styles=["calm"],
        voices_per_sentence=2,
        language="ru",
        texts=given,
    )
    sentences = {}
    for utterance in corpora.load("synthetic", tmp_path):
        sentences.setdefault(utterance.speaker, []).append(utterance.text)
    first, second, third = sentences.values()
    assert first == second == given
    assert len({*first, *third}) == 4
    assert all(files.read(u.path)[0].std() > 0.005 for u in corpora.load("synthetic", tmp_path))


def test_voices_are_drawn(tmp_path):
    """Each another one, none of those that espeak-ng has, and the same on every run."""
    pytest.importorskip("espeakng_loader")
    for run in ("a", "b"):
        synthetic.generate(tmp_path / run, speakers=3, clips=1, styles=["calm"], random_voices=True)
    first, again = (corpora.load("synthetic", tmp_path / run) for run in ("a", "b"))
    assert [u.labels["sex"] for u in first] == ["female", "male", "female"]
    assert [u.speaker for u in first] == ["00_en-us_drawn", "01_en-us_drawn", "02_en-us_drawn"]
    sounds = [u.path.read_bytes() for u in first]
    assert sounds == [u.path.read_bytes() for u in again]
    assert len(set(sounds)) == 3
    synthetic.generate(tmp_path / "known", speakers=3, clips=1, styles=["calm"])
    assert not set(sounds) & {
        u.path.read_bytes() for u in corpora.load("synthetic", tmp_path / "known")
    }
    with pytest.raises(CorpusError, match="choose another folder"):
        synthetic.generate(tmp_path / "a", speakers=3, clips=1, styles=["calm"])


def test_a_drawn_voice_is_a_variant_of_espeak():
    drawn = synthetic.draw(np.random.default_rng(0), "male").splitlines()
    assert drawn[0] == "language variant"
    assert "gender male" in drawn
    assert [line.split()[1] for line in drawn if line.startswith("formant")] == list("012345678")
    assert drawn != synthetic.draw(np.random.default_rng(1), "male").splitlines()
