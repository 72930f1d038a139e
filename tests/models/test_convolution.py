"""Convolutions whose kernels' gradients are products of matrices."""

import operator

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lin_jax.models.convolution import Conv

GEOMETRIES = {  # shape of x, taps, strides, dilation, padding
    "square": ((2, 7, 5, 3), (3, 3), (1, 1), (1, 1), ((1, 1), (1, 1))),
    "dilated in time": ((2, 9, 6, 3), (3, 3), (1, 1), (4, 1), ((4, 4), (1, 1))),
    "one row": ((2, 4, 6, 3), (1, 3), (1, 1), (1, 1), ((0, 0), (1, 1))),
    "even, not padded": ((1, 8, 6, 2), (4, 2), (1, 1), (2, 3), ((0, 0), (0, 0))),
    "strides over even sizes": ((2, 8, 6, 3), (3, 3), (2, 2), (1, 1), ((1, 1), (1, 1))),
    "strides over odd sizes": ((2, 7, 9, 1), (5, 5), (2, 2), (1, 1), ((2, 2), (2, 2))),
    "strides past its taps": ((2, 9, 10, 2), (2, 2), (3, 3), (1, 1), ((0, 1), (1, 0))),
    "strides that leave rows": ((2, 10, 8, 2), (3, 3), (4, 2), (1, 2), ((0, 0), (2, 2))),
    "strides and dilation": ((1, 9, 9, 2), (3, 3), (2, 2), (2, 2), ((2, 2), (2, 2))),
}


def layers(taps, strides, dilation, padding):
    """Of Flax, as it is and with our gradient."""
    given = {"strides": strides, "kernel_dilation": dilation, "padding": padding}
    return (layer(4, taps, **given) for layer in (nn.Conv, Conv))


def gradient(layer):
    """Of the kernel, the bias and x, of a loss that weighs every output otherwise."""
    return jax.value_and_grad(lambda v, x: jnp.sum(jnp.sin(layer.apply(v, x))), argnums=(0, 1))


@pytest.mark.parametrize(
    ("shape", "taps", "strides", "dilation", "padding"), GEOMETRIES.values(), ids=GEOMETRIES
)
def test_gradients_are_those_of_xla(shape, taps, strides, dilation, padding):
    """The value to the same bits, gradients to 1e-5 of their largest."""
    plain, ours = layers(taps, strides, dilation, padding)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    variables = plain.init(jax.random.key(1), x)
    value, expected = gradient(plain)(variables, x)
    same, gradients = gradient(ours)(variables, x)
    assert value == same
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(gradients), strict=True):
        assert np.abs(a).max() > 0
        np.testing.assert_allclose(b, a, atol=1e-5 * np.abs(a).max())


def test_gradients_of_several_networks():
    """Kernels under `vmap`, as those of folds are, have the gradients of each alone."""
    _, layer = layers((3, 3), (2, 2), (1, 1), ((1, 1), (1, 1)))
    x = np.random.default_rng(0).normal(size=(3, 2, 8, 6, 3)).astype(np.float32)
    variables = jax.vmap(layer.init)(jax.random.split(jax.random.key(1), 3), x)
    _, together = jax.vmap(gradient(layer))(variables, x)
    for i in range(3):
        one = jax.tree.map(operator.itemgetter(i), variables)
        _, alone = gradient(layer)(one, x[i])
        for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(together), strict=True):
            np.testing.assert_allclose(b[i], a, atol=1e-5 * np.abs(a).max())


def test_other_devices_keep_the_gradient_of_xla():
    """An accelerator is left its own convolution, and has no copies of x."""
    _, layer = layers((3, 3), (1, 1), (1, 1), ((1, 1), (1, 1)))
    x = jax.ShapeDtypeStruct((2, 8, 6, 3), np.float32)
    variables = jax.eval_shape(layer.init, jax.random.key(0), x)
    traced = jax.jit(gradient(layer)).trace(variables, x)
    count = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text().count("concatenate")
        for platform in ("cpu", "cuda", "tpu")
    }
    assert count == {"cpu": 2, "cuda": 0, "tpu": 0}
