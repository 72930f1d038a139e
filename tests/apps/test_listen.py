"""`lin listen`: a line every second, by a microphone that a test plays."""

import sys
import types

import numpy as np
import pytest
from helpers import verifiers

from lin_jax import bundles
from lin_jax.apps import cli, gallery
from lin_jax.audio import files

RATE = verifiers.RATE


class PortAudioError(Exception):
    """As sounddevice has it."""


@pytest.fixture
def play(monkeypatch):
    """Let a microphone take up waveforms; after the last one, Ctrl-C is pressed."""

    def play(*blocks, error=None):
        class InputStream:
            """Stands in for `sounddevice.InputStream`."""

            def __init__(self, samplerate, channels, dtype, device):
                if error:
                    raise error
                assert (samplerate, channels, dtype) == (RATE, 1, "float32")
                self.waiting = list(blocks)

            def __enter__(self):
                return self

            def __exit__(self, *_):
                self.waiting = None

            def read(self, count):
                if not self.waiting:
                    raise KeyboardInterrupt
                block = self.waiting.pop(0)
                assert len(block) == count
                return block[:, None], False

        module = types.SimpleNamespace(InputStream=InputStream, PortAudioError=PortAudioError)
        monkeypatch.setitem(sys.modules, "sounddevice", module)

    return play


@pytest.fixture
def bundle(monkeypatch, tmp_path):
    """A folder with the speaker bundle of two artificial speakers."""
    verifiers.register(monkeypatch)
    return str(bundles.save(tmp_path / "voices", verifiers.verifier()))


def seconds(speaker, count):
    """What a speaker says, second by second."""
    return np.split(verifiers.voice(speaker, count, seed=7), count)


def test_verify(play, bundle, tmp_path, capsys):
    clip = tmp_path / "anna.wav"
    files.write(clip, verifiers.voice(0, 3.0), RATE)
    play(np.zeros(RATE, np.float32), *seconds(0, 2), *seconds(1, 5))
    assert cli.main(["listen", "verify", "--with", str(clip), "--model", bundle]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[0] == "0:00:01.0  (silence)"
    assert lines[2].startswith("0:00:03.0  same speaker  ")
    assert lines[7].startswith("0:00:08.0  different speakers  ")
    assert len(lines) == 10, "eight lines, and one that Ctrl-C ends"


def test_identify_for_so_long(play, bundle, tmp_path, capsys):
    clip, folder = tmp_path / "anna.wav", str(tmp_path / "gallery")
    command = ["listen", "identify", "--gallery", folder, "--model", bundle, "--seconds", "2"]
    play(*seconds(0, 4))
    assert cli.main(command) == 2
    assert "nobody is enrolled; first lin enroll" in capsys.readouterr().err
    files.write(clip, verifiers.voice(0, 3.0), RATE)
    assert cli.main(["enroll", "Anna", str(clip), "--gallery", folder, "--model", bundle]) == 0
    capsys.readouterr()
    assert cli.main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("0:00:02.0  Anna  ")
    assert gallery.Gallery(folder).names() == ["Anna"]


def test_classify(play, monkeypatch, capsys):
    prediction = bundles.Prediction("male", {"female": 0.2, "male": 0.8}, 1.0)
    stand_in = types.SimpleNamespace(
        task="classification",
        window_seconds=3.0,
        frontend=types.SimpleNamespace(sample_rate=RATE),
        predict=lambda window, rate: sizes.append(len(window) / rate) or prediction,
    )
    sizes = []
    monkeypatch.setattr("lin_jax.load", lambda name: stand_in)
    play(*seconds(0, 5))
    assert cli.main(["listen", "gender"]) == 0
    assert capsys.readouterr().out.startswith("0:00:01.0  male        80%   female 20%\n")
    assert sizes == [1.0, 2.0, 3.0, 3.0, 3.0], "the last three seconds"


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (PortAudioError("Error querying device -1"), "(Error querying device -1); plug one in"),
        (ValueError("No input device matching 'USB'"), "choose another with --device"),
    ],
)
def test_no_device(error, mend, play, bundle, capsys, tmp_path):
    clip = tmp_path / "anna.wav"
    files.write(clip, verifiers.voice(0), RATE)
    play(error=error)
    assert cli.main(["listen", "verify", "--with", str(clip), "--model", bundle]) == 2
    problem = capsys.readouterr().err
    assert "no microphone can be used" in problem
    assert mend in problem


def test_what_is_missing(bundle, monkeypatch, capsys, tmp_path):
    assert cli.main(["listen", "verify", "--model", bundle]) == 2
    assert "with --with" in capsys.readouterr().err
    clip = tmp_path / "anna.wav"
    files.write(clip, verifiers.voice(0), RATE)
    command = ["listen", "verify", "--with", str(clip), "--model", bundle]
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert cli.main(command) == 2
    assert "pip install 'lin_jax[listen]'" in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, "sounddevice")
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(command) == 2
    assert "apt install libportaudio2" in capsys.readouterr().err
