"""Voices that are saved: the same again, private, and refused where anything is wrong."""

import stat

import numpy as np
import pytest

from lin_jax.bundles import VoiceProfile, saved_voices
from lin_jax.errors import ConfigError

CHANGE = np.array([[0.5, -0.25]], np.float16)
PROFILE = VoiceProfile(
    np.array([0.6, 0.8], np.float32), np.ones(3, np.float32), None, {"kernel:left": CHANGE}, "flow"
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_voices, "FOLDER", tmp_path / "voices")
    return tmp_path / "voices"


def test_saved_and_read(folder):
    path = saved_voices.save("anna-1", PROFILE, "abc", "her own recording")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    voice = saved_voices.load("anna-1", "abc")
    np.testing.assert_array_equal(voice.fields["embedding"], PROFILE.embedding)
    assert voice.fields["ltas_correction"] is None
    np.testing.assert_array_equal(voice.fields["adaptation"]["kernel:left"], CHANGE)
    assert voice.fields["adapted"] == "flow"
    assert (voice.consent, saved_voices.names()) == ("her own recording", ["anna-1"])
    with pytest.raises(ConfigError, match="saved with another speaker bundle"):
        saved_voices.load("anna-1", "abd")
    saved_voices.remove("anna-1")
    assert saved_voices.names() == []


@pytest.mark.parametrize("name", ["", "../a", "a b", "a" * 65])
def test_names_that_cannot_be(name):
    with pytest.raises(ConfigError, match="cannot be a name; use 1 to 64 letters"):
        saved_voices.save(name, PROFILE, "abc", "mine")


def test_what_is_wrong(folder):
    with pytest.raises(ConfigError, match="by what right"):
        saved_voices.save("anna", PROFILE, "abc", "")
    for ask in (saved_voices.load, saved_voices.remove):
        with pytest.raises(ConfigError, match="no such voice is saved"):
            ask("anna")
    path = saved_voices.save("anna", PROFILE, "abc", "mine")
    path.write_text(path.read_text().replace("0.6", "0.7"))
    with pytest.raises(ConfigError, match="damaged; save the voice again"):
        saved_voices.load("anna")
    folder.chmod(0o777)
    for ask in (
        lambda: saved_voices.load("anna"),
        lambda: saved_voices.save("anna", PROFILE, "abc", "mine"),
    ):
        with pytest.raises(ConfigError, match="others can write to it"):
            ask()
    folder.chmod(0o700)
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("a file")
    with pytest.raises(ConfigError, match="cannot be written"):
        saved_voices.save("anna", PROFILE, "abc", "mine")
