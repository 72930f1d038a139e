"""Words: how a text is taken apart, and what the recogniser makes of sounds."""

import numpy as np
import pytest
from helpers import verifiers

from lin_jax.errors import ConfigError
from lin_jax.metrics import transcription


def test_words():
    assert transcription.words("“Don't panic,” said Mr. Well-Known; 3 times!") == (
        ["don't", "panic", "said", "mister", "well", "known", "three", "times"]
    )
    assert transcription.words("Ещё раз, ёж…", "ru") == ["ещё", "раз", "ёж"]


def test_without_the_recogniser(monkeypatch):
    monkeypatch.setattr(transcription, "installed", lambda: False)
    with pytest.raises(ConfigError, match=r"pip install 'lin_jax\[eval\]'"):
        transcription.recognise([verifiers.noise(0.1)], verifiers.RATE)


def test_recognise():
    pytest.importorskip("pocketsphinx")
    transcripts = transcription.recognise(
        [np.zeros(1600), verifiers.voice(0, 0.5)], verifiers.RATE, [["ah"], ["ah", "hum"]]
    )
    assert len(transcripts) == 2
    assert set(" ".join(transcripts).split()) <= {"ah", "hum"}


def test_a_clip_is_heard_whatever_came_before():
    """The decoder does not go on with the channel that it found in another clip."""
    pytest.importorskip("pocketsphinx")
    transcription._start()
    clip, loud = (
        transcription._recording(sound, verifiers.RATE)
        for sound in (verifiers.voice(0, 0.5), verifiers.noise(0.5))
    )
    results = []
    for before in ((), (loud,)):
        for recording in (*before, clip):
            words = transcription._transcribe(recording)
        results.append((words, transcription._decoder.get_cmn(False)))
    assert results[0] == results[1]


def test_edit_distance():
    kitten = transcription.edit_distance("kitten", "sitting")
    assert kitten == 3
    assert (
        transcription.edit_distance(["one", "two", "three"], ["two", "two", "three", "four"]) == 2
    )
    assert transcription.edit_distance([], ["one"]) == transcription.edit_distance(["one"], []) == 1
