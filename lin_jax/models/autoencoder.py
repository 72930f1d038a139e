"""Networks that repair a waveform.

An encoder, a bottleneck and a decoder over the frames of its spectrum.

Shape letters: B batch, N samples, T frames, F frequency bins, K bands, W channels of a band, H
hidden, M mel bins.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from lin_jax.audio.frontend import istft, mel_filter_bank, mel_spectrogram, power_to_db, stft
from lin_jax.errors import ConfigError
from lin_jax.models.layers import (
    Dense,
    ResidualConv,
    compress,
    expand,
    frame_mask,
    join_bands,
    normalised,
    split_bands,
)
from lin_jax.models.registry import register


@register
class SpectralAutoencoder(nn.Module):
    """A convolutional autoencoder of the complex spectrum that multiplies every bin and adds to it.

    Bands of bins become channels, by the same weights for bands of one size, as in Y. Luo and J.
    Yu, "Music source separation with band-split RNN", IEEE/ACM TASLP 31, 2023. The encoder halves
    the bands and squeezes them to a bottleneck, in which dilated convolutions look far in time, as
    in A. Pandey and D. Wang, "TCNN: temporal convolutional neural network for real-time speech
    enhancement", ICASSP 2019; the decoder goes the way back, with a skip at either width. The mask
    and what is added are of the square roots of magnitudes, so that what is soft counts too;
    untrained, the network changes next to nothing.

    Attributes:
        sample_rate: of the waveforms, in Hz.
        n_fft: frame in samples, even.
        hop_length: samples from one frame to the next.
        bands: groups of bands from the lowest on, each (bands, bins in a band); together n_fft / 2
            bins in an even number of bands. The bin at half the sample rate stays as it is.
        width: channels of a band.
        inner_width: channels of two bands joined.
        outer: dilations in time of the encoder's convolutions before the bands are joined; the
            decoder mirrors them.
        inner: the same after.
        bottleneck: channels of two bands in the bottleneck.
        hidden: channels of a frame in the middle.
        middle: dilations of its convolutions.
        shifts: how often a waveform is repaired, each time with its frames laid elsewhere; the mean
            is a little better than one, and costs so much more. The parameters are the same.
    """

    sample_rate: int = 16000
    n_fft: int = 512
    hop_length: int = 256
    bands: Sequence[tuple[int, int]] = ((16, 4), (8, 8), (8, 16))
    width: int = 32
    inner_width: int = 64
    outer: Sequence[int] = (1,)
    inner: Sequence[int] = (2,)
    bottleneck: int = 16
    hidden: int = 256
    middle: Sequence[int] = (1, 2, 4, 8, 16, 32, 16, 8, 4, 2, 1)
    shifts: int = 1

    @property
    def context_seconds(self) -> float:
        """How far from a sample the input still matters to it, earlier or later.

        Beyond, not at all.
        """
        reach = 2 * sum(self.outer) + 2 * sum(self.inner) + sum(self.middle)  # frames, either way
        return (reach * self.hop_length + self.n_fft) / self.sample_rate

    def deepened(self, params, added: int) -> dict:
        """The parameters of this network with more convolutions at the end of its middle.

        These change nothing yet.

        Args:
            params: of this network.
            added: how many convolutions; any dilations may be given to them.
        """
        first = len(self.outer) + len(self.inner) + len(self.middle)  # convolution after the middle
        larger = {}
        for name, layer in params.items():
            kind, _, number = name.rpartition("_")
            later = kind == "ResidualConv" and int(number) >= first
            larger[f"{kind}_{int(number) + added}" if later else name] = layer
        for number in range(first, first + added):
            larger[f"ResidualConv_{number}"] = jax.tree.map(
                jnp.zeros_like, params[f"ResidualConv_{first - 1}"]
            )
        return larger

    @nn.compact
    def __call__(self, waveform, length=None, *, train=False):
        """Repairs waveforms.

        Args:
            waveform: float [B, N].
            length: int [B], valid samples of each, past which nothing counts and the output is
                zero; None means all.
            train: nothing here depends on it.

        Returns:
            float32 [B, N].
        """
        del train
        B, N = waveform.shape
        if length is None and self.shifts == 1:
            return self._repair(waveform)
        length = jnp.full(B, N) if length is None else length
        waveform = jnp.where(frame_mask(length, N), waveform, 0.0)
        shifts = [view * self.hop_length // self.shifts for view in range(self.shifts)]
        later = jnp.concatenate(
            [jnp.pad(waveform, ((0, 0), (shift, shifts[-1] - shift))) for shift in shifts]
        )
        repaired = self._repair(later, jnp.concatenate([length + shift for shift in shifts]))
        repaired = jnp.split(repaired, self.shifts)
        repaired = (
            sum(view[:, shift : shift + N] for view, shift in zip(repaired, shifts, strict=True))
            / self.shifts
        )
        return jnp.where(frame_mask(length, N), repaired, 0.0)

    def _repair(self, waveform, length=None):
        """Waveforms [B, N], zero past their lengths [B], repaired once."""
        B, N = waveform.shape
        K = sum(count for count, _ in self.bands)
        if sum(count * bins for count, bins in self.bands) != self.n_fft // 2 or K % 2:
            raise ConfigError(
                f"bands {self.bands} must be even in number and hold {self.n_fft // 2} bins: "
                "change them"
            )
        mask = None
        if length is not None:
            mask = frame_mask(
                *(_num_frames(n, self.n_fft, self.hop_length) for n in (length, N))
            )  # [B, T]

        def convolve(x, dilations):
            for dilation in dilations:
                x = ResidualConv((3, 3), dilation)(x, mask)
            return x

        spectrum = _spectrum(waveform, self.n_fft, self.hop_length)  # [B, T, F]
        T = spectrum.shape[1]
        real, imaginary, size = compress(spectrum)
        x = split_bands(self.bands, self.width, real, imaginary, jnp.log10(size))  # [B, T, K, W]
        x = x + self.param("outer_place", nn.initializers.normal(0.1), x.shape[2:])
        outer = x = convolve(x, self.outer)
        x = Dense(self.inner_width)(normalised(x).reshape(B, T, K // 2, -1))
        x = x + self.param("inner_place", nn.initializers.normal(0.1), x.shape[2:])
        x = convolve(x, self.inner)

        y = Dense(self.bottleneck)(normalised(x)).reshape(B, T, -1)
        y = Dense(self.hidden)(y)  # [B, T, H]
        for dilation in self.middle:
            y = ResidualConv((3,), dilation)(y, mask)
        y = nn.silu(Dense(K // 2 * self.bottleneck)(normalised(y))).reshape(B, T, K // 2, -1)

        x = convolve(x + Dense(self.inner_width)(y), self.inner[::-1])
        x = outer + Dense(2 * self.width)(normalised(x)).reshape(outer.shape)
        x = convolve(x, self.outer[::-1])
        a, b, c, d = join_bands(normalised(x), self.bands, 4)  # each [B, T, F]
        real, imaginary = (1 + a) * real - b * imaginary + c, (1 + a) * imaginary + b * real + d
        return istft(expand(real, imaginary), self.hop_length, self.n_fft, N)


@register
class MelAutoencoder(nn.Module):
    """An autoencoder of single log-mel frames, for comparison.

    Dense layers down to a bottleneck and up again.

    It takes a single frame at a time, so what it repairs is the spectral shape. Its log-mel frames
    become a waveform as a gain of each mel band on the spectrum of the input, whose phases stay.

    Attributes:
        sample_rate: of the waveforms, in Hz.
        n_fft: frame in samples, even.
        hop_length: samples from one frame to the next.
        n_mels: M.
        widths: hidden features of the encoder's layers; the last one is the bottleneck.
    """

    sample_rate: int = 16000
    n_fft: int = 512
    hop_length: int = 256
    n_mels: int = 64
    widths: Sequence[int] = (256, 128, 32)

    @property
    def context_seconds(self) -> float:
        """How far from a sample the input still matters to it, earlier or later."""
        return self.n_fft / self.sample_rate

    @nn.compact
    def __call__(self, waveform, length=None, *, train=False):
        """Repairs waveforms; arguments and result as in `SpectralAutoencoder`."""
        del train
        N = waveform.shape[1]
        if length is not None:
            waveform = jnp.where(frame_mask(length, N), waveform, 0.0)
        spectrum = _spectrum(waveform, self.n_fft, self.hop_length)  # [B, T, F]
        bank = mel_filter_bank(self.sample_rate, self.n_fft, self.n_mels, 0.0, None)
        log_mel = power_to_db(mel_spectrogram(spectrum, bank)) / 20  # [B, T, M]
        x = log_mel
        for width in self.widths:
            x = nn.relu(Dense(width)(x))
        for width in (*self.widths[-2::-1], self.n_mels):
            x = Dense(width)(nn.relu(x))
        spread = bank / jnp.maximum(
            bank.sum(axis=0), 1e-8
        )  # [M, F], how much of a bin's gain is each band's
        gain = 10 ** jnp.minimum((x - log_mel) @ spread, 1.0)
        repaired = istft(spectrum * gain, self.hop_length, self.n_fft, N)
        return repaired if length is None else jnp.where(frame_mask(length, N), repaired, 0.0)


def _num_frames(num_samples, n_fft, hop_length):
    """Frames that reach into the first samples of a waveform."""
    return -(-(num_samples + n_fft // 2) // hop_length)


def _spectrum(waveform, n_fft, hop_length):
    """The STFT [B, T, F] of waveforms [B, N], with as many frames over the ends as elsewhere.

    From the faint end of one frame alone, the inverse would have to guess them.
    """
    N = waveform.shape[1]
    waveform = jnp.pad(
        waveform, ((0, 0), (0, (_num_frames(N, n_fft, hop_length) - 1) * hop_length - N))
    )
    return stft(waveform, n_fft, hop_length, n_fft)
