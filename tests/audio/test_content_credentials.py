"""Content Credentials: what is signed, with what, and what is not.

The library is stood in for, as it is an extra; by hand, its reader calls what it signs valid.
"""

import contextlib
import json
import pathlib
import sys
import types

import numpy as np
import pytest

from lin_jax.audio import content_credentials, files
from lin_jax.bundles import Speech
from lin_jax.errors import AudioError, AudioWarning


class C2paError(Exception):
    """As c2pa has it."""


@pytest.fixture
def manifests(monkeypatch, tmp_path):
    """Certificate and library; what is signed, in order."""
    folder, manifests = tmp_path / "c2pa", []
    folder.mkdir(mode=0o700)
    for name in ("chain.pem", "key.pem"):
        (folder / name).write_text(name)
        (folder / name).chmod(0o600)
    monkeypatch.setattr(content_credentials, "FOLDER", folder)

    class Builder:
        """Stands in for `c2pa.Builder`: what it signs ends with the key."""

        def __init__(self, manifest):
            self.manifest = json.loads(manifest)

        def sign_file(self, source, target, signer):
            if signer.private_key == b"":
                raise C2paError("no key\nat all")
            content = pathlib.Path(source).read_bytes()
            pathlib.Path(target).write_bytes(content + signer.private_key)
            manifests.append(self.manifest)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    module = types.SimpleNamespace(
        C2paError=C2paError,
        C2paSigningAlg=types.SimpleNamespace(ES256="es256"),
        C2paSignerInfo=types.SimpleNamespace,
        Signer=types.SimpleNamespace(from_info=contextlib.nullcontext),
        Builder=Builder,
    )
    monkeypatch.setitem(sys.modules, "c2pa", module)
    return manifests


@pytest.fixture
def speech():
    return Speech.marked(np.zeros(1600), 16000, (), "made by parrot")


def test_written_speech_is_signed(manifests, speech, tmp_path):
    speech.write(tmp_path / "a.wav")
    assert (tmp_path / "a.wav").read_bytes().endswith(b"key.pem")
    (manifest,) = manifests
    (assertion,) = manifest["assertions"]
    (action,) = assertion["data"]["actions"]
    assert action["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert action["description"] == "synthetic speech, made by parrot"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "c2pa"]


def test_without_a_certificate_nothing_is_signed(manifests, speech, tmp_path):
    (content_credentials.FOLDER / "key.pem").unlink()
    speech.write(tmp_path / "a.wav")
    assert not manifests


def test_a_format_without_manifests(manifests, speech, tmp_path):
    with pytest.warns(AudioWarning, match=r"not signed.*; \.wav, \.flac, \.mp3 do"):
        speech.write(tmp_path / "a.opus")
    assert not manifests


def test_what_cannot_be_signed(manifests, speech, tmp_path, monkeypatch):
    key = content_credentials.FOLDER / "key.pem"
    key.write_text("")
    with pytest.raises(AudioError, match=r"cannot be signed \(no key\); check chain\.pem"):
        speech.write(tmp_path / "a.wav")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.wav", "c2pa"]
    key.chmod(0o666)
    with pytest.raises(AudioError, match=r"key\.pem"):
        speech.write(tmp_path / "a.wav")
    key.chmod(0o600)
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(AudioError, match=r"pip install 'lin_jax\[c2pa\]'"):
        speech.write(tmp_path / "a.wav")
    assert files.duration(tmp_path / "a.wav") == pytest.approx(0.1), "it is there, unsigned"
