"""Layers that networks share: an LSTM that cuDNN may do, and spectra by the root of their size."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.experimental import rnn

from lin_jax.models import layers
from lin_jax.models.layers import FusedLSTM
from lin_jax.training import cost

B, T, D, H = 3, 7, 5, 4
LENGTH = np.array([7, 3, 0])
X = np.random.default_rng(0).normal(size=(B, T, D)).astype(np.float32)


def draw(lstm):
    """Variables of which none is zero."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lstm.init, jax.random.key(0), X, LENGTH)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def reference(x, h, c, weights, length, *sizes):
    """What `rnn.lstm` computes, on any device."""
    parts = rnn.unpack_lstm_weights(weights, *sizes[:3], sizes[4])
    return rnn.lstm_ref(x, h, c, *parts, length, *sizes)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_cudnn_and_scan_agree(bidirectional, monkeypatch):
    """Values and gradients, of padded sequences and an empty one, to 1e-5."""
    lstm = FusedLSTM(H, bidirectional)
    variables = draw(lstm)

    def loss(variables, x):
        y = lstm.apply(variables, x, LENGTH)
        return jnp.sum(jnp.sin(y)), y

    gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    scanned = gradient(variables, X)
    assert scanned[0][1].shape == (B, T, H * (1 + bidirectional))
    assert not scanned[0][1][np.arange(T) >= LENGTH[:, None]].any()
    monkeypatch.setattr(layers, "_has_cudnn", lambda dtype: True)
    monkeypatch.setattr(rnn, "lstm", reference)
    fused = gradient(variables, X)
    assert str(jax.make_jaxpr(gradient)(variables, X)).count("lstm_ref")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), scanned, fused)


def test_parameters_are_those_of_the_cell():
    """Weights of `nn.RNN` load, and give the same bits."""
    lstm, plain = FusedLSTM(H), nn.RNN(nn.OptimizedLSTMCell(H))
    variables = draw(lstm)
    cell = {"params": {"cell": variables["params"]["OptimizedLSTMCell_0"]}}
    expected = plain.apply(cell, X, seq_lengths=LENGTH)
    expected = np.where(np.arange(T)[:, None] < LENGTH[:, None, None], expected, 0.0)
    np.testing.assert_array_equal(lstm.apply(variables, X, LENGTH), expected)


def test_the_call_of_cudnn_is_differentiated_and_counted(monkeypatch):
    """One call forth and one back, in float32, of which the FLOPs are counted."""
    lstm = FusedLSTM(H, bidirectional=True)
    variables = draw(lstm)
    monkeypatch.setattr(layers, "_has_cudnn", lambda dtype: True)
    sizes = "jaxlib.gpu_rnn.compute_rnn_workspace_reserve_space_sizes"  # asks the GPU
    monkeypatch.setattr(sizes, lambda *_: (8, 8), raising=False)
    x = jnp.asarray(X, jnp.bfloat16)
    gradient = jax.grad(lambda variables: jnp.sum(lstm.apply(variables, x, LENGTH)))
    traced = jax.jit(gradient).trace(variables).jaxpr
    assert [str(traced).count(name) for name in ("rnn_fwd[", "rnn_bwd[")] == [1, 1]
    kernels = 2 * 4 * H * (D + H)
    assert cost.flops_per_step(traced) == 3 * 2.0 * B * T * kernels


@pytest.mark.parametrize(
    ("kind", "count", "dtype", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", 1, None, True),
        ("NVIDIA H100 80GB HBM3", 1, jnp.float32, True),
        ("NVIDIA H100 80GB HBM3", 1, jnp.bfloat16, False),
        ("NVIDIA H100 80GB HBM3", 2, None, False),
        ("AMD Instinct MI300X", 1, None, False),
        ("cpu", 1, None, False),
    ],
)
def test_where_cudnn_is_right(kind, count, dtype, expected, monkeypatch):
    device = types.SimpleNamespace(device_kind=kind)
    monkeypatch.setattr(jax, "devices", lambda: [device] * count)
    assert layers._has_cudnn(dtype) is expected


def test_a_compressed_spectrum_expands_to_itself():
    rng = np.random.default_rng(0)
    spectrum = (rng.normal(size=(2, 5, 9)) + 1j * rng.normal(size=(2, 5, 9))).astype(np.complex64)
    real, imaginary, size = layers.compress(spectrum)
    np.testing.assert_allclose(size, np.abs(spectrum), rtol=1e-4)
    np.testing.assert_allclose(np.hypot(real, imaginary), np.sqrt(size), rtol=1e-4)
    np.testing.assert_allclose(layers.expand(real, imaginary), spectrum, rtol=1e-3, atol=1e-4)


def test_silence_has_a_gradient():
    def loss(real):
        return jnp.sum(jnp.abs(layers.compress(jax.lax.complex(real, real))[0]))

    assert np.isfinite(jax.grad(loss)(jnp.zeros((1, 2, 3)))).all()
