"""Two artificial speakers, a noise, and a speaker bundle so simple that what it must say of them is known."""

import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lin_jax import bundles
from lin_jax.audio import files, frontend
from lin_jax.models.layers import frame_mask
from lin_jax.models.registry import NETWORKS

RATE = 16000


def voice(speaker, seconds=2.0, seed=0, rate=RATE):
    """A harmonic sound [N] whose resonance is the speaker's, 0 to 2, and whose melody the seed's."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 20 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * t + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    resonance = (500.0, 2500.0, 1300.0)[speaker]
    partials = (
        np.exp(-(((120 * k - resonance) / 400) ** 2)) * np.sin(k * phase) for k in range(1, 30)
    )
    sound = sum(partials) + 0.01 * rng.normal(size=len(t))
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def low_passed(speaker, low, seconds=2.0, seed=0):
    """The same [N], of which nothing is left above a frequency in Hz."""
    return files.resample(
        files.resample(voice(speaker, seconds, seed), RATE, 2 * low), 2 * low, RATE
    )


def noise(seconds=2.0, seed=0, rate=RATE):
    """White noise [N]."""
    return np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


class MeanEncoder(nn.Module):
    """Embeds a clip as the direction of its mean frame."""

    embedding: int

    @nn.compact
    def __call__(self, features, num_frames, *, train):
        mean = features.mean(axis=1, where=frame_mask(num_frames, features.shape[1])[..., None])
        mean = nn.Dense(self.embedding)(mean)
        return mean / jnp.maximum((mean**2).sum(axis=-1, keepdims=True), 1e-12) ** 0.5


def verifier(**changes) -> bundles.Verifier:
    """A bundle that tells the speakers apart and knows noise; register its network with `register`."""
    config = frontend.FrontendConfig(level="rms", level_db=-25.0)
    frames = [
        np.asarray(frontend.extract(config, files.load(sound, config, sample_rate=RATE))[0]).mean(
            axis=0
        )
        for sound in (voice(0), voice(1), noise())
    ]
    D = config.num_features
    heard_noise = frames[2] - np.mean(frames, axis=0)
    settings = {
        "speech_weight": -20.0 * heard_noise / np.linalg.norm(heard_noise),
        "speech_bias": 10.0,
        "threshold": 0.5,
        "slope": 10.0,
        "offset": -5.0,
    }
    return bundles.Verifier(
        "voices",
        MeanEncoder(D),
        config,
        {
            "params": {
                "Dense_0": {"kernel": np.eye(D, dtype=np.float32), "bias": np.zeros(D, np.float32)}
            }
        },
        mean=np.mean(frames, axis=0),
        std=np.ones(D, np.float32),
        **(settings | changes),
    )


def register(patch):
    """Let bundles know the network, for as long as the patch lasts."""
    patch.setitem(NETWORKS, "MeanEncoder", MeanEncoder)
