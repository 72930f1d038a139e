"""The gallery's files: what comes back is what was put there, by nobody else, for nobody else."""

import dataclasses
import stat
import threading

import numpy as np
import pytest
from helpers.damage import flipped_bits

from lin_jax.apps.gallery import Gallery
from lin_jax.bundles import SpeakerEmbedding
from lin_jax.errors import GalleryError

VOICE = SpeakerEmbedding("a.wav", np.linspace(0, 1, 20, dtype=np.float32), 2.5, 0.9, "d1", 7000.0)


@pytest.fixture
def gallery(tmp_path):
    gallery = Gallery(tmp_path / "home/voices")
    gallery.add("Ann", [VOICE], "model")
    return gallery


def test_every_flipped_bit_is_noticed(gallery):
    (voice,) = gallery.voices("Ann", "model")
    np.testing.assert_array_equal(voice.embedding, VOICE.embedding)
    assert voice.band_hz == 7000
    for _ in flipped_bits(gallery.folder / "Ann.json", 100):
        with pytest.raises(GalleryError, match="damaged or not of a gallery"):
            gallery.voices("Ann", "model")


def test_nobody_else_can_read_it(gallery):
    for path in (gallery.folder.parent, gallery.folder, gallery.folder / "Ann.json"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077


@pytest.mark.parametrize("name", [".", "Ann.json"])
def test_where_others_can_write_is_refused(gallery, name):
    (gallery.folder / name).chmod(0o777)
    with pytest.raises(GalleryError, match=r"others can write to it; .* chmod -R go-w "):
        gallery.voices("Ann")
    with pytest.raises(GalleryError, match="others can write to it"):
        gallery.add("Ann", [VOICE], "model")


def test_nobody_is_lost_where_two_add_at_once(gallery):
    """One adds while the other holds what it read, and waits for it."""
    read, other = gallery.voices, []

    def slow(*arguments):
        voices = read(*arguments)
        if not other:
            other.append(threading.Thread(target=add, args=(Gallery(gallery.folder), "d3")))
            other[0].start()
            other[0].join(0.1)
        return voices

    def add(gallery, digest):
        gallery.add("Ann", [dataclasses.replace(VOICE, digest=digest)], "model")

    gallery.voices = slow
    add(gallery, "d2")
    other[0].join()
    assert {voice.digest for voice in read("Ann", "model")} == {"d1", "d2", "d3"}
