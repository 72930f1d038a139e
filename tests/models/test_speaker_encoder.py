"""The speaker encoders: unit norm, few parameters, and the laws of a masked, batched network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.tiny import drawn

from lin_jax.models.speaker_encoder import (
    FunctionalEncoder,
    SmallSpeakerEncoder,
    SpeakerEncoder,
)
from lin_jax.vectors import unit_norm

TINY = SpeakerEncoder(widths=(4, 8), blocks=(1, 1), hidden=16, embedding=6)
NETWORKS = pytest.mark.parametrize(
    "network", [TINY, SmallSpeakerEncoder((4, 8, 8), 16, 6)], ids=lambda n: type(n).__name__
)


def clips(frames=37, features=20):
    return jax.random.normal(jax.random.key(0), (3, frames, features)), jnp.array(
        [frames, frames // 2, 9]
    )


def embed(network, variables, features, num_frames):
    """Evaluates the network compiled, as it is always used."""
    return jax.jit(network.apply)(variables, features, num_frames)


def initialise(network):
    """Variables whose running statistics are not the trivial zeros and ones."""
    return drawn(network.init, *clips())


@pytest.mark.parametrize(
    "network", [SpeakerEncoder(), SmallSpeakerEncoder()], ids=lambda n: type(n).__name__
)
@pytest.mark.parametrize(("frames", "features"), [(1, 40), (126, 64), (333, 80)])
def test_shapes_and_size(network, frames, features):
    x, n = jnp.zeros((2, frames, features)), jnp.array([frames, 1])
    embeddings, variables = jax.eval_shape(
        lambda: network.init_with_output(jax.random.key(0), x, n)
    )
    assert embeddings.shape == (2, network.embedding)
    assert embeddings.dtype == jnp.float32
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) < 2_000_000


def test_cost_of_two_seconds():
    """At most half a billion operations for 2 s at a hop of 16 ms, so that a CPU can train it."""
    network, x, n = SpeakerEncoder(), jnp.zeros((1, 126, 64)), jnp.array([126])
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), x, n))
    assert jax.jit(network.apply).lower(variables, x, n).cost_analysis()["flops"] < 0.5e9


@NETWORKS
def test_embeddings_lie_on_the_unit_sphere_whatever_the_padding(network):
    features, num_frames = clips()
    variables = initialise(network)
    expected = embed(network, variables, features, num_frames)
    np.testing.assert_allclose(jnp.linalg.norm(expected, axis=-1), 1.0, rtol=1e-5)
    assert np.abs(expected[0] - expected[1]).max() > 1e-3, "different clips differ"
    padded = jnp.pad(features, ((0, 0), (0, 3), (0, 0)), constant_values=7.0)
    np.testing.assert_allclose(embed(network, variables, padded, num_frames), expected, atol=2e-5)


@NETWORKS
def test_every_parameter_gets_a_gradient(network):
    features, num_frames = clips()
    variables = initialise(network)

    def loss(params):
        state = {**variables, "params": params}
        embeddings, _ = network.apply(
            state, features, num_frames, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(embeddings * jnp.arange(18).reshape(3, 6))

    for path, gradient in jax.tree_util.tree_leaves_with_path(
        jax.jit(jax.grad(loss))(variables["params"])
    ):
        assert np.all(np.isfinite(gradient)), path
        assert np.any(gradient != 0), path


def test_unit_norm_of_zero_has_a_gradient():
    gradient = jax.grad(lambda x: unit_norm(x).sum())(jnp.zeros(4))
    assert np.isfinite(gradient).all()


def test_functionals_are_embedded_by_hand_computation():
    """Cut to the limit, through the one layer, on the unit sphere; each clip as it is alone."""
    network, x = (
        FunctionalEncoder(3, limit=2.0),
        jax.random.normal(jax.random.key(0), (4, 1, 5)) * 3,
    )
    variables = drawn(network.init, x, None)
    kernel, bias = (np.asarray(variables["params"]["Dense_0"][name]) for name in ("kernel", "bias"))
    expected = np.clip(x[:, 0], -2, 2) @ kernel + bias
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embed(network, variables, x, None), expected, rtol=1e-5, atol=1e-6)
