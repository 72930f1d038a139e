"""Layers that several networks share; all of them ignore padded frames.

Shape letters: B batch, T frames, D features a frame, W channels, H hidden features.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.experimental import rnn

from lin_jax.models.convolution import Conv

INAUDIBLE = 1e-8  # power below all that is heard: the gradient of a square root stays finite


def frame_mask(num_frames, length):
    """Marks the real frames of a padded batch.

    Args:
        num_frames: int [B], how many leading frames of each row are real.
        length: T, frames in the padded batch.

    Returns:
        bool [B, T].
    """
    return jnp.arange(length) < num_frames[:, None]


def every(mask, stride: int):
    """The mask [B, T, ...] of every `stride`-th frame: as many frames as a convolution leaves of any T."""
    # Its size is the formula of a convolution, and so equal to it where T is a symbol.
    return jax.lax.slice_in_dim(mask, 0, None, stride, axis=1)


def normalised(x):
    """Features [..., W] at a root mean square of one.

    The weights of the next layer are scale enough.
    """
    return x * jax.lax.rsqrt(jnp.mean(x**2, axis=-1, keepdims=True) + 1e-6)


class Dense(nn.Dense):
    """`nn.Dense` of x [..., D] as one matrix [positions, D], with the same parameters.

    On CPU its gradient is up to several times as fast as that of more axes.
    """

    def __call__(self, x):
        """Maps x [..., D] to [..., features]."""
        y = super().__call__(x.reshape(-1, x.shape[-1]))
        return y.reshape(*x.shape[:-1], self.features)


class BatchNorm(nn.Module):
    """Batch normalisation over real frames only (Ioffe & Szegedy 2015).

    Under `jax.jit` on a mesh the statistics are those of the global batch.
    """

    momentum: float = 0.9

    @nn.compact
    def __call__(self, x, mask=None, *, train):
        return nn.BatchNorm(use_running_average=not train, momentum=self.momentum)(
            x, mask=mask if train else None
        )


class SqueezeExcitation(nn.Module):
    """Scales each channel by a gate read from its mean over real positions (Hu et al. 2018)."""

    reduction: int = 4

    @nn.compact
    def __call__(self, x, mask):
        """Gates x [B, ..., H] by its masked mean; mask [B, ..., 1] broadcasts against x."""
        axes = tuple(range(1, x.ndim - 1))
        gate = jnp.mean(x, axis=axes, where=mask)
        gate = nn.Dense(x.shape[-1])(nn.relu(nn.Dense(x.shape[-1] // self.reduction)(gate)))
        return x * jax.nn.sigmoid(gate).reshape(gate.shape[0], *(1,) * len(axes), -1)


class StatisticsPooling(nn.Module):
    """Mean and standard deviation over time, attentive or plain (Okabe et al. 2018; Snyder et al.
    2017).

    With `attention` each channel weighs the frames by its own softmax; the weights are sown as
    intermediates under "attention" [B, T, H] and sum to one over real frames.
    """

    attention: bool = True
    hidden: int = 64

    @nn.compact
    def __call__(self, x, mask):
        """Pools x [B, T, H] under mask [B, T] into [B, 2H]."""
        mask = mask[..., None]
        scores = jnp.zeros_like(x)
        if self.attention:
            scores = Dense(x.shape[-1])(jnp.tanh(Dense(self.hidden)(x)))
        weights = jax.nn.softmax(scores, axis=1, where=mask)
        self.sow("intermediates", "attention", weights)
        mean = jnp.sum(weights * x, axis=1)
        variance = jnp.sum(weights * x**2, axis=1) - mean**2
        return jnp.concatenate([mean, jnp.sqrt(jnp.maximum(variance, 1e-5))], axis=-1)


def conv(width, kernel, strides=(1, 1)):
    """A bias-free convolution with explicit padding: however far a batch is padded, it is the same."""
    size = kernel // 2
    return Conv(
        width, (kernel, kernel), strides, padding=((size, size), (size, size)), use_bias=False
    )


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with squeeze-and-excitation around an identity (He et al. 2016)."""

    width: int
    stride: int = 1

    @nn.compact
    def __call__(self, x, mask, *, train):
        """Maps x [B, T, D, W], mask [B, T, 1, 1] to [B, T/stride, D/stride, width] and its mask."""
        shortcut = x
        if self.stride > 1:
            window = (self.stride, self.stride)
            shortcut = nn.avg_pool(x, window, window, padding=((0, 1), (0, 1)))
        if shortcut.shape[-1] != self.width:
            shortcut = Dense(self.width, use_bias=False)(shortcut)
        mask = every(mask, self.stride)
        x = conv(self.width, 3, (self.stride, self.stride))(x)
        x = nn.relu(BatchNorm()(x, mask, train=train)) * mask
        x = conv(self.width, 3)(x)
        x = SqueezeExcitation()(BatchNorm()(x, mask, train=train), mask)
        return nn.relu(shortcut + x) * mask, mask


def residual_stages(features, num_frames, widths: Sequence[int], blocks: Sequence[int], *, train):
    """Runs a 5×5 stem of stride 2 and stages of residual blocks over frames.

    It is called inside a network's own `__call__`.

    Args:
        features: float [B, T, D]; frames past `num_frames` do not matter.
        num_frames: int [B], real frames of each clip.
        widths: channels of each stage, the stem's being the first; every stage after the first with
            a block halves time and frequency.
        blocks: residual blocks in each stage.
        train: whether BatchNorm uses the batch.

    Returns:
        x [B, T', D' W], the frequencies and channels of a frame side by side, and the mask of real
        frames [B, T', 1].
    """
    mask = frame_mask(num_frames, features.shape[1])[:, :, None, None]
    x = jnp.where(mask, features[..., None], 0.0)
    mask = every(mask, 2)
    x = conv(widths[0], 5, (2, 2))(x)
    x = nn.relu(BatchNorm()(x, mask, train=train)) * mask  # [B, T/2, D/2, W]
    for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            x, mask = ResidualBlock(width, stride)(x, mask, train=train)
    return x.reshape(*x.shape[:2], -1), mask[:, :, 0]


class ResidualConv(nn.Module):
    """A convolution over time, and over bands where there are any, around an identity.

    Attributes:
        taps: size of the kernel along time and, where there are bands, across them.
        dilation: frames from one tap to the next.
    """

    taps: Sequence[int] = (3, 3)
    dilation: int = 1

    @nn.compact
    def __call__(self, x, mask=None):
        """Maps x [B, T, ..., W] to the same shape; frames outside of mask [B, T] do not count."""
        dilation = (self.dilation, *(1,) * len(self.taps[1:]))
        reach = [size // 2 * step for size, step in zip(self.taps, dilation, strict=True)]
        padding = [(size, size) for size in reach]
        y = normalised(x)
        if mask is not None:
            y = y * mask.reshape(*mask.shape, *(1,) * (x.ndim - 2))
        return x + nn.silu(
            Conv(x.shape[-1], tuple(self.taps), kernel_dilation=dilation, padding=padding)(y)
        )


class GRU(nn.Module):
    """A gated recurrent unit over frames, which goes on from a state (Cho et al. 2014)."""

    @nn.compact
    def __call__(self, x, state):
        """Maps x [B, T, ..., D] and a state [B, ..., H] to [B, T, ..., H] and the state after it."""
        H = state.shape[-1]
        kernel = self.param("kernel", nn.initializers.orthogonal(), (H, 3 * H))
        bias = self.param("bias", nn.initializers.zeros, (H,))

        def step(state, gates):
            here, there = jnp.split(gates, [2 * H], axis=-1)
            kept, new = jnp.split(state @ kernel, [2 * H], axis=-1)
            reset, update = jnp.split(jax.nn.sigmoid(here + kept), 2, axis=-1)
            state = update * state + (1 - update) * jnp.tanh(there + reset * (new + bias))
            return state, state

        gates = jnp.moveaxis(Dense(3 * H)(x), 1, 0)
        state, y = jax.lax.scan(step, state, gates)
        return jnp.moveaxis(y, 0, 1), state


def split_bands(bands, width, *values):
    """Several values of each bin, each [B, T, F], to bands [B, T, K, width].

    Like `join_bands`, it is called inside a network's own `__call__`.

    Args:
        bands: groups of bands from the lowest on, each (bands, bins in a band); K bands in all. A
            group has weights of its own, and all its bands the same ones.
        width: channels of a band.
        *values: of at least as many bins.
    """
    groups, start = [], 0
    for count, bins in bands:
        end = start + count * bins
        parts = [value[:, :, start:end].reshape(*value.shape[:2], count, bins) for value in values]
        groups.append(Dense(width)(jnp.concatenate(parts, axis=-1)))
        start = end
    return jnp.concatenate(groups, axis=2)


def join_bands(x, bands, size):
    """Bands [B, T, K, W] to `size` values of each bin, each [B, T, F].

    There is one bin more than the bands hold; its values are zero, and all others are small before
    training.
    """
    groups, start = [], 0
    for count, bins in bands:
        y = x[:, :, start : start + count]
        y = Dense(size * bins, kernel_init=nn.initializers.normal(0.003))(y)
        groups.append([part.reshape(*x.shape[:2], -1) for part in jnp.split(y, size, axis=-1)])
        start += count
    joined = (jnp.concatenate(parts, axis=-1) for parts in zip(*groups, strict=True))
    return [jnp.pad(part, ((0, 0), (0, 0), (0, 1))) for part in joined]


def compress(spectrum):
    """Complex values, each divided by the root of its size: real, imaginary parts, and the sizes."""
    size = jnp.sqrt(spectrum.real**2 + spectrum.imag**2 + INAUDIBLE)
    shrink = jax.lax.rsqrt(size)
    return spectrum.real * shrink, spectrum.imag * shrink, size


def expand(real, imaginary):
    """The complex values that `compress` made these parts of."""
    grow = jnp.sqrt(real**2 + imaginary**2 + INAUDIBLE)
    return jax.lax.complex(real * grow, imaginary * grow)


class DepthwiseConv(nn.Module):
    """A convolution over time of each feature alone, as a sum of shifted frames.

    XLA's grouped convolutions are many times slower, on CPU above all.

    Attributes:
        size: taps of the kernel, odd.
        dilation: frames from one tap to the next.
    """

    size: int = 7
    dilation: int = 1

    @nn.compact
    def __call__(self, x):
        """Maps x [B, T, W] to the same shape; zeros surround the frames."""
        T, W = x.shape[1:]
        kernel = self.param("kernel", nn.initializers.lecun_normal(0, 1), (self.size, W))
        bias = self.param("bias", nn.initializers.zeros, (W,))
        reach = self.size // 2 * self.dilation
        x = jnp.pad(x, ((0, 0), (reach, reach), (0, 0)))
        taps = (x[:, k * self.dilation : k * self.dilation + T] for k in range(self.size))
        return bias + sum(kernel[k] * tap for k, tap in enumerate(taps))


class FusedLSTM(nn.Module):
    """An LSTM over whole sequences, in one direction or both (Hochreiter & Schmidhuber 1997).

    A single call of cuDNN on one NVIDIA GPU, and a scan elsewhere: the compiler cannot split the
    call over several devices, and it is float32 alone, as it stays where `training.precision` has
    other layers compute in bfloat16. The parameters are those of `nn.OptimizedLSTMCell` either way,
    one cell a direction.

    Attributes:
        features: H, of each direction.
        bidirectional: whether the sequence is read backwards, too.
        unroll: steps of the scan computed together.
        dtype: of the computation.
    """

    features: int
    bidirectional: bool = False
    unroll: int = 1
    dtype: Any = None

    @nn.compact
    def __call__(self, x, length):
        """Maps x [B, T, D] to [B, T, H], or [B, T, 2 H] in both directions; zero on padding.

        Of x `length` [B] frames are real.
        """
        directions = (False, True) if self.bidirectional else (False,)
        cells = [nn.OptimizedLSTMCell(self.features, dtype=self.dtype) for _ in directions]
        if _has_cudnn(self.dtype) and not self.is_initializing():
            weights = pack_lstm_weights([cell.variables["params"] for cell in cells])
            start = jnp.zeros((len(cells), len(x), self.features))
            sizes = x.shape[-1], self.features, 1, 0.0, self.bidirectional
            steps = jnp.maximum(length, 1).astype(jnp.int32)
            x, _, _ = rnn.lstm(x.astype(jnp.float32), start, start, weights, steps, *sizes)
        else:
            passes = [
                nn.RNN(cell, unroll=self.unroll, reverse=reverse, keep_order=True)
                for cell, reverse in zip(cells, directions, strict=True)
            ]
            x = jnp.concatenate([read(x, seq_lengths=length) for read in passes], axis=-1)
        return jnp.where(frame_mask(length, x.shape[1])[..., None], x, 0.0)


def _has_cudnn(dtype):
    """Whether this process can leave an LSTM in such a format to cuDNN."""
    devices = jax.devices()
    gpu = len(devices) == 1 and devices[0].device_kind.startswith("NVIDIA")
    return gpu and dtype in (None, jnp.float32)


def pack_lstm_weights(cells):
    """Parameters of `nn.OptimizedLSTMCell`, of one cell a direction, as cuDNN reads them.

    Returns:
        [N]: the kernels of the input and of the state, [4 H, D] and [4 H, H], of each direction,
        and then their biases [4 H], of which that of the input is zero.
    """
    kernels, biases = [], []
    for cell in cells:
        bias = jnp.concatenate([cell[f"h{gate}"]["bias"] for gate in "ifgo"])
        kernels += [cell[side + gate]["kernel"].T for side in "ih" for gate in "ifgo"]
        biases += [jnp.zeros_like(bias), bias]
    return jnp.concatenate([part.ravel() for part in kernels + biases])
