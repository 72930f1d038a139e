"""Recognisers of others: the best that is installed writes down what is said."""

import sys
import types

import numpy as np
import pytest

from lin_jax import recognisers
from lin_jax.errors import ConfigError
from lin_jax.metrics import transcription

CLIPS = [np.zeros(100, np.float32), np.ones(200, np.float32)]


class Whisper:
    """Its stand-in, which counts samples."""

    def __init__(self, name, compute_type):
        pass

    def transcribe(self, samples):
        assert samples.dtype == np.float32
        parts = [types.SimpleNamespace(text=f" {len(samples)}", avg_logprob=np.log(0.5))]
        return iter(2 * parts), None


class Moonshine:
    """Its stand-in, which does likewise."""

    def __init__(self, path, arch):
        assert (path, arch) == ("tiny-en", 0)

    def transcribe_without_streaming(self, samples, rate):
        assert rate == recognisers.RATE
        return types.SimpleNamespace(lines=[types.SimpleNamespace(text=str(len(samples)))])


@pytest.fixture
def installed(monkeypatch):
    """Have stand-ins of some packages, and none of the others."""

    def install(*packages):
        stand_ins = {
            "faster_whisper": {"WhisperModel": Whisper},
            "moonshine_voice": {
                "Transcriber": Moonshine,
                "ModelArch": types.SimpleNamespace(TINY=0),
                "get_model_path": lambda name: name,
            },
        }
        for package in packages:
            module = types.SimpleNamespace(**stand_ins[package])
            monkeypatch.setitem(sys.modules, package, module)
        monkeypatch.setattr(
            recognisers.importlib.util, "find_spec", lambda name: name in packages or None
        )

    return install


def test_texts_and_probabilities(installed):
    installed("moonshine_voice", "faster_whisper")
    assert list(recognisers.moonshine(CLIPS)) == [("100", None), ("200", None)]
    texts, probabilities = zip(*recognisers.whisper(CLIPS), strict=True)
    assert texts == ("100 100", "200 200")
    np.testing.assert_allclose(probabilities, 0.5)


def test_pocketsphinx_is_given_groups(monkeypatch):
    sizes = []

    def recognise(clips, rate):
        sizes.append(len(clips))
        return ["yes"] * len(clips)

    monkeypatch.setattr(transcription, "recognise", recognise)
    assert list(recognisers.pocketsphinx(9 * CLIPS[:1])) == 9 * [("yes", None)]
    assert sizes == [8, 1]


@pytest.mark.parametrize(
    ("packages", "text"),
    [(("moonshine_voice",), "100"), (("moonshine_voice", "faster_whisper"), "100 100")],
)
def test_the_best_transcribes(installed, packages, text):
    installed(*packages)
    assert recognisers.transcribe(CLIPS[0]) == text


def test_what_is_not_installed(installed):
    installed()
    with pytest.raises(ConfigError, match="pip install faster-whisper, or, for English"):
        recognisers.transcribe(CLIPS[0])
    for name in ("whisper", "moonshine"):
        with pytest.raises(ConfigError, match=rf"{name} is not installed: pip install .*{name}"):
            list(recognisers.RECOGNISERS[name](CLIPS))
