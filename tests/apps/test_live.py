"""`lin repair --live`: pipes and a microphone that a test plays."""

import io
import json
import sys
import types

import numpy as np
import pytest
import soundfile
from helpers import live, repairers

from lin_jax import bundles
from lin_jax.apps import cli
from lin_jax.audio import wav_stream

RATE = live.RATE
X = np.round(400 * np.random.default_rng(0).normal(0, 1, 4100)).astype("<i2")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(bundles.save(tmp_path_factory.mktemp("bundle") / "live", live.repairer(), ""))


@pytest.fixture
def lin(monkeypatch, capsysbinary, model):
    """Runs `lin repair --live` with bytes on standard input; returns code, bytes and lines of stderr."""

    def run(*arguments, sent=b""):
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(sent)))
        code = cli.main(["repair", "--live", "--model", model, *arguments])
        out, err = capsysbinary.readouterr()
        return code, out, err.decode().splitlines()

    return run


def wav(samples, rate=RATE, subtype="PCM_16"):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype, format="WAV")
    return file.getvalue()


def expected():
    return live.repairer().repair(X, RATE)


def test_raw_pipe(lin):
    code, out, err = lin("-", "--json", "--rate", str(RATE), sent=X.tobytes())
    assert code == 0
    np.testing.assert_allclose(np.frombuffer(out, "<i2") / 32767, expected(), atol=1e-4)
    figures = json.loads(err[-1])
    assert figures["seconds"] == pytest.approx(len(X) / RATE, abs=1e-3)
    assert figures["latency_seconds"] == 0.0025
    assert figures["real_time_factor"] > 0


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_wav_pipe_of_two_channels(lin, subtype):
    both = np.stack([X, X], axis=1) / 32768
    code, out, err = lin("-", sent=wav(both, subtype=subtype) + b"LIST")
    assert (code, len(err)) == (0, 1)
    assert "ms late" in err[0]
    got, rate = soundfile.read(io.BytesIO(out))
    assert (rate, got.shape) == (RATE, (len(X), 2))
    np.testing.assert_allclose(got, np.stack([expected()] * 2, axis=1), atol=1e-4)


def test_wav_of_unknown_length_is_read_to_its_end(lin):
    sent = wav_stream.header(RATE, "made on the way") + X.tobytes()
    code, out, _ = lin("-", sent=sent)
    assert (code, len(soundfile.read(io.BytesIO(out))[0])) == (0, len(X))


@pytest.mark.parametrize(
    ("arguments", "sent", "words"),
    [
        (("-",), b"", "no samples"),
        (("-",), b"RIFF", "ends before its first sample"),
        (("-",), b"RIFF1234AVI fmt ", "RIFF that is no WAV"),
        (("-",), wav(X / 32768, subtype="PCM_24"), "send 16-bit integers"),
        (("-",), b"RIFF1234WAVEdata\x00\x00\x00\x01", "damaged WAV header"),
        (("-", "--rate", "8000"), wav(X), "says 16000 Hz itself"),
        (("-", "--rate", "3"), X.tobytes(), "is no sample rate"),
        (("-",), b"ID3 and the rest of an MP3", "no WAV; send WAV, or raw 16-bit samples and"),
        (("-",), wav(X[:0]), "no samples; send some"),
        (("-", "--strength", "2"), wav(X), "from 0 to 1"),
        (("a.wav",), b"", "give - for standard input"),
        (("-", "--out", "b.wav"), b"", "omit --out"),
    ],
)
def test_what_cannot_be_is_one_line(lin, arguments, sent, words):
    code, _, err = lin(*arguments, sent=sent)
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("lin: ")
    assert words in err[0]


def test_a_network_that_hears_ahead_is_refused(lin, tmp_path, monkeypatch):
    repairers.register(monkeypatch)
    other = bundles.save(tmp_path / "other", repairers.repairer(), "")
    code, _, err = lin("-", "--model", str(other), sent=X.tobytes())
    assert (code, len(err)) == (2, 1)
    assert "it hears ahead" in err[0]


def test_microphone_to_loudspeaker(lin, monkeypatch):
    heard, played = list(np.split((X[:4000] / 32768).astype(np.float32), 25)), []

    class Stream:
        """Stands in for `sounddevice.Stream`."""

        def __init__(self, **settings):
            assert settings["device"] == ("USB", None)
            assert settings["samplerate"] == RATE

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, count):
            if not heard:
                raise KeyboardInterrupt
            assert len(heard[0]) == count
            return heard.pop(0)[:, None], False

        def write(self, block):
            played.append(block[:, 0])

    module = types.SimpleNamespace(Stream=Stream, PortAudioError=OSError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    code, out, _ = lin("--device", "USB", "--json")
    assert (code, json.loads(out)["seconds"]) == (0, 0.25)
    got = np.concatenate(played)
    assert 4000 - len(got) == 20
    whole = live.repairer().repair((X[:4000] / 32768).astype(np.float32), RATE)
    np.testing.assert_allclose(got, whole[: len(got)], atol=1e-4)


def test_without_live_its_settings_are_refused(capsys):
    assert cli.main(["repair", "a.wav", "--out", "b.wav", "--rate", "8000"]) == 2
    assert "are of --live alone" in capsys.readouterr().err
    assert cli.main(["repair", "--out", "b.wav"]) == 2
    assert "name a recording" in capsys.readouterr().err
