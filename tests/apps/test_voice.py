"""`lin voice` and speech to a pipe: what is kept, what is spoken, and what is refused."""

import io
import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from helpers import synthesizers, verifiers

from lin_jax.apps import cli
from lin_jax.audio import files
from lin_jax.bundles import saved_voices


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(saved_voices, "FOLDER", tmp_path / "kept")
    files.write("high.wav", verifiers.voice(1), synthesizers.RATE)
    return tmp_path / "kept"


def test_a_saved_voice_speaks(model, folder, capsys):
    save = ["voice", "save", "anna", "high.wav", "--model", str(model)]
    assert cli.main(save) == 2
    assert "add --i-may-use-this-voice" in capsys.readouterr().err
    assert cli.main([*save, "--i-may-use-this-voice"]) == 0
    assert stat.S_IMODE(next(folder.iterdir()).stat().st_mode) == 0o600
    assert cli.main(["voice", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "anna"
    for voice in ("anna", "high.wav"):
        speak = [
            "speak",
            "abc",
            "--voice",
            voice,
            "--model",
            str(model),
            "--out",
            f"{voice}.out.wav",
        ]
        assert cli.main(speak) == 0
    spoken = [files.read(f"{voice}.out.wav")[0] for voice in ("anna", "high.wav")]
    np.testing.assert_allclose(*spoken, atol=1e-3)
    assert cli.main(["voice", "remove", "anna"]) == 0
    assert cli.main(["voice", "remove", "anna"]) == 2
    assert "no such voice is saved" in capsys.readouterr().err


def test_speech_to_a_pipe(model, monkeypatch, capsys, tmp_path):
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe))
    assert cli.main(["speak", "Abba. cab.", "--model", str(model), "--out", "-"]) == 0
    (tmp_path / "piped.wav").write_bytes(pipe.getvalue())
    assert cli.main(["speak", "Abba. cab.", "--model", str(model), "--out", "whole.wav"]) == 0
    piped, whole = (files.read(name)[0] for name in ("piped.wav", "whole.wav"))
    assert len(piped) == len(whole)
    comments = dict(files.describe("piped.wav").tags).values()
    assert any("synthetic speech" in comment for comment in comments)
    assert cli.main(["speak", "ab", "--model", str(model), "--out", "-", "--json"]) == 2
    assert "leave out --timestamps and --json" in capsys.readouterr().err


def test_a_pipe_that_is_closed(tmp_path):
    """One line, no traceback; it runs on its own, since it ends the process's standard output."""
    script = (
        "import itertools, types\n"
        "import numpy as np\n"
        "from lin_jax.apps import cli, speak\n"
        "part = types.SimpleNamespace(sample_rate=16000, provenance='p',\n"
        "    samples=np.zeros(100000), segments=[types.SimpleNamespace(stopped=True)])\n"
        "speak.load_bundle = lambda *_: types.SimpleNamespace(\n"
        "    names=(), stream=lambda *_: itertools.repeat(part, 100))\n"
        "raise SystemExit(cli.main(['speak', 'ab', '--out', '-']))\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    os.close(writing)
    assert done.returncode == 2
    assert done.stderr == "lin: standard output was closed before all was said\n"
