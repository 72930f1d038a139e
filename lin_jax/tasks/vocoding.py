"""Vocoding: mel frames become the waveform they were made of.

Shapes: B batch, N samples, T frames, M mel bins, F frequency bins.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lin_jax.audio.frontend import extract, stft
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.audio.griffin_lim import magnitude_to_waveform, mel_to_magnitude
from lin_jax.errors import ConfigError
from lin_jax.models.layers import frame_mask

UPDATES = 4  # by which the power of a band is spread over its bins; the network does the rest
FLOOR = 3e-3  # added to magnitudes before their logarithm: below, nothing is audible


@dataclasses.dataclass
class VocodingConfig:
    """How a vocoder is trained.

    Attributes:
        adversarial_weight: of how much of the spectrum a discriminator, trained at the same time,
            takes to be recorded; 0 has no discriminator.
        iterations: of Griffin-Lim, in use.
    """

    adversarial_weight: float = 0.0
    iterations: int = 32

    def validate(self):
        """Raises ConfigError unless the values can work."""
        if self.adversarial_weight < 0 or self.iterations < 1:
            raise ConfigError("adversarial_weight below 0, or no iterations: give more")


@dataclasses.dataclass(frozen=True, eq=False)
class Vocoding:
    """The task of making the magnitudes of a spectrum from mel frames.

    The phases are left to Griffin-Lim.

    A batch of training holds speech, "waveform" [B, N] and "length" [B], and "weight" [B].

    Attributes:
        model: a `SpectrumDecoder`.
        frontend: how a waveform becomes features: "log_mel" without deltas.
        mean: of each feature over the training frames [M].
        std: its standard deviation [M].
        discriminator: a `SpectrumDiscriminator`, or None where `adversarial_weight` is 0.
        config: see `VocodingConfig`.
    """

    model: nn.Module
    frontend: FrontendConfig
    mean: Any
    std: Any
    discriminator: nn.Module | None = None
    config: VocodingConfig = dataclasses.field(default_factory=VocodingConfig)

    monitor: ClassVar[str] = "distance"
    monitor_mode: ClassVar[str] = "min"

    def init(self, key):
        """Draw the variables of the network, and of the discriminator if there is one."""
        self.config.validate()
        if self.frontend.feature != "log_mel" or self.frontend.deltas:
            raise ConfigError(
                "a vocoder takes log_mel features without deltas only: change the front end"
            )
        mel, smooth = (
            jnp.zeros((1, 8, self.frontend.num_features)),
            jnp.zeros((1, 8, self.frontend.n_fft // 2 + 1)),
        )
        params = {"vocoder": self.model.init(key, mel, smooth, jnp.ones((1, 8), bool))["params"]}
        if (discriminator := self.discriminator) is not None:
            params["discriminator"] = discriminator.init(jax.random.fold_in(key, 1), smooth)[
                "params"
            ]
        return {"params": params}

    def loss(self, params, model_state, batch, key):
        """Mean training loss, the new model state and the sums of a batch; see `Task.loss`."""
        del key
        estimate, target, sums = self._compared(params, batch)
        total = sums["distance"]
        if (discriminator := self.discriminator) is not None:
            weight = self.config.adversarial_weight

            def mean(scores):  # [B, T', F'] -> []
                return jnp.sum(batch["weight"] * jnp.mean(scores, axis=(1, 2)))

            def discriminate(params, spectrum):
                return discriminator.apply({"params": params["discriminator"]}, spectrum)

            # X. Mao et al., "Least squares generative adversarial networks", ICCV 2017. Each side
            # has its own gradient: what is made does not teach the discriminator to be lenient, nor the
            # judgement of it the maker.
            sums["fooled"] = mean(
                (1.0 - discriminate(jax.lax.stop_gradient(params), estimate)) ** 2
            )
            sums["judged"] = mean(
                (1.0 - discriminate(params, target)) ** 2
                + discriminate(params, jax.lax.stop_gradient(estimate)) ** 2
            )
            total += weight * sums["fooled"] + sums["judged"]
        sums["loss"] = total
        return total / jnp.maximum(sums["weight"], 1.0), (model_state, sums)

    def evaluate(self, variables, batch):
        """Sums of an evaluation batch."""
        return self._compared(variables["params"], batch)[2]

    def summarise(self, sums):
        """Means over the clips: the distance of log-magnitudes in dB, also before the network; losses."""
        decibels = {"distance", "smooth_distance"}
        return {
            name: float(value / sums["weight"]) * (20.0 / np.log(10.0) if name in decibels else 1.0)
            for name, value in sums.items()
            if name in decibels | {"loss", "fooled", "judged"}
        }

    def predict(self, variables, batch):
        """The "waveform" [B, N] and its "length" [B] of "features" [B, T, M] in dB, "num_frames" [B]."""
        features, num_frames = batch["features"], batch["num_frames"]
        estimate = self._estimate(variables["params"], features, num_frames, self._smooth(features))
        magnitude, iterations = jnp.maximum(jnp.exp(estimate) - FLOOR, 0.0), self.config.iterations
        waveform, length = magnitude_to_waveform(
            self.frontend, magnitude, num_frames, iterations=iterations
        )
        return {"waveform": waveform, "length": length}

    def _smooth(self, features):
        """Log-magnitudes [B, T, F] that mel frames in decibels suggest by themselves."""
        return jnp.log(mel_to_magnitude(self.frontend, features, UPDATES) + FLOOR)

    def _estimate(self, params, features, num_frames, smooth):
        """Log-magnitudes [B, T, F] as the network has them."""
        mask = frame_mask(num_frames, features.shape[1])
        normalised = jnp.where(mask[..., None], (features - self.mean) / self.std, 0.0)
        return self.model.apply({"params": params["vocoder"]}, normalised, smooth, mask)

    def _compared(self, params, batch):
        """Log-magnitudes as made and as they should be, and the sums of their distances."""
        config, length = self.frontend, batch["length"]
        x = jnp.where(frame_mask(length, batch["waveform"].shape[1]), batch["waveform"], 0.0)
        features, num_frames = extract(config, x, length)
        target = jnp.log(
            jnp.abs(stft(x, config.n_fft, config.hop_length, config.win_length)) + FLOOR
        )
        smooth = self._smooth(features)
        estimate = self._estimate(params, features, num_frames, smooth)
        real, weight = frame_mask(num_frames, features.shape[1])[..., None], batch["weight"]
        sums = {
            name: jnp.sum(
                weight * jnp.mean(jnp.abs(log_magnitude - target), axis=(1, 2), where=real)
            )
            for name, log_magnitude in {"distance": estimate, "smooth_distance": smooth}.items()
        }
        estimate, target = (
            jnp.where(real, log_magnitude, jnp.log(FLOOR)) for log_magnitude in (estimate, target)
        )
        return estimate, target, sums | {"weight": jnp.sum(weight)}
