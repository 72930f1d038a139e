"""Residual networks that name a clip: convolutional over its spectrogram, or dense over its statistics.

Shape letters: B batch, T frames, D features a frame, W channels, H hidden, C classes.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from lin_jax.models.layers import BatchNorm, SqueezeExcitation, StatisticsPooling, frame_mask


def conv(width, kernel, strides=(1, 1)):
    """A bias-free convolution whose explicit padding gives the same output however far the batch is padded."""
    size = kernel // 2
    return nn.Conv(width, (kernel, kernel), strides, padding=((size, size), (size, size)), use_bias=False)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with squeeze-and-excitation around an identity (He et al. 2016)."""

    width: int
    stride: int = 1

    @nn.compact
    def __call__(self, x, mask, *, train):
        """Maps x [B, T, D, W] under mask [B, T, 1, 1] to (x [B, T/stride, D/stride, width], its mask)."""
        shortcut = x
        if self.stride > 1:
            window = (self.stride, self.stride)
            shortcut = nn.avg_pool(x, window, window, padding=((0, -x.shape[1] % 2), (0, -x.shape[2] % 2)))
        if shortcut.shape[-1] != self.width:
            shortcut = nn.Dense(self.width, use_bias=False)(shortcut)
        mask = mask[:, :: self.stride]
        x = conv(self.width, 3, (self.stride, self.stride))(x)
        x = nn.relu(BatchNorm()(x, mask, train=train)) * mask
        x = conv(self.width, 3)(x)
        x = SqueezeExcitation()(BatchNorm()(x, mask, train=train), mask)
        return nn.relu(shortcut + x) * mask, mask


class ResidualClassifier(nn.Module):
    """A convolutional residual network over MFCC or log-mel frames with attentive statistics pooling.

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
        mask = frame_mask(num_frames, features.shape[1])[:, :, None, None]
        x = jnp.where(mask, features[..., None], 0.0)
        mask = mask[:, ::2]
        x = conv(self.widths[0], 5, (2, 2))(x)
        x = nn.relu(BatchNorm()(x, mask, train=train)) * mask  # [B, T/2, D/2, W]
        for stage, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                x, mask = ResidualBlock(width, stride)(x, mask, train=train)
        x = x.reshape(*x.shape[:2], -1)
        mask = mask[:, :, 0]
        x = nn.relu(BatchNorm()(nn.Dense(self.hidden)(x), mask, train=train))  # [B, T/16, H]
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


class DenseResidualClassifier(nn.Module):
    """Dense residual blocks over the mean and deviation of a clip's frames: small, fast, and a baseline.

    Attributes:
        num_classes: C, labels to tell apart.
        hidden: H, width of every block.
        blocks: residual blocks.
        dropout: share of hidden features dropped in training.
    """

    num_classes: int
    hidden: int = 256
    blocks: int = 3
    dropout: float = 0.3

    @nn.compact
    def __call__(self, features, num_frames, *, train):
        """Scores every clip against every label; arguments and result as in `ResidualClassifier`."""
        x = StatisticsPooling(attention=False)(features, frame_mask(num_frames, features.shape[1]))
        x = nn.relu(BatchNorm()(nn.Dense(self.hidden)(BatchNorm()(x, train=train)), train=train))
        for _ in range(self.blocks):
            x = DenseResidualBlock(self.dropout)(x, train=train)
        return nn.Dense(self.num_classes)(x)
