"""Words: how a text is taken apart, and what the recogniser makes of sounds."""

import numpy as np
import pytest
import voices

from lin_jax import recognition
from lin_jax.errors import ConfigError


def test_words():
    assert recognition.words("“Don't panic,” said Mr. Well-Known; 3 times!") == (
        ["don't", "panic", "said", "mister", "well", "known", "three", "times"]
    )
    assert recognition.words("Ещё раз, ёж…", "ru") == ["ещё", "раз", "ёж"]


def test_without_the_recogniser(monkeypatch):
    monkeypatch.setattr(recognition, "installed", lambda: False)
    with pytest.raises(ConfigError, match=r"pip install 'lin_jax\[eval\]'"):
        recognition.recognise([voices.noise(0.1)], voices.RATE)


def test_recognise():
    pytest.importorskip("pocketsphinx")
    heard = recognition.recognise(
        [np.zeros(1600), voices.voice(0, 0.5)], voices.RATE, [["ah"], ["ah", "hum"]]
    )
    assert len(heard) == 2
    assert set(" ".join(heard).split()) <= {"ah", "hum"}


def test_a_clip_is_heard_whatever_came_before():
    """The decoder does not go on with the channel that it found in another clip."""
    pytest.importorskip("pocketsphinx")
    recognition._start()
    clip, loud = (
        recognition._recording(sound, voices.RATE)
        for sound in (voices.voice(0, 0.5), voices.noise(0.5))
    )
    found = []
    for before in ((), (loud,)):
        for recording in (*before, clip):
            words = recognition._hear(recording)
        found.append((words, recognition._decoder.get_cmn(False)))
    assert found[0] == found[1]
