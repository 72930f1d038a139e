"""Sounds without speech: every kind is generated, the same again for the same seed, and each is a
source of its own.
"""

import pytest

from data_pipelines import __main__ as command
from data_pipelines import corpora, features
from data_pipelines.corpora import noise
from lin_jax.audio import files
from lin_jax.errors import AudioError, CorpusError


def test_generated_sounds(tmp_path):
    noise.generate(tmp_path, 2 * len(noise.KINDS))
    clips = corpora.load("noise", tmp_path)
    assert len({clip.speaker for clip in clips}) == len(clips) == 2 * len(noise.KINDS)
    assert {clip.labels["sex"] for clip in clips} == {corpora.NO_SPEECH}
    assert {clip.path.stem.split("-")[0] for clip in clips} == set(noise.KINDS)
    for clip in clips:
        samples, rate = files.read(clip.path)
        files.check(samples, str(clip.path), min_samples=2 * rate)
        assert abs(samples).max() > 0.03
        assert abs(samples.mean()) < 0.1 * abs(samples).max(), "no offset"


def test_the_same_for_the_same_seed_and_left_alone_when_there(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        noise.generate(tmp_path / name, 3, seed)
    first, again, other = (
        [path.read_bytes() for path in files.find(tmp_path / name)] for name in ("a", "b", "c")
    )
    assert first == again
    assert first[0] != other[0]
    (path, *_) = files.find(tmp_path / "a")
    path.write_bytes(b"mine")
    noise.generate(tmp_path / "a", 4)
    assert path.read_bytes() == b"mine"
    assert len(files.find(tmp_path / "a")) == 4


def test_recordings_lie_in_folders_or_not(tmp_path):
    for name in ("wind.wav", "machines/drill.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [clip.id for clip in corpora.load("noise", tmp_path)] == ["machines/drill", "wind"]


def test_refusals(tmp_path):
    with pytest.raises(CorpusError, match="0 sounds to generate: give 1 or more"):
        noise.generate(tmp_path, 0)
    with pytest.raises(AudioError, match="no audio files"):
        corpora.load("noise", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="cannot write"):
        noise.generate(tmp_path / "file", 1)


def test_command(tmp_path, capsys):
    options = [
        "noise",
        "--audio-dir",
        str(tmp_path / "audio"),
        "--generate",
        "2",
        "--out",
        str(tmp_path / "out"),
    ]
    assert command.main(options) == 0
    assert capsys.readouterr().out.startswith("2 clips")
    assert features.open_features(tmp_path / "out").labels("sex")[1] == ("no speech",)
