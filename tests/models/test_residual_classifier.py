"""The residual classifiers: shapes, and the laws a masked, batched network obeys."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.tiny import drawn

from lin_jax.models.residual_classifier import DenseResidualClassifier, ResidualClassifier

SMALL = ResidualClassifier(num_classes=5, widths=(4, 8), blocks=(1, 1), hidden=16)
NETWORKS = pytest.mark.parametrize(
    "network",
    [SMALL, DenseResidualClassifier(num_classes=5, hidden=16)],
    ids=lambda n: type(n).__name__,
)


def scores(network, variables, features, num_frames):
    """Evaluates the network compiled, as it is always used."""
    return jax.jit(lambda *args: network.apply(*args, train=False))(variables, features, num_frames)


def clips(batch=3, frames=37, features=20):
    key = jax.random.key(0)
    return jax.random.normal(key, (batch, frames, features)), jnp.array([frames, frames // 2, 9])[
        :batch
    ]


def initialise(network):
    """Variables whose running statistics are not the trivial zeros and ones."""
    return drawn(functools.partial(network.init, train=False), *clips())


@NETWORKS
@pytest.mark.parametrize(("frames", "features"), [(1, 13), (50, 40), (333, 64)])
def test_shapes(network, frames, features):
    x, n = jnp.zeros((2, frames, features)), jnp.array([frames, 1])
    logits = jax.eval_shape(
        lambda: network.init_with_output(jax.random.key(0), x, n, train=False)[0]
    )
    assert logits.shape == (2, 5)
    assert logits.dtype == jnp.float32


def test_default_is_small():
    network = ResidualClassifier(num_classes=8)
    shapes = jax.eval_shape(
        lambda: network.init(
            jax.random.key(0), jnp.zeros((1, 140, 64)), jnp.array([140]), train=False
        )
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])) < 700_000


@NETWORKS
def test_padding_changes_nothing(network):
    features, num_frames = clips()
    variables = initialise(network)
    expected = scores(network, variables, features, num_frames)
    for extra in (1, 6):
        padded = jnp.pad(features, ((0, 0), (0, extra), (0, 0)), constant_values=7.0)
        np.testing.assert_allclose(
            scores(network, variables, padded, num_frames), expected, atol=2e-5
        )


@NETWORKS
def test_padding_changes_no_training_statistics(network):
    features, num_frames = clips()
    variables = initialise(network)

    @jax.jit
    def statistics(features):
        rngs = {"dropout": jax.random.key(3)}
        return network.apply(
            variables, features, num_frames, train=True, rngs=rngs, mutable=["batch_stats"]
        )[1]

    padded = jnp.pad(features, ((0, 0), (0, 5), (0, 0)), constant_values=7.0)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5),
        statistics(features),
        statistics(padded),
    )


@NETWORKS
def test_a_batch_permutes(network):
    features, num_frames = clips()
    variables = initialise(network)
    order = jnp.array([2, 0, 1])
    expected = scores(network, variables, features, num_frames)[order]
    np.testing.assert_allclose(
        scores(network, variables, features[order], num_frames[order]), expected, atol=1e-5
    )


@pytest.mark.parametrize("attention", [True, False])
def test_attention_sums_to_one_over_real_frames(attention):
    network = SMALL.clone(attention=attention)
    features, num_frames = clips()
    apply = jax.jit(functools.partial(network.apply, train=False, mutable=["intermediates"]))
    _, state = apply(initialise(network), features, num_frames)
    (weights,) = jax.tree.leaves(state["intermediates"])
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-5)
    assert weights.shape[1] == 10  # 37 frames, halved twice
    np.testing.assert_array_equal(weights[2, 3:], 0.0)  # 9 frames become 3
    if not attention:
        np.testing.assert_allclose(weights[2, :3], 1 / 3, atol=1e-5)


@NETWORKS
def test_every_parameter_gets_a_gradient(network):
    features, num_frames = clips()
    variables = initialise(network)

    def loss(params):
        state = {"params": params, "batch_stats": variables["batch_stats"]}
        logits, _ = network.apply(
            state,
            features,
            num_frames,
            train=True,
            rngs={"dropout": jax.random.key(3)},
            mutable=["batch_stats"],
        )
        return jnp.sum(logits**2 * jnp.arange(5))

    for path, gradient in jax.tree_util.tree_leaves_with_path(
        jax.jit(jax.grad(loss))(variables["params"])
    ):
        assert np.all(np.isfinite(gradient)), path
        assert np.any(gradient != 0), path
