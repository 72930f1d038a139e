"""Vocoding by a network that makes the phases as well: mel frames become a waveform in one pass.

Shapes: B batch, N samples, T frames, M mel bins.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from lin_jax.audio.frontend import extract, istft
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.errors import ConfigError
from lin_jax.losses import (
    feature_matching,
    hinge_discriminator,
    hinge_generator,
    multi_resolution_mel,
)
from lin_jax.models.layers import frame_mask

MAX_NOISE_DB = 1.5  # standard deviation of the noise in perturbed frames


@dataclasses.dataclass
class WaveformVocodingConfig:
    """How a network is trained to make waveforms.

    Attributes:
        mel_weight: of the distance of mel spectra at several resolutions.
        adversarial_weight: of how well the discriminators are deceived; 0 has no discriminators.
        matching_weight: of the distance of their activations; nothing without discriminators.
        perturbation: share of the training clips whose frames are blurred and made noisy, as those
            that an acoustic model predicts.
    """

    mel_weight: float = 5.0
    adversarial_weight: float = 1.0
    matching_weight: float = 4.0
    perturbation: float = 0.25

    def validate(self):
        """Raises ConfigError unless the values can work."""
        if min(self.mel_weight, self.adversarial_weight, self.matching_weight) < 0:
            raise ConfigError("a weight of the vocoder's losses below 0: give 0 or more")
        if not 0 <= self.perturbation <= 1:
            raise ConfigError("perturbation is a share of the clips: give 0 to 1")


@dataclasses.dataclass(frozen=True, eq=False)
class WaveformVocoding:
    """Making waveforms from mel frames, against discriminators that learn at the same time.

    A batch of training holds speech, "waveform" [B, N] and "length" [B], and "weight" [B].

    Attributes:
        model: a `Vocos`, whose FFT size is a multiple of its hop.
        frontend: how a waveform becomes features: "log_mel" without deltas.
        mean: of each feature over the training frames [M].
        std: its standard deviation [M].
        discriminator: a `WaveformDiscriminator`, or None where `adversarial_weight` is 0.
        config: see `WaveformVocodingConfig`.
    """

    model: nn.Module
    frontend: FrontendConfig
    mean: Any
    std: Any
    discriminator: nn.Module | None = None
    config: WaveformVocodingConfig = dataclasses.field(default_factory=WaveformVocodingConfig)

    monitor: ClassVar[str] = "mel"
    monitor_mode: ClassVar[str] = "min"

    @property
    def hop_length(self) -> int:
        """Samples between frames of the spectrum that the network makes."""
        return self.frontend.hop_length // self.model.rate

    def init(self, key):
        """Draw the variables of the network, and of the discriminators if there are any.

        Raises:
            ConfigError: the front end or the settings cannot work.
        """
        self.config.validate()
        if self.frontend.feature != "log_mel" or self.frontend.deltas:
            raise ConfigError(
                "a vocoder takes log_mel features without deltas only: change the front end"
            )
        if self.frontend.hop_length % self.model.rate or self.model.n_fft < 2 * self.hop_length:
            raise ConfigError(
                f"frames {self.frontend.hop_length} samples apart do not become "
                f"{self.model.rate} each of {self.model.n_fft}: change rate or n_fft of the network"
            )
        mel = jnp.zeros((1, 8, self.frontend.num_features))
        params = {"vocoder": self.model.init(key, mel, jnp.ones((1, 8), bool))["params"]}
        if (discriminator := self.discriminator) is not None:
            waveform = jnp.zeros((1, 8 * self.frontend.hop_length))
            drawn = discriminator.init(jax.random.fold_in(key, 1), waveform)
            params["discriminator"] = drawn["params"]
        return {"params": params}

    def loss(self, params, model_state, batch, key):
        """Mean training loss, the new model state and the sums of a batch; see `Task.loss`."""
        config, weight = self.config, batch["weight"]
        made, target = self._pair(params, batch, key)
        losses = {"mel": multi_resolution_mel(made, target, self.frontend.sample_rate)}
        total = config.mel_weight * losses["mel"]
        if (discriminator := self.discriminator) is not None:

            def discriminate(params, waveform):
                return discriminator.apply({"params": params["discriminator"]}, waveform)

            # Each side has its own gradient: what is generated does not teach the discriminators
            # to be lenient, nor their judgement of it the generator.
            real_scores, real = discriminate(params, target)
            fake_scores, _ = discriminate(params, jax.lax.stop_gradient(made))
            scores, fake = discriminate(jax.lax.stop_gradient(params), made)
            losses["discriminator"] = hinge_discriminator(real_scores, fake_scores)
            losses["adversarial"] = hinge_generator(scores)
            losses["matching"] = feature_matching(jax.lax.stop_gradient(real), fake)
            total += (
                losses["discriminator"]
                + config.adversarial_weight * losses["adversarial"]
                + config.matching_weight * losses["matching"]
            )
        losses["loss"] = total
        sums = {name: jnp.sum(weight * value) for name, value in losses.items()}
        sums["weight"] = jnp.sum(weight)
        return sums["loss"] / jnp.maximum(sums["weight"], 1.0), (model_state, sums)

    def evaluate(self, variables, batch):
        """Sums of an evaluation batch."""
        made, target = self._pair(variables["params"], batch)
        distance = multi_resolution_mel(made, target, self.frontend.sample_rate)
        return {
            "mel": jnp.sum(batch["weight"] * distance),
            "weight": jnp.sum(batch["weight"]),
        }

    def summarise(self, sums):
        """Means over the clips: distance of mel spectra and, in training, the other losses."""
        names = ("mel", "discriminator", "adversarial", "matching", "loss")
        return {name: float(sums[name] / sums["weight"]) for name in names if name in sums}

    def predict(self, variables, batch):
        """The waveforms of mel frames.

        Args:
            variables: of the network.
            batch: "features" [B, T, M] in decibels and "num_frames" [B].

        Returns:
            "waveform" [B, N] with N = (T - 1) * hop_length, zero at and past "length" [B].
        """
        waveform, length = self._generate(
            variables["params"], batch["features"], batch["num_frames"]
        )
        return {"waveform": waveform, "length": length}

    def _generate(self, params, features, num_frames):
        """Waveforms [B, N] with N = (T - 1) * hop_length, zero at and past the length [B]."""
        T = features.shape[1]
        mask = frame_mask(num_frames, T)
        mel = jnp.where(mask[..., None], (features - self.mean) / self.std, 0.0)
        spectrum = self.model.apply({"params": params["vocoder"]}, mel, mask)
        length = (self.frontend.hop_length * (num_frames - 1)).astype(jnp.int32)
        N = self.frontend.hop_length * (T - 1)
        # The last mel frame is where the waveform ends: what lies past its middle is no frame.
        valid = self.model.rate * (num_frames - 1) + 1
        waveform = istft(spectrum, self.hop_length, self.model.n_fft, N, valid)
        return jnp.where(frame_mask(length, N), waveform, 0.0), length

    def _pair(self, params, batch, key=None):
        """Waveforms [B, N] made from the frames of a batch, and those of the batch itself."""
        x = jnp.where(
            frame_mask(batch["length"], batch["waveform"].shape[1]), batch["waveform"], 0.0
        )
        features, num_frames = extract(self.frontend, x, batch["length"])
        if key is not None and self.config.perturbation:
            features = _perturbed(features, self.config.perturbation, key)
        made, length = self._generate(params, features, num_frames)
        N = made.shape[1]
        return made, jnp.where(frame_mask(length, N), x[:, :N], 0.0)


def _perturbed(features, share, key):
    """Features [B, T, M] in decibels, those of a share of the clips blurred and noisy."""
    keys = jax.random.split(key, 4)
    per_clip = (features.shape[0], 1, 1)
    blurred = features
    for axis in (1, 2):
        around = jnp.roll(blurred, 1, axis) + jnp.roll(blurred, -1, axis)
        blurred = 0.5 * blurred + 0.25 * around
    blur = jax.random.uniform(keys[0], per_clip)
    level = jax.random.uniform(keys[1], per_clip, maxval=MAX_NOISE_DB)
    noise = level * jax.random.normal(keys[2], features.shape)
    chosen = jax.random.bernoulli(keys[3], share, per_clip)
    return jnp.where(chosen, features + blur * (blurred - features) + noise, features)
