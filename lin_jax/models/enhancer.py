"""A network that enhances a waveform while it is still going on.

Shape letters: B batch, N samples, T frames, K bands, W channels of a band, H hidden.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from lin_jax.errors import ConfigError
from lin_jax.models.layers import (
    GRU,
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
class CausalEnhancer(nn.Module):
    """Recurrent networks over the bands of a spectrum, which multiply every bin by a complex mask.

    A block remembers each band, by the same weights for all, looks at the neighbours of a band, and
    remembers the frame as a whole, as in X. Rong et al., "GTCRN: a speech enhancement model
    requiring ultralow computational resources", ICASSP 2024. The analysis window is longer than
    that of synthesis, so that bins are narrow and the latency is short (D. Mauler and R. Martin,
    "A low delay, variable resolution, perfect reconstruction spectral analysis-synthesis system for
    speech enhancement", EUSIPCO 2007). The mask is of the square roots of magnitudes; untrained,
    the network changes next to nothing.

    Attributes:
        sample_rate: of the waveforms, in Hz.
        n_fft: frame in samples, even.
        hop_length: samples from one frame to the next, at most n_fft / 2. What comes out has waited
            for two hops.
        bands: groups of bands from the lowest on, each (bands, bins in a band); together n_fft / 2
            bins. The bin at half the sample rate stays as it is.
        width: channels of a band.
        bottleneck: channels of a band that the frame as a whole is made of.
        hidden: features of a frame as a whole.
        blocks: how often all of this.
    """

    sample_rate: int = 16000
    n_fft: int = 512
    hop_length: int = 160
    bands: Sequence[tuple[int, int]] = ((8, 4), (4, 8), (4, 16), (4, 32))
    width: int = 32
    bottleneck: int = 8
    hidden: int = 72
    blocks: int = 2

    @property
    def context_seconds(self) -> float:
        """How far from a sample the input still matters to it: earlier ones fade from memory."""
        return 4.0

    @property
    def latency_seconds(self) -> float:
        """How much later than a sample the last one may come in that changes what becomes of it."""
        return 2 * self.hop_length / self.sample_rate

    def initial_state(self, batch_size: int) -> dict:
        """What `step` begins with: silence so far, of as many waveforms."""
        B, K = batch_size, sum(count for count, _ in self.bands)
        return {
            "input": jnp.zeros((B, self.n_fft - self.hop_length)),
            "tail": jnp.zeros((B, self.hop_length)),
            "bands": [jnp.zeros((B, K, self.width)) for _ in range(self.blocks)],
            "frame": [jnp.zeros((B, self.hidden)) for _ in range(self.blocks)],
        }

    def __call__(self, waveform, length=None, *, train=False):
        """Enhances whole waveforms; arguments and result as in `SpectralAutoencoder`."""
        del train
        B, N = waveform.shape
        if length is not None:
            waveform = jnp.where(frame_mask(length, N), waveform, 0.0)
        hop = self.hop_length
        samples = jnp.pad(waveform, ((0, 0), (0, (N // hop + 2) * hop - N)))
        _, enhanced = self.step(self.initial_state(B), samples)
        enhanced = enhanced[:, hop:][:, :N]
        return enhanced if length is None else jnp.where(frame_mask(length, N), enhanced, 0.0)

    @nn.compact
    def step(self, state, samples):
        """Goes on with waveforms.

        Args:
            state: of `initial_state`, or of the step before.
            samples: the next ones [B, T * hop_length].

        Returns:
            The state after them, and float32 [B, T * hop_length]: what became of the samples one
            hop earlier.

        Raises:
            ConfigError: sizes that do not go together.
        """
        n_fft, hop = self.n_fft, self.hop_length
        if sum(count * bins for count, bins in self.bands) != n_fft // 2 or 2 * hop > n_fft:
            raise ConfigError(
                f"bands {self.bands} must hold {n_fft // 2} bins and hop_length {hop} be at most "
                f"{n_fft // 2}: change them"
            )
        analysis, synthesis = _windows(n_fft, hop)
        x = jnp.concatenate([state["input"], samples], axis=1)
        T = samples.shape[1] // hop
        places = jnp.arange(T)[:, None] * hop + np.arange(n_fft)
        spectrum = jnp.fft.rfft(x[:, places] * analysis)  # [B, T, F]
        bands, frame, spectrum = self._mask(state["bands"], state["frame"], spectrum)
        frames = jnp.fft.irfft(spectrum, n=n_fft)[..., n_fft - 2 * hop :] * synthesis
        early, late = jnp.split(frames, 2, axis=-1)  # [B, T, hop]
        late = jnp.concatenate([state["tail"][:, None], late], axis=1)
        state = {
            "input": x[:, hop - n_fft :],
            "tail": late[:, -1],
            "bands": bands,
            "frame": frame,
        }
        return state, (early + late[:, :-1]).reshape(samples.shape[0], -1)

    def _mask(self, bands, frame, spectrum):
        """The states of bands and frame after a spectrum [B, T, F], and the spectrum masked."""
        real, imaginary, size = compress(spectrum)
        x = split_bands(self.bands, self.width, real, imaginary, jnp.log10(size))  # [B, T, K, W]
        x = x + self.param("place", nn.initializers.normal(0.1), x.shape[2:])
        bands, frame, (B, T, K, _) = list(bands), list(frame), x.shape
        for i in range(self.blocks):
            y, bands[i] = GRU()(normalised(x), bands[i])
            x = ResidualConv((1, 3))(x + Dense(self.width)(y))
            y = Dense(self.bottleneck)(normalised(x)).reshape(B, T, -1)
            y, frame[i] = GRU()(Dense(self.hidden)(y), frame[i])
            y = nn.silu(Dense(K * self.bottleneck)(y)).reshape(B, T, K, -1)
            x = x + Dense(self.width)(y)
        a, b = join_bands(normalised(x), self.bands, 2)  # each [B, T, F]
        real, imaginary = (1 + a) * real - b * imaginary, (1 + a) * imaginary + b * real
        return bands, frame, expand(real, imaginary)


def _windows(n_fft, hop):
    """Windows of analysis [n_fft] and of synthesis [2 hop], which make up for each other.

    Their product is a Hann window at the end of the frame, and falls within a hop.
    """
    hann = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop)) ** 2
    rising = np.sin(np.pi / 2 * (np.arange(n_fft - hop) + 0.5) / (n_fft - hop))
    analysis = np.concatenate([rising, np.sqrt(hann[hop:])]).astype(np.float32)
    return analysis, (hann / analysis[-2 * hop :]).astype(np.float32)
