"""What a step costs, by hand."""

import jax
import jax.numpy as jnp
import pytest

from lin_jax.training import cost


def flops(function, *shapes):
    """Of a function called within the loop over the steps."""

    def steps(*arguments):
        return jax.lax.fori_loop(0, 3, lambda _, total: total + jnp.sum(function(*arguments)), 0.0)

    return cost.flops_per_step(jax.jit(steps).trace(*map(jnp.zeros, shapes)).jaxpr)


def test_flops_by_hand():
    """Products, convolutions in groups and loops of products."""
    assert flops(jnp.matmul, (4, 8), (8, 5)) == 2 * 4 * 8 * 5
    assert flops(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (3, 4, 8), (3, 8, 5)) == 3 * 320
    assert flops(jax.nn.relu, (4, 8)) == 0.0

    def recurrent(x, w):
        return jax.lax.scan(lambda h, _: (jnp.tanh(h @ w), None), x, None, length=7)[0]

    assert flops(recurrent, (4, 8), (8, 8)) == 7 * 2 * 4 * 8 * 8

    def convolution(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (2,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=3
        )

    assert flops(convolution, (2, 16, 6), (5, 2, 9)) == 2 * 2 * 8 * 9 * (5 * 2)

    def either(x, w):
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ w @ w, lambda: x @ w)

    assert flops(either, (4, 8), (8, 8)) == 2 * 2 * 4 * 8 * 8


@pytest.mark.parametrize(
    ("kind", "peak"),
    [("NVIDIA H100 80GB HBM3", 989e12), ("TPU v5 lite", 197e12), ("TPU v5", 459e12), ("cpu", None)],
)
def test_peaks(kind, peak):
    assert cost.peak_flops(kind) == peak
