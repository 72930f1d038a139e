"""Convolutions whose gradient is fast on CPU, too.

Shape letters: B batch, H height, W width, I channels in, O channels out, K and L taps along height
and width.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp


def convolve(x, kernel, strides, padding, *, rhs_dilation, **given):
    """`jax.lax.conv_general_dilated` as `Conv` calls it.

    On CPU the gradient of a kernel over two axes is one product of matrices, up to three times as
    fast as XLA's own.

    Args:
        x: [B, H, W, I], or of any other number of axes.
        kernel: [K, L, I, O].
        strides: along each axis.
        padding: zeros before and after, ((top, bottom), (left, right)).
        rhs_dilation: from one tap to the next along each axis.
        **given: see `jax.lax.conv_general_dilated`.
    """
    apply = functools.partial(
        jax.lax.conv_general_dilated,
        window_strides=strides,
        padding=padding,
        rhs_dilation=rhs_dilation,
        **given,
    )
    if len(strides) != 2 or (strides[0] > 1 and rhs_dilation[0] > 1):
        return apply(x, kernel)

    def forwards(x, kernel):
        return apply(x, kernel), (x, kernel)

    def backwards(arguments, dy):
        x, kernel = arguments
        (dx,) = jax.linear_transpose(lambda x: apply(x, kernel), x)(dy)
        geometry = kernel.shape[:2], strides, padding, rhs_dilation
        dkernel = jax.lax.platform_dependent(
            x,
            dy,
            cpu=functools.partial(_kernel_gradient, *geometry),
            default=lambda x, dy: jax.linear_transpose(lambda w: apply(x, w), kernel)(dy)[0],
        )
        return dx, dkernel

    differentiable = jax.custom_vjp(apply)
    differentiable.defvjp(forwards, backwards)
    return differentiable(x, kernel)


# `nn.Conv`, with the same parameters; its padding is given as numbers.
Conv = functools.partial(nn.Conv, conv_general_dilated=convolve)


def _kernel_gradient(taps, strides, padding, dilation, x, dy):
    """The gradient [K, L, I, O] of a kernel from x [B, H, W, I] and that of the output [B, H', W', O].

    The columns of x that each tap meets are laid side by side, and the output's rows likewise: one
    product of both has all pairs of them, for K + L copies in place of K × L. Of a kernel that
    strides, rows of x that no tap meets together are side by side, too.
    """
    (K, L), (down, across), ((top, _), sides) = taps, strides, padding
    shifts, step = -(-K // down), dilation[0]  # tap k is at row k % down, of those k // down on
    rows, columns = dy.shape[1] + (shifts - 1) * step, dy.shape[2]
    below = down * rows - x.shape[1] - top  # less than none where the last rows meet no tap
    edges = (0, 0, 0), (top, below, 0), (*sides, 0), (0, 0, 0)
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), edges)
    x = [
        x[:, row::down, column * dilation[1] :: across][:, :, :columns]
        for row in range(down)
        for column in range(L)
    ]
    dy = [
        jnp.pad(dy, ((0, 0), (k * step, (shifts - 1 - k) * step), (0, 0), (0, 0)))
        for k in range(shifts)
    ]
    x, dy = (jnp.concatenate(side, axis=-1) for side in (x, dy))
    product = x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])
    product = product.reshape(down, L, -1, shifts, product.shape[1] // shifts)
    return jnp.moveaxis(product, 3, 0).reshape(shifts * down, L, *product.shape[2::2])[:K]
