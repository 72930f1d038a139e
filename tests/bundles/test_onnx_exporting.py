"""ONNX of classifiers and verifiers: what onnxruntime gives is what the live bundle gives."""

import functools
import sys
import types

import numpy as np
import pytest
from helpers import repairers, verifiers
from helpers.tiny import drawn

import lin_jax
from lin_jax import bundles
from lin_jax.apps import cli
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.bundles import onnx_exporting
from lin_jax.errors import ConfigError
from lin_jax.models.residual_classifier import ResidualClassifier

FRONTEND = FrontendConfig(n_mels=8, n_mfcc=4, n_fft=128, win_length=128, hop_length=128)


@pytest.fixture(scope="module")
def classifier():
    """One of windows of half a second."""
    model, D = ResidualClassifier(3, (4, 6), (0, 1), 8), FRONTEND.num_features
    features = np.zeros((1, 32, D), np.float32), np.array([32])
    variables = drawn(functools.partial(model.init, train=False), *features)
    stats = np.full(D, -20.0, np.float32), np.full(D, 30.0, np.float32)
    labels = ("low", "high", "no speech")
    return bundles.Classifier(
        "classes", model, FRONTEND, variables, *stats, labels, window_seconds=0.5
    )


def check(bundle, name, folder):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("jax2onnx")
    onnx_exporting.export(bundle, folder)
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
    (_, N) = session.get_inputs()[0].shape
    outputs = [output.name for output in session.get_outputs()]
    waveform = np.random.default_rng(0).normal(0, 0.1, (1, N)).astype(np.float32)
    for count in (N, N // 2):
        arrays = {"waveform": waveform * (np.arange(N) < count), "length": np.int32([count])}
        live = bundle.functions()[name].call(**arrays)
        assert sorted(live) == outputs
        for output, values in zip(outputs, session.run(None, arrays), strict=True):
            np.testing.assert_allclose(values, live[output], atol=1e-5)
    assert f'InferenceSession("{name}.onnx")' in (folder / "README.md").read_text()
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.onnx",
        "export.json",
        "levels.py",
        "README.md",
    }


def test_classifier(classifier, tmp_path):
    check(classifier, "classify", tmp_path / "classes")


def test_verifier(tmp_path):
    check(verifiers.verifier(), "embed", tmp_path / "voices")


@pytest.mark.slow
def test_functionals(tmp_path):
    """As they ship."""
    check(lin_jax.load("gender"), "classify", tmp_path / "gender")


def test_what_onnx_does_not_hold_is_refused(classifier, tmp_path, monkeypatch):
    def convert(function, inputs, **names):
        return types.SimpleNamespace(SerializeToString=bytes)

    runtime = types.SimpleNamespace(
        InferenceSession=lambda path, providers: 1 / path.stat().st_size
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.setitem(sys.modules, "jax2onnx", types.SimpleNamespace(to_onnx=convert))
    with pytest.raises(ConfigError, match="holds what ONNX does not"):
        onnx_exporting.export(classifier, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported(classifier, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    bundles.save(tmp_path / "classes", classifier)
    folder = tmp_path / "out"
    assert cli.main(["export", str(tmp_path / "classes"), str(folder), "--format", "onnx"]) == 2
    assert "pip install --no-deps jax2onnx" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="ONNX is for classifiers and verifiers"):
        onnx_exporting.export(repairers.repairer(), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["classes"]
