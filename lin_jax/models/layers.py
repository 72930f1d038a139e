"""Layers that several networks share; all of them ignore padded frames.

Shape letters: B batch, T frames, H hidden features.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


def frame_mask(num_frames, length):
    """Marks the real frames of a padded batch.

    Args:
        num_frames: int [B], how many leading frames of each row are real.
        length: T, frames in the padded batch.

    Returns:
        bool [B, T].
    """
    return jnp.arange(length) < num_frames[:, None]


class BatchNorm(nn.Module):
    """Batch normalisation over real frames only (Ioffe & Szegedy 2015).

    Under `jax.jit` on a mesh the statistics are those of the global batch.
    """

    momentum: float = 0.9

    @nn.compact
    def __call__(self, x, mask=None, *, train):
        return nn.BatchNorm(use_running_average=not train, momentum=self.momentum)(x, mask=mask if train else None)


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
    """Mean and standard deviation over time, attentive or plain (Okabe et al. 2018; Snyder et al. 2017).

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
            scores = nn.Dense(x.shape[-1])(jnp.tanh(nn.Dense(self.hidden)(x)))
        weights = jax.nn.softmax(scores, axis=1, where=mask)
        self.sow("intermediates", "attention", weights)
        mean = jnp.sum(weights * x, axis=1)
        variance = jnp.sum(weights * x**2, axis=1) - mean**2
        return jnp.concatenate([mean, jnp.sqrt(jnp.maximum(variance, 1e-5))], axis=-1)
