"""The network that makes phases, and its discriminators: shapes, and what padding changes."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers.tiny import drawn

from lin_jax.models.vocos import DepthwiseConv, Vocos
from lin_jax.models.waveform_discriminator import WaveformDiscriminator

B, T, M = 2, 9, 5
NETWORK = Vocos(n_fft=16, width=8, hidden=12, blocks=2)
MEL = np.random.default_rng(0).normal(size=(B, T, M)).astype(np.float32)
MASK = np.arange(T) < np.array([[9], [6]])


def test_shape_and_size():
    shapes, variables = jax.eval_shape(
        lambda key: Vocos().init_with_output(key, jnp.zeros((B, 63, 80)), jnp.ones((B, 63), bool)),
        jax.random.key(0),
    )
    assert (shapes.shape, shapes.dtype) == ((B, 126, 257), jnp.complex64)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) < 4_000_000


def test_padding_and_company_change_nothing():
    variables, apply = drawn(NETWORK.init, MEL, MASK), jax.jit(NETWORK.apply)
    made, valid = apply(variables, MEL, MASK), np.repeat(MASK, 2, axis=1)
    rubbish = np.where(MASK[..., None], MEL, 99.0)
    np.testing.assert_allclose(apply(variables, rubbish, MASK)[valid], made[valid], atol=1e-5)
    alone = NETWORK.apply(variables, MEL[1:, :6], MASK[1:, :6])
    np.testing.assert_allclose(made[1, :12], alone[0], atol=1e-5)
    np.testing.assert_allclose(
        apply(variables, MEL[::-1], MASK[::-1])[:, valid[0]], made[::-1], atol=1e-5
    )


def test_depthwise_convolution_is_that_of_each_feature():
    x = np.random.default_rng(1).normal(size=(1, T, M)).astype(np.float32)
    variables = drawn(DepthwiseConv(3).init, x)
    made = DepthwiseConv(3).apply(variables, x)
    kernel, bias = variables["params"]["kernel"], variables["params"]["bias"]
    for m in range(M):
        expected = bias[m] + np.convolve(x[0, :, m], kernel[::-1, m], "same")
        np.testing.assert_allclose(made[0, :, m], expected, atol=1e-5)


def test_discriminators_score_each_waveform():
    network = WaveformDiscriminator((2, 3), (64,), (3, 4), (2, 3, 4))
    scores, activations = jax.eval_shape(
        lambda x: network.init_with_output(jax.random.key(0), x)[0], jnp.zeros((B, 256))
    )
    assert [len(each) for each in activations] == [2, 2, 3]
    assert [each.shape[-1] for each in activations[2]] == [2, 3, 4]
    assert [each.shape for each in scores] == [(B, 43, 2, 1), (B, 29, 3, 1), (B, 17, 9, 1)]
