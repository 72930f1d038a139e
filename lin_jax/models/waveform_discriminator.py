"""Networks that tell recorded waveforms from generated ones, to train a vocoder against.

Shape letters: B batch, N samples, T frames, F frequency bins, P period, C channels.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from lin_jax.audio.frontend import stft

LEVEL = 5.0  # factor by which speech at an RMS of -25 dB comes near the unit level of the networks
SLOPE = 0.1  # of the leaky rectifiers below zero


class PeriodDiscriminator(nn.Module):
    """Convolutions over every `period`-th sample of a waveform.

    J. Kong, J. Kim and J. Bae, "HiFi-GAN: generative adversarial networks for efficient and high
    fidelity speech synthesis", NeurIPS 2020.

    Attributes:
        period: P, in samples.
        channels: C of each layer; all but the last keep every third position.
        dtype: of the computation.
    """

    period: int
    channels: Sequence[int] = (32, 64, 128, 256, 512)
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x):
        """Scores [B, ...] of waveforms [B, N], high for recordings; layers' activations."""
        x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % self.period)))
        x = x.reshape(x.shape[0], -1, self.period, 1)
        activations = []
        for layer, channels in enumerate(self.channels):
            stride = 3 if layer < len(self.channels) - 1 else 1
            x = nn.leaky_relu(_conv(channels, (5, 1), (stride, 1), self.dtype)(x), SLOPE)
            activations.append(x)
        return _conv(1, (3, 1), (1, 1), self.dtype)(x), activations


class ResolutionDiscriminator(nn.Module):
    """Convolutions over the complex spectrum of a waveform, its magnitudes compressed.

    W. Jang et al., "UnivNet: a neural vocoder with multi-resolution spectrogram discriminators for
    high-fidelity waveform generation", Interspeech 2021.

    Attributes:
        n_fft: FFT size and window length in samples; the hop is a quarter of it.
        channels: C of each layer; all but the last keep every second bin.
        dtype: of the computation.
    """

    n_fft: int
    channels: Sequence[int] = (32, 32, 32, 32, 32)
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x):
        """Scores [B, ...] of waveforms [B, N], high for recordings; layers' activations."""
        spectrum = stft(x, self.n_fft, self.n_fft // 4, self.n_fft)
        # A magnitude becomes its power of 0.3, smoothly at zero.
        scale = (spectrum.real**2 + spectrum.imag**2 + 1e-4) ** -0.35
        x = jnp.stack([spectrum.real * scale, spectrum.imag * scale], axis=-1)  # [B, T, F, 2]
        activations = []
        for layer, channels in enumerate(self.channels):
            kernel, stride = ((3, 9), 2) if layer < len(self.channels) - 1 else ((3, 3), 1)
            x = nn.leaky_relu(_conv(channels, kernel, (1, stride), self.dtype)(x), SLOPE)
            activations.append(x)
        return _conv(1, (3, 3), (1, 1), self.dtype)(x), activations


class WaveformDiscriminator(nn.Module):
    """Discriminators of several periods and resolutions, each with its own scores.

    Attributes:
        periods: in samples.
        resolutions: FFT sizes in samples.
        period_channels: of every `PeriodDiscriminator`.
        resolution_channels: of every `ResolutionDiscriminator`.
        dtype: of the computation; bfloat16 pays on accelerators only.
    """

    periods: Sequence[int] = (2, 3, 5, 7, 11)
    resolutions: Sequence[int] = (2048, 1024, 512)
    period_channels: Sequence[int] = (32, 64, 128, 256, 512)
    resolution_channels: Sequence[int] = (32, 32, 32, 32, 32)
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x):
        """Maps waveforms [B, N] to lists of scores and of lists of activations, [B, ...]."""
        discriminators = [
            PeriodDiscriminator(period, self.period_channels, self.dtype) for period in self.periods
        ] + [
            ResolutionDiscriminator(n_fft, self.resolution_channels, self.dtype)
            for n_fft in self.resolutions
        ]
        outputs = [discriminator(LEVEL * x) for discriminator in discriminators]
        return [scores for scores, _ in outputs], [activations for _, activations in outputs]


def _conv(channels, kernel, strides, dtype):
    """A convolution with its kernel's norm apart from its direction (Salimans & Kingma 2016)."""
    return nn.WeightNorm(nn.Conv(channels, kernel, strides, dtype=dtype))
