"""Repair networks: shapes, padding, what they see of the future, and that they start by changing
little.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.tiny import drawn

from lin_jax.errors import ConfigError
from lin_jax.models.autoencoder import MelAutoencoder, SpectralAutoencoder

TINY = {
    "n_fft": 64,
    "hop_length": 32,
    "bands": ((4, 2), (2, 4), (2, 8)),
    "width": 4,
    "inner_width": 6,
    "outer": (1,),
    "inner": (2,),
    "bottleneck": 2,
    "hidden": 8,
    "middle": (1, 4),
}
N = 3200
X = 0.1 * np.random.default_rng(0).normal(size=(2, N)).astype(np.float32)


@pytest.mark.parametrize("network", [SpectralAutoencoder(), MelAutoencoder()])
def test_shapes_and_size(network):
    x = jax.ShapeDtypeStruct((3, 20000), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), x)
    assert jax.eval_shape(network.apply, variables, x).shape == (3, 20000)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) < 3e6


def test_untrained_changes_little():
    y, _ = jax.jit(SpectralAutoencoder(**TINY).init_with_output)(jax.random.key(1), X)
    error = np.sum((y - X) ** 2) / np.sum(X**2)
    assert error < 0.03


@pytest.mark.parametrize(
    "network",
    [
        SpectralAutoencoder(**TINY),
        SpectralAutoencoder(**TINY, shifts=2),
        MelAutoencoder(n_fft=64, hop_length=32, n_mels=8),
    ],
)
def test_padding_changes_nothing(network):
    variables, apply = drawn(network.init, X), jax.jit(network.apply)
    length = np.array([1500, 2100])
    short = apply(variables, X[:, :2200], length)
    long = apply(variables, X, length)
    np.testing.assert_allclose(long[:, :2200], short, atol=1e-5)
    assert not long[0, 1500:].any()
    assert not np.allclose(short[:, :1400], X[:, :1400], atol=1e-2), "the network does something"
    alone = apply(variables, X[:1, :1500])
    np.testing.assert_allclose(short[:1, :1500], alone, atol=1e-5)


def test_views_are_averaged():
    single, averaged = SpectralAutoencoder(**TINY), SpectralAutoencoder(**TINY, shifts=2)
    variables = drawn(single.init, X)
    apply = jax.jit(single.apply)
    early, late = apply(variables, X), apply(variables, np.pad(X, ((0, 0), (16, 0))))[:, 16:]
    np.testing.assert_allclose(jax.jit(averaged.apply)(variables, X), (early + late) / 2, atol=1e-5)


def reach(network):
    """Samples before and after a changed input sample up to which the output changes."""
    variables, apply = drawn(network.init, X), jax.jit(network.apply)
    x = np.tile(X, (1, 3))
    at = x.shape[1] // 2
    moved = x.copy()
    moved[:, at] += 0.5
    where = np.flatnonzero(
        (np.asarray(apply(variables, moved)) != np.asarray(apply(variables, x))).any(axis=0)
    )
    return at - where.min(), where.max() - at


def test_sees_both_ways_as_far_as_it_says():
    network = SpectralAutoencoder(**TINY, shifts=2)
    context = network.context_seconds * 16000
    early, late = reach(network)
    assert 0.7 * context < early <= context
    assert 0.7 * context < late <= context


def test_bands_must_fit():
    with pytest.raises(ConfigError, match="must be even in number and hold 256 bins"):
        drawn(SpectralAutoencoder(bands=((4, 8),)).init, X)
