"""Power cuts at every moment leave what was there or what is to be there, whole."""

import dataclasses
import pathlib

import numpy as np
import pytest
import soundfile
from helpers import repairers, verifiers
from helpers.power import cuts
from helpers.recordings import RATE, tone

from lin_jax import bundles, durable
from lin_jax.apps.gallery import Gallery
from lin_jax.audio import files
from lin_jax.bundles import SpeakerEmbedding, VoiceProfile, saved_voices
from lin_jax.errors import BundleError


@pytest.fixture
def folder(tmp_path):
    """A folder in which things are written, beside the copies of it."""
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def test_without_syncing_a_name_may_have_half_a_file_behind_it(folder, tmp_path):
    with cuts(folder, tmp_path / "copies") as copies:
        (folder / "part").write_text("whole")
        (folder / "part").rename(folder / "name")
    assert (copies[-1] / "name").read_text() == "wh"
    with cuts(folder, tmp_path / "others") as copies:
        (folder / "part").write_text("other")
        durable.replace(folder / "part", folder / "name")
    assert {(copy / "name").read_text() for copy in copies} == {"whole", "other"}


def test_a_folder_is_synced_with_all_that_is_in_it(folder, tmp_path):
    (folder / "part/inner").mkdir(parents=True)
    for name in ("a", "inner/b"):
        (folder / "part" / name).write_text("whole")
    with cuts(folder, tmp_path / "copies") as copies:
        durable.replace(folder / "part", folder / "name")
    named = [copy / "name" for copy in copies if (copy / "name").exists()]
    assert named
    for place in named:
        assert [(place / name).read_text() for name in ("a", "inner/b")] == ["whole", "whole"]


def outcomes(write, read, folder, tmp_path) -> list:
    """What is read before, after the first of two writings, and after power cuts in the second."""
    write(0)
    before = read(folder)
    with cuts(folder, tmp_path / "copies") as copies:
        write(1)
    after = read(folder)
    assert before != after
    results = [read(copy) for copy in copies]
    assert before in results
    assert after in results
    return [result for result in results if result not in (before, after)]


def test_a_recording_that_is_written(folder, tmp_path):
    def read(place):
        return files.read(place / "out.wav")[0].tobytes()

    def write(number):
        files.write(folder / "out.wav", tone(0.1 + number / 10), RATE)

    assert not outcomes(write, read, folder, tmp_path)


def test_a_repaired_recording(folder, tmp_path):
    soundfile.write(tmp_path / "in.wav", tone(), RATE)
    bundles_ = [repairers.repairer(repairers.Gain(gain)) for gain in (0.5, 0.25)]

    def write(number):
        bundles_[number].repair_file(tmp_path / "in.wav", folder / "out.wav")

    def read(place):
        return files.read(place / "out.wav")[0].tobytes()

    assert not outcomes(write, read, folder, tmp_path)


def test_a_gallery(folder, tmp_path):
    def voice(number):
        embedding = np.full(4, 0.5, np.float32)
        return SpeakerEmbedding(f"{number}.wav", embedding, 3.0, 1.0, digest=str(number))

    def write(number):
        Gallery(folder / "voices").add("Anna", [voice(number)], "model")

    def read(place):
        return [each.digest for each in Gallery(place / "voices").voices("Anna")]

    assert not outcomes(write, read, folder, tmp_path)


def test_a_saved_voice(folder, tmp_path, monkeypatch):
    def write(number):
        monkeypatch.setattr(saved_voices, "FOLDER", folder / "voices")
        saved_voices.save("anna", VoiceProfile(np.full(4, number, np.float32)), "encoder", "mine")

    def read(place):
        monkeypatch.setattr(saved_voices, "FOLDER", place / "voices")
        return saved_voices.load("anna").fields["embedding"].tolist()

    assert not outcomes(write, read, folder, tmp_path)


def test_a_bundle(folder, tmp_path, monkeypatch):
    """Between two names there is a moment without one; it is refused, and both are there."""
    verifiers.register(monkeypatch)
    bundle = verifiers.verifier()

    def write(number):
        bundles.save(folder / "speaker", dataclasses.replace(bundle, threshold=0.1 * number))

    def read(place):
        try:
            return bundles.load(place / "speaker").threshold
        except BundleError:
            assert bundles.load(place / "speaker.old").threshold == pytest.approx(0.0)
            assert bundles.load(place / "speaker.part").threshold == pytest.approx(0.1)
            return "refused"

    assert set(outcomes(write, read, folder, tmp_path)) == {"refused"}
    copy = next(
        path for path in pathlib.Path(tmp_path / "copies").iterdir() if read(path) == "refused"
    )
    bundles.save(copy / "speaker", bundle)
    assert [path.name for path in copy.iterdir()] == ["speaker"]
