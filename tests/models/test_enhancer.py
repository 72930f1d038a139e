"""The causal network: its laws, each of which a stream lives by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.tiny import drawn

from lin_jax.errors import ConfigError
from lin_jax.models.enhancer import CausalEnhancer

TINY = {
    "n_fft": 64,
    "hop_length": 20,
    "bands": ((4, 2), (2, 4), (2, 8)),
    "width": 4,
    "bottleneck": 2,
    "hidden": 8,
    "blocks": 2,
}
HOP, N = 20, 1010
X = 0.1 * np.random.default_rng(0).normal(size=(2, N)).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    """A network that changes much, and its variables."""
    network, rng = CausalEnhancer(**TINY), np.random.default_rng(1)
    variables = drawn(network.init, X)
    moved = jax.tree.map(lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape), variables)
    return network, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), moved)


def test_shapes_and_size():
    network, x = CausalEnhancer(), jax.ShapeDtypeStruct((3, 20000), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), x)
    assert jax.eval_shape(network.apply, variables, x).shape == (3, 20000)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) < 150_000
    assert network.latency_seconds == 0.02


def test_untrained_changes_little():
    network = CausalEnhancer(**TINY)
    out = jax.jit(network.apply)(jax.jit(network.init)(jax.random.key(0), X), X)
    assert np.abs(np.asarray(out) - X).max() < 0.3 * np.abs(X).max()


@pytest.mark.parametrize("hops", [1, 4])
def test_step_is_layer(network, hops):
    model, variables = network
    whole = np.asarray(jax.jit(model.apply)(variables, X))
    assert np.abs(whole - X).max() > 0.02, "the law says nothing of a network that does nothing"
    step = jax.jit(lambda state, x: model.apply(variables, state, x, method="step"))
    state, parts, size = model.initial_state(2), [], hops * HOP
    x = np.pad(X, ((0, 0), (0, HOP + -(N + HOP) % size)))
    for start in range(0, x.shape[1], size):
        state, part = step(state, x[:, start : start + size])
        parts.append(np.asarray(part))
    assert np.allclose(np.concatenate(parts, axis=1)[:, HOP : HOP + N], whole, atol=1e-5)


def test_sees_no_further_than_its_latency(network):
    model, variables = network
    apply = jax.jit(model.apply)
    whole, latency = np.asarray(apply(variables, X)), round(model.latency_seconds * 16000)
    reached = 0
    for at in range(500, 500 + HOP):
        moved = X.copy()
        moved[:, at] += 0.5
        changed = np.asarray(apply(variables, moved)) != whole
        reached = max(reached, at - np.flatnonzero(changed.any(axis=0)).min())
    assert HOP < reached < latency


def test_what_is_past_the_length_does_not_count(network):
    model, variables = network
    length = np.array([N, 700])
    out = np.asarray(jax.jit(model.apply)(variables, X, length))
    alone = np.asarray(jax.jit(model.apply)(variables, X[1:, :700]))
    assert np.allclose(out[1, :700], alone[0], atol=1e-6)
    assert not out[1, 700:].any()


@pytest.mark.parametrize("wrong", [{"bands": ((4, 4),)}, {"hop_length": 40}])
def test_sizes_must_fit(wrong):
    with pytest.raises(ConfigError, match="must hold 32 bins"):
        drawn(CausalEnhancer(**TINY | wrong).init, X)
