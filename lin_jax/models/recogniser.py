"""Which symbol is spoken in each frame, whoever speaks.

Shape letters: B clips, T frames, M mel bins, V kinds of symbols, W features of a frame.
"""

from collections.abc import Sequence

import flax.linen as nn

from lin_jax.models.layers import ResidualConv, normalised


class PhonemeRecogniser(nn.Module):
    """Dilated convolutions over mel frames that tell the symbols of speech frame by frame.

    Attributes:
        num_symbols: V.
        width: W.
        dilations: in frames, of one convolution after the other.
        dropout: after each.
    """

    num_symbols: int
    width: int = 192
    dilations: Sequence[int] = (1, 2, 4, 1, 2, 4)
    dropout: float = 0.1

    @nn.compact
    def __call__(self, mel, mask, *, train=False):
        """Logits of the symbols.

        Args:
            mel: normalised frames [B, T, M].
            mask: real frames [B, T]; others do not matter.
            train: whether dropout is on (needs the "dropout" rng).

        Returns:
            [B, T, V].
        """
        x = nn.Dense(self.width)(mel)
        for dilation in self.dilations:
            x = ResidualConv((3,), dilation)(x, mask)
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.num_symbols)(normalised(x))
