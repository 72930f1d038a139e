"""Times of words: each format says the same, in order."""

import json

import numpy as np
import pytest

from lin_jax.apps import timestamps
from lin_jax.bundles import Speech, SpeechSegment
from lin_jax.errors import ConfigError

WORDS = (("good", 0.0, 0.25), ("morning", 0.25, 0.8)), (("again", 3661.5, 3662.0),)
SPEECH = Speech(
    np.zeros(8, np.float32),
    8,
    tuple(SpeechSegment("", words[0][1], words[-1][2], "", words) for words in WORDS),
    "made",
)


def test_formats():
    rows = json.loads(timestamps.render(SPEECH, ".json"))
    assert rows[1] == {"word": "morning", "start": 0.25, "end": 0.8}
    assert timestamps.render(SPEECH, ".srt").split("\n\n")[2] == (
        "3\n01:01:01,500 --> 01:01:02,000\nagain\n"
    )
    assert timestamps.render(SPEECH, ".vtt").startswith(
        "WEBVTT\n\n1\n00:00:00.000 --> 00:00:00.250\n"
    )


def test_written_whole_or_not_at_all(tmp_path):
    timestamps.write(str(tmp_path / "a.VTT"), SPEECH)
    assert (tmp_path / "a.VTT").read_text().startswith("WEBVTT")
    (tmp_path / "b.srt").mkdir()
    with pytest.raises(ConfigError, match=r"b\.srt: cannot be written"):
        timestamps.write(str(tmp_path / "b.srt"), SPEECH)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.VTT", "b.srt"]


def test_what_has_no_times():
    with pytest.raises(ConfigError, match=r"written as \.srt, \.vtt, \.json"):
        timestamps.check("words.txt")
    timestamps.check("WORDS.SRT")
    with pytest.raises(ConfigError, match="does not tell when"):
        timestamps.render(Speech(np.zeros(8), 8, (SpeechSegment("", 0, 1),), ""), ".srt")
