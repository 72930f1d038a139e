"""From mel frames back to the spectrum they were made of, for a vocoder.

Shape letters: B batch, T frames, M mel bins, F frequency bins, W features of a frame.
"""

from collections.abc import Sequence

import flax.linen as nn

from lin_jax.models.layers import Dense, ResidualConv, normalised
from lin_jax.models.registry import register


@register
class SpectrumDecoder(nn.Module):
    """Dilated convolutions over mel frames that estimate STFT magnitudes.

    They say what the bands hide, such as high harmonics.

    Griffin-Lim finds phases well where frames overlap by three quarters, given the true magnitudes:
    it is these that mel bands lose. Untrained, the network leaves the spectrum that it is given as
    it is.

    Attributes:
        num_bins: F.
        width: W.
        dilations: in frames, of one convolution after the other.
    """

    num_bins: int
    width: int = 320
    dilations: Sequence[int] = (1, 2, 4, 8, 1, 2, 4, 8)

    @nn.compact
    def __call__(self, mel, smooth, mask):
        """Logarithms of magnitudes.

        Args:
            mel: normalised frames [B, T, M].
            smooth: logarithms of the magnitudes that spread the power of each band evenly [B, T,
                F].
            mask: real frames [B, T]; others do not count.

        Returns:
            [B, T, F].
        """
        x = Dense(self.width)(mel)
        for dilation in self.dilations:
            x = ResidualConv((3,), dilation)(x, mask)
        return smooth + Dense(self.num_bins, kernel_init=nn.initializers.zeros)(normalised(x))


class SpectrumDiscriminator(nn.Module):
    """Tells spectra of recordings from those that were made, patch by patch.

    Attributes:
        widths: channels of its convolutions, each of which takes every second frame and every
            fourth bin.
    """

    widths: Sequence[int] = (16, 32, 64)

    @nn.compact
    def __call__(self, spectrum):
        """Maps logarithms of magnitudes [B, T, F] to the score of each patch [B, T', F'].

        1 is recorded, 0 made.
        """
        x = spectrum[..., None]
        for width in self.widths:
            x = nn.leaky_relu(nn.Conv(width, (3, 9), (2, 4))(x), 0.2)
        return nn.Conv(1, (3, 3))(x)[..., 0]
