"""From mel frames to the spectrum of a waveform, phases included, for a vocoder.

H. Siuzdak, "Vocos: closing the gap between time-domain and Fourier-based neural vocoders for
high-quality audio synthesis", ICLR 2024.

Shape letters: B batch, T frames, M mel bins, F frequency bins, W features of a frame.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lin_jax.models.layers import Dense, DepthwiseConv
from lin_jax.models.registry import register

MAX_LOG_MAGNITUDE = 6.0  # natural logarithm; a sine at full scale reaches 4.9 in 512 samples


class ConvNeXtBlock(nn.Module):
    """A depthwise convolution over time and two dense layers, around an identity.

    Z. Liu et al., "A ConvNet for the 2020s", CVPR 2022.

    Attributes:
        hidden: features between the dense layers.
        scale: initial factor of what is added to the identity.
    """

    hidden: int
    scale: float

    @nn.compact
    def __call__(self, x, mask):
        """Maps x [B, T, W] to the same shape; frames outside of mask [B, T] are not used."""
        W = x.shape[-1]
        y = nn.LayerNorm()(DepthwiseConv()(x * mask[..., None]))
        y = Dense(W)(nn.gelu(Dense(self.hidden)(y)))
        return x + y * self.param("scale", nn.initializers.constant(self.scale), (W,))


@register
class Vocos(nn.Module):
    """ConvNeXt blocks over mel frames that predict magnitudes and phases for an inverse STFT.

    Each mel frame becomes `rate` frames of the spectrum: over short steps phases are easier to
    predict, and mel frames of 16 ms are long ones.

    Attributes:
        n_fft: FFT size of the spectrum in samples, even; F = n_fft / 2 + 1.
        rate: frames of the spectrum for one mel frame.
        width: W.
        hidden: features between the dense layers of a block.
        blocks: number of blocks.
    """

    n_fft: int = 512
    rate: int = 2
    width: int = 320
    hidden: int = 640
    blocks: int = 8

    @nn.compact
    def __call__(self, mel, mask):
        """The complex spectrum.

        Args:
            mel: normalised frames [B, T, M].
            mask: valid frames [B, T]; others are not used.

        Returns:
            complex64 [B, rate * T, F].
        """
        B, T, _ = mel.shape
        x = nn.Conv(self.rate * self.width, (7,))(mel * mask[..., None])
        x = nn.LayerNorm()(x.reshape(B, self.rate * T, self.width))
        mask = jnp.repeat(mask, self.rate, axis=1)
        for _ in range(self.blocks):
            x = ConvNeXtBlock(self.hidden, 1.0 / self.blocks)(x, mask)
        x = Dense(self.n_fft + 2)(nn.LayerNorm()(x))
        log_magnitude, phase = jnp.split(x, 2, axis=-1)
        magnitude = jnp.exp(jnp.minimum(log_magnitude, MAX_LOG_MAGNITUDE))
        return jax.lax.complex(magnitude * jnp.cos(phase), magnitude * jnp.sin(phase))
