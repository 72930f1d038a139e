"""Speaker encoders: a clip of any length becomes a point on the unit sphere.

Shape letters: B batch, T frames, D features a frame, W channels, H hidden, E embedding.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from lin_jax.models.layers import (
    BatchNorm,
    Dense,
    StatisticsPooling,
    conv,
    every,
    frame_mask,
    residual_stages,
)
from lin_jax.models.registry import register
from lin_jax.vectors import unit_norm


@register
class SpeakerEncoder(nn.Module):
    """A residual network over log-mel frames with attentive statistics pooling.

    The design is that of the x-vector (Snyder et al. 2018) with residual blocks (He et al. 2016)
    before the pooling.

    Attributes:
        widths: channels of each stage; every stage after the first halves time and frequency.
        blocks: residual blocks in each stage.
        hidden: features a frame that are pooled over time.
        embedding: E.
        dropout: share of the pooled features dropped in training.
    """

    widths: Sequence[int] = (32, 64, 128, 160)
    blocks: Sequence[int] = (0, 1, 1, 1)
    hidden: int = 256
    embedding: int = 192
    dropout: float = 0.0

    @nn.compact
    def __call__(self, features, num_frames, *, train=False):
        """Embeds the speaker of every clip.

        Args:
            features: float [B, T, D], normalised; frames past `num_frames` do not matter.
            num_frames: int [B], real frames of each clip.
            train: whether BatchNorm uses the batch and dropout is on (needs the "dropout" rng).

        Returns:
            Embeddings [B, E] float32 of length one.
        """
        x, mask = residual_stages(features, num_frames, self.widths, self.blocks, train=train)
        x = nn.relu(
            BatchNorm()(Dense(self.hidden, use_bias=False)(x), mask, train=train)
        )  # [B, T', H]
        x = BatchNorm()(StatisticsPooling()(x, mask[..., 0]), train=train)  # [B, 2H]
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return unit_norm(BatchNorm()(nn.Dense(self.embedding, use_bias=False)(x), train=train))


@register
class SmallSpeakerEncoder(nn.Module):
    """Three convolutional blocks with max-pooling and two dense layers, for crops of about 3 s.

    Where the original flattens a crop of fixed length before the dense layers, this one averages
    over time, so that a clip of any length has an embedding and padding changes nothing.

    Attributes:
        widths: channels of each block, which halves time and frequency.
        hidden: features of the dense layer before the embedding.
        embedding: E.
    """

    widths: Sequence[int] = (32, 64, 128)
    hidden: int = 512
    embedding: int = 128

    @nn.compact
    def __call__(self, features, num_frames, *, train=False):
        """Embeds the speaker of every clip; arguments and result as in `SpeakerEncoder`."""
        mask = frame_mask(num_frames, features.shape[1])[:, :, None, None]
        x = jnp.where(mask, features[..., None], 0.0)
        for width in self.widths:
            # Not negative: padding never wins.
            x = nn.relu(BatchNorm()(conv(width, 3)(x), mask, train=train)) * mask
            x = nn.max_pool(x, (2, 2), (2, 2), padding=((0, 1), (0, 1)))
            mask = every(mask, 2)
        x = jnp.mean(x.reshape(*x.shape[:2], -1), axis=1, where=mask[:, :, 0])  # [B, D/8 W]
        x = nn.relu(nn.Dense(self.hidden)(x))
        return unit_norm(nn.Dense(self.embedding)(x))


@register
class FunctionalEncoder(nn.Module):
    """One dense layer over the functionals of a clip.

    Attributes:
        embedding: E.
        limit: what functionals are cut to, in standard deviations: a few of them have long tails.
    """

    embedding: int = 400
    limit: float = 4.0

    @nn.compact
    def __call__(self, features, num_frames, *, train=False):
        """Embeds the speaker of every clip, whose one frame [B, 1, D] is its functionals.

        Else as `SpeakerEncoder`.
        """
        return unit_norm(
            nn.Dense(self.embedding)(jnp.clip(features[:, 0], -self.limit, self.limit))
        )
