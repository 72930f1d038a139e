"""Residual networks that name a clip.

Convolutional over its spectrogram, or dense over its statistics.

Shape letters: B batch, T frames, D features a frame, W channels, H hidden, C classes.
"""

from collections.abc import Sequence

import flax.linen as nn

from lin_jax.models.layers import BatchNorm, Dense, StatisticsPooling, frame_mask, residual_stages
from lin_jax.models.registry import register


@register
class ResidualClassifier(nn.Module):
    """A 2-D residual network over MFCC or log-mel frames with attentive statistics pooling.

    Attributes:
        num_classes: C, labels to tell apart.
        widths: channels of each stage; every stage after the first halves time and frequency.
        blocks: residual blocks in each stage.
        hidden: features a frame that are pooled over time.
        attention: attentive pooling, or the plain mean and deviation.
        dropout: share of the pooled features dropped in training.
    """

    num_classes: int
    widths: Sequence[int] = (24, 48, 96, 128)
    blocks: Sequence[int] = (0, 1, 1, 1)
    hidden: int = 192
    attention: bool = True
    dropout: float = 0.3

    @nn.compact
    def __call__(self, features, num_frames, *, train):
        """Scores every clip against every label.

        Args:
            features: float [B, T, D], normalised; frames past `num_frames` do not matter.
            num_frames: int [B], real frames of each clip.
            train: whether BatchNorm uses the batch and dropout is on (needs the "dropout" rng).

        Returns:
            logits [B, C].
        """
        x, mask = residual_stages(features, num_frames, self.widths, self.blocks, train=train)
        x = nn.relu(BatchNorm()(Dense(self.hidden)(x), mask, train=train))  # [B, T/16, H]
        x = BatchNorm()(StatisticsPooling(self.attention)(x, mask[..., 0]), train=train)  # [B, 2H]
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_classes)(x)


class DenseResidualBlock(nn.Module):
    """Dense, BatchNorm, ReLU and Dropout twice around an identity."""

    dropout: float

    @nn.compact
    def __call__(self, x, *, train):
        """Maps x [B, H] to [B, H]."""
        shortcut = x
        for _ in range(2):
            x = nn.relu(BatchNorm()(nn.Dense(x.shape[-1], use_bias=False)(x), train=train))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return shortcut + x


@register
class DenseResidualClassifier(nn.Module):
    """Dense residual blocks over the mean and deviation of a clip's frames.

    Small, fast, and a baseline.

    Attributes:
        num_classes: C, labels to tell apart.
        hidden: H, width of every block.
        blocks: residual blocks.
        dropout: share of hidden features dropped in training.
    """

    num_classes: int
    hidden: int = 128
    blocks: int = 1
    dropout: float = 0.3

    @nn.compact
    def __call__(self, features, num_frames, *, train):
        """Scores every clip against every label.

        Arguments and result as in `ResidualClassifier`.
        """
        x = StatisticsPooling(attention=False)(features, frame_mask(num_frames, features.shape[1]))
        x = nn.relu(BatchNorm()(nn.Dense(self.hidden)(BatchNorm()(x, train=train)), train=train))
        for _ in range(self.blocks):
            x = DenseResidualBlock(self.dropout)(x, train=train)
        return nn.Dense(self.num_classes)(x)
