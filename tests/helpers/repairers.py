"""Repair networks so simple that what they do to a recording is known."""

import flax.linen as nn
import jax.numpy as jnp

from lin_jax import bundles
from lin_jax.audio.frontend import istft, stft
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.models.registry import NETWORKS

RATE = 16000


class Gain(nn.Module):
    """Multiplies by a factor; what lies far beyond full scale it takes for silence."""

    factor: float = 1.0
    context_seconds = 0.0

    @nn.compact
    def __call__(self, waveform, length=None, *, train=False):
        return self.factor * jnp.where(jnp.abs(waveform) <= 2.0, waveform, 0.0)


class Gate(nn.Module):
    """Turns down what is weak: each bin of a spectrum by itself and its two neighbours in time on either side."""

    hop: int = 256
    context_seconds = 0.1

    @nn.compact
    def __call__(self, waveform, length=None, *, train=False):
        floor = self.param("floor", nn.initializers.constant(1.0), ())
        spectrum = stft(waveform, 2 * self.hop, self.hop, 2 * self.hop)
        power = jnp.pad(spectrum.real**2 + spectrum.imag**2, ((0, 0), (2, 2), (0, 0)))
        near = sum(power[:, i : i + spectrum.shape[1]] for i in range(5))
        return istft(spectrum * near / (near + floor), self.hop, 2 * self.hop, waveform.shape[1])


class LowPass(nn.Module):
    """Leaves nothing above 2 kHz."""

    context_seconds = 0.1

    @nn.compact
    def __call__(self, waveform, length=None, *, train=False):
        spectrum = stft(waveform, 512, 256, 512)
        return istft(jnp.where(jnp.arange(257) < 64, spectrum, 0.0), 256, 512, waveform.shape[1])


def repairer(model=None, **frontend) -> bundles.Repairer:
    """A bundle of one of these, or of `Gain()`; register them with `register` to save it."""
    model = Gain() if model is None else model
    variables = {"params": {"floor": jnp.float32(1.0)}} if isinstance(model, Gate) else {}
    return bundles.Repairer(
        "mended", model, FrontendConfig(sample_rate=RATE, **frontend), variables
    )


def register(patch):
    """Let bundles know the networks, for as long as the patch lasts."""
    for network in (Gain, Gate, LowPass):
        patch.setitem(NETWORKS, network.__name__, network)
