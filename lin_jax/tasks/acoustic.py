"""Speech from text by durations and flow matching.

The network of `models.acoustic`, its loss and metrics.

Shape letters: B clips, T frames, M mel bins, L symbols, E embedding.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.errors import ConfigError
from lin_jax.models.acoustic import (
    PROSODY,
    PROSODY_MEAN,
    PROSODY_SCALE,
    AcousticModel,
    hold,
    intonation_of,
    moving_mean,
    symbol_means,
)
from lin_jax.models.layers import frame_mask

SIGMA = 1e-4  # deviation that is left of the noise at the end of the path
TIMING_WEIGHT, SYMBOL_WEIGHT = 0.3, 0.3  # in what the encoder of recordings learns
INTONATION_NOISE = 0.05  # deviation of what is added to what is known of it in training
UNVOICED_WEIGHT = 0.1  # of the pitch of a symbol that has none
PEAK = 5  # bands, above whose mean the one in their middle is raised


@dataclasses.dataclass
class AcousticConfig:
    """How an acoustic model is trained, and how it speaks.

    Attributes:
        prior_weight: of the squared distance of the prior, beside that of the velocity.
        prosody_weight: of that of the velocity of durations, pitch, voicing and energy.
        no_intonation: share of the clips whose frames are laid out without the last three.
        unconditional: share of the clips whose flow is not given the text, for guidance.
        voice_noise: deviation of what is added to voices in training, as a share of their length.
        content_weight: of what the encoder of recordings lacks of the text encoder's features.
        steps: of either flow, when it speaks.
        temperature: deviation of the noise that frames are drawn from.
        guidance: how far it goes beyond what text and voice ask for.
        sharpness: how far the peaks of their spectra are raised above the bands around; see
            `sharpened`.
    """

    prior_weight: float = 1.0
    prosody_weight: float = 1.0
    no_intonation: float = 0.15
    unconditional: float = 0.1
    voice_noise: float = 0.1
    content_weight: float = 1.0
    steps: int = 6
    temperature: float = 0.5
    guidance: float = 1.5
    sharpness: float = 0.3

    def validate(self):
        """Raises ConfigError unless the values can work."""
        if self.steps < 1 or not 0 <= self.unconditional < 1 or self.temperature < 0:
            raise ConfigError(
                f"steps {self.steps}, unconditional {self.unconditional}, temperature "
                f"{self.temperature}: give a step or more, a share below 1, and no negative noise"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class AcousticSynthesis:
    """Speaking as a task.

    A batch has "symbols" [B, L] int and "num_symbols" [B], "voice" [B, E], and to learn from
    "durations" [B, L] int, "pitch" [B, L] in octaves above 100 Hz, where nothing is voiced on the
    line between the neighbours, "voicing" [B, L], the share of voiced frames, "features" [B, T, M]
    in decibels, "num_frames" [B] and "weight" [B].

    Attributes:
        model: an `AcousticModel`.
        frontend: of the frames.
        mean: of each band over the training frames [M].
        std: its standard deviation [M].
        config: see `AcousticConfig`.
    """

    model: AcousticModel
    frontend: FrontendConfig
    mean: jax.Array
    std: jax.Array
    voice_size: int
    config: AcousticConfig = dataclasses.field(default_factory=AcousticConfig)

    monitor: ClassVar[str] = "loss"
    monitor_mode: ClassVar[str] = "min"

    def init(self, key):
        """Draw the network's variables."""
        self.config.validate()
        L, T, M = 8, 16, self.frontend.num_features

        def use_all(model, *batch):
            if model.content_dilations:
                model.recognise(jnp.zeros((1, T, M)), jnp.full(1, T))
            return model(*batch)

        return self.model.init(
            key,
            jnp.zeros((1, L), int),
            jnp.full(1, L),
            jnp.zeros((1, self.voice_size)),
            jnp.full((1, L), T // L),
            intonation_of(jnp.zeros((1, L, PROSODY))),
            jnp.zeros((1, L, PROSODY)),
            jnp.zeros((1, T, M)),
            jnp.zeros(1),
            jnp.ones(1),
            method=use_all,
        )

    def loss(self, params, model_state, batch, key):
        """Mean loss, the model state and the sums of a batch; see `Task.loss`."""
        sums = self._sums({"params": params}, batch, key, train=True)
        return sums["loss"] / jnp.maximum(sums["weight"], 1.0), (model_state, sums)

    def evaluate(self, variables, batch):
        """Sums of an evaluation batch, always by the same noise."""
        return self._sums(variables, batch, jax.random.key(0), train=False)

    def summarise(self, sums):
        """The loss and its parts, of merged sums."""
        return {name: float(sums[name] / sums["weight"]) for name in sums if name != "weight"}

    def predict(self, variables, batch):
        """Mel frames by given durations; see `Task.predict` and `generate`.

        Args:
            variables: of the network.
            batch: "symbols" [B, L], "num_symbols" [B], "voice" [B, E], "durations" [B, L], and
                "max_frames", the static T.

        Returns:
            "features" [B, T, M] in decibels, zero past "num_frames" [B].
        """
        encoded, voice = self.model.apply(
            variables, batch["symbols"], batch["num_symbols"], batch["voice"], method="encode"
        )
        return self.generate(variables, encoded, voice, batch["durations"], batch["max_frames"])

    def generate(self, variables, encoded, voice, durations, max_frames: int, seed=0):
        """Draw mel frames of encoded symbols.

        Args:
            variables: of the network.
            encoded: what `AcousticModel.encode` gives of the symbols [B, L, H].
            voice: and of the voice [B, H].
            durations: frames of each symbol [B, L] int.
            max_frames: T, static.
            seed: of the noise that they are drawn from, [] int.

        Returns:
            As `predict`.
        """
        shape = (len(durations), max_frames, self.frontend.num_features)
        noise = jax.random.normal(jax.random.key(seed), shape)
        return self.from_noise(variables, encoded, voice, durations, noise)

    def from_noise(self, variables, encoded, voice, durations, noise):
        """Mel frames drawn from given noise.

        Args:
            variables: of the network.
            encoded: as for `generate`, as are `voice` and `durations`.
            voice: [B, H].
            durations: [B, L] int.
            noise: standard normal [B, T, M].

        Returns:
            As `predict`.
        """
        config = self.config
        frames, num_frames = self.model.apply(
            variables,
            encoded,
            voice,
            durations,
            config.temperature * noise,
            steps=config.steps,
            guidance=config.guidance,
            method="generate",
        )
        return {"features": self._decibels(frames, num_frames), "num_frames": num_frames}

    def convert(self, variables, features, num_frames, voice, pitch, seed=0, text=None):
        """Draw mel frames that say what recorded ones say, in another voice.

        Args:
            variables: of the network.
            features: of recordings, in decibels [B, T, M].
            num_frames: real ones [B] int.
            voice: embeddings [B, E].
            pitch: of the frames, in octaves above 100 Hz [B, T], NaN where none is voiced.
            seed: of the noise that they are drawn from, [] int.
            text: of the recordings, as `AcousticModel.convert` takes it, or None.

        Returns:
            "features" [B, T, M] in decibels, zero past `num_frames`.
        """
        config = self.config
        noise = config.temperature * jax.random.normal(jax.random.key(seed), features.shape)
        frames = self.model.apply(
            variables,
            (features - self.mean) / self.std,
            num_frames,
            voice,
            pitch,
            noise,
            text,
            steps=config.steps,
            guidance=config.guidance,
            method="convert",
        )
        return {"features": self._decibels(frames, num_frames)}

    def _decibels(self, frames, num_frames):
        """Frames that were drawn [B, T, M] as they sound best, in decibels; zero past the last one."""
        frames = sharpened(frames, self.config.sharpness)
        valid = frame_mask(num_frames, frames.shape[1])[..., None]
        return jnp.where(valid, frames * self.std + self.mean, 0.0)

    def content_error(self, variables, batch, recognised):
        """How far the encoder of recordings is from the features of the text [B]; 0 without one.

        Its part of the gradient is its own: the text encoder does not come to meet it.

        Args:
            variables: of the network.
            batch: as of the class.
            recognised: what `AcousticModel.recognise` gives of the frames.
        """
        features, its_timing, logits = recognised
        T = features.shape[1]
        encoded, voice = self.model.apply(
            variables, batch["symbols"], batch["num_symbols"], batch["voice"], method="encode"
        )
        spoken = jax.lax.stop_gradient(encoded - voice[:, None])
        held, timing, mask = hold(spoken, batch["durations"], T)
        symbols, *_ = hold(batch["symbols"][..., None], batch["durations"], T)
        count = jnp.maximum(mask.sum(axis=1), 1).sum()
        center = jnp.where(mask[..., None], held, 0.0).sum(axis=(0, 1)) / count
        spread = jnp.where(mask[..., None], (held - center) ** 2, 0.0).sum() / count
        log_likelihood = jnp.take_along_axis(jax.nn.log_softmax(logits), symbols, axis=-1)[..., 0]
        error = ((features - held) ** 2).sum(axis=-1) / jnp.maximum(spread, 1e-6)
        error += TIMING_WEIGHT * ((its_timing - timing) ** 2).sum(axis=-1)
        error -= SYMBOL_WEIGHT * log_likelihood
        return clip_means(error, mask)

    def _content(self, variables, batch, frames, key, *, train: bool):
        noise_key, dropout_key = jax.random.split(key)
        if train:
            frames = distort(frames, noise_key)
        recognised = self.model.apply(
            variables,
            frames,
            batch["num_frames"],
            train=train,
            rngs={"dropout": dropout_key},
            method="recognise",
        )
        return self.content_error(variables, batch, recognised)

    def _sums(self, variables, batch, key, *, train: bool):
        config = self.config
        time_key, noise_key, keep_key, voice_key, dropout_key = jax.random.split(key, 5)
        mask = frame_mask(batch["num_frames"], batch["features"].shape[1])[..., None]
        frames = jnp.where(mask, (batch["features"] - self.mean) / self.std, 0.0)  # [B, T, M]
        B = len(frames)
        time = spread_times(time_key, B)
        noise = jax.random.normal(noise_key, frames.shape)
        noisy, target_velocity = on_path(frames, noise, time)
        prosody = prosody_of(batch, frames)
        known = intonation_of(prosody)
        prosody = (prosody - jnp.array(PROSODY_MEAN)) / jnp.array(PROSODY_SCALE)
        noise = jax.random.normal(jax.random.fold_in(key, 3), prosody.shape)
        noisy_prosody, target_prosody = on_path(prosody, noise, time)
        keep, voice = jnp.ones(B), batch["voice"]
        if train:
            noise_of_known, known_key = jax.random.split(jax.random.fold_in(key, 2))
            known += INTONATION_NOISE * jax.random.normal(noise_of_known, known.shape)
            shown = jax.random.bernoulli(known_key, 1 - config.no_intonation, (B, 1, 1))
            known = jnp.where(shown, known, 0.0)
            keep = jax.random.bernoulli(keep_key, 1 - config.unconditional, (B,)).astype(
                jnp.float32
            )
            size = jnp.sqrt(jnp.mean(voice**2, axis=-1, keepdims=True))
            voice = voice + config.voice_noise * size * jax.random.normal(voice_key, voice.shape)
        planned, prior, velocity = self.model.apply(
            variables,
            batch["symbols"],
            batch["num_symbols"],
            voice,
            batch["durations"],
            known,
            noisy_prosody,
            noisy,
            time,
            keep,
            train=train,
            rngs={"dropout": dropout_key},
        )

        real = frame_mask(batch["num_symbols"], batch["symbols"].shape[1])
        counts = jnp.where(batch["voicing"] > 0, 1.0, UNVOICED_WEIGHT)[..., None]
        counts = jnp.where(jnp.arange(PROSODY) == 1, counts, 1.0)
        parts = {
            "velocity": clip_means((velocity - target_velocity) ** 2, mask),
            "prior": clip_means((prior - frames) ** 2, mask),
            "prosody": clip_means(counts * (planned - target_prosody) ** 2, real[..., None]),
        }
        loss = (
            parts["velocity"]
            + config.prior_weight * parts["prior"]
            + config.prosody_weight * parts["prosody"]
        )
        if self.model.content_dilations:
            content_key = jax.random.fold_in(key, 1)
            parts["content"] = self._content(variables, batch, frames, content_key, train=train)
            loss += config.content_weight * parts["content"]
        return weighted_sums(parts | {"loss": loss}, batch["weight"])


def spread_times(key, count: int):
    """How far clips are on their paths [count], evenly apart, so that a batch sees all of it."""
    time = (jnp.arange(count) + jax.random.uniform(key)) / count
    return jax.random.permutation(key, time)


def clip_means(error, mask):
    """The mean of an error [B, ...] over what is real of each clip [B]; the mask broadcasts."""
    axes = tuple(range(1, error.ndim))
    count = jnp.maximum(jnp.sum(mask * jnp.ones_like(error), axis=axes), 1.0)
    return jnp.sum(jnp.where(mask, error, 0.0), axis=axes) / count


def weighted_sums(parts, weight):
    """The sums of what clips have [B] by their weights [B], and of these."""
    return {name: jnp.sum(weight * part) for name, part in parts.items()} | {
        "weight": jnp.sum(weight)
    }


def on_path(frames, noise, time):
    """Frames on the straight path that the flow learns, and the velocity there.

    Y. Lipman et al., "Flow matching for generative modeling", ICLR 2023.

    Args:
        frames: at its end, normalised [B, T, M].
        noise: at its beginning, standard normal [B, T, M].
        time: how far each clip is on it [B], 0 to 1.

    Returns:
        Both [B, T, M].
    """
    along = time[:, None, None]
    noisy = (1 - (1 - SIGMA) * along) * noise + along * frames
    return noisy, frames - (1 - SIGMA) * noise


def prosody_of(batch, frames):
    """What the network calls the prosody of each symbol.

    Args:
        batch: with "durations", "pitch" and "voicing" [B, L].
        frames: normalised [B, T, M], zero past the last one.

    Returns:
        [B, L, 4]: the logarithm of its frames, pitch, voicing, and the mean of its bands.
    """
    durations = batch["durations"]
    energy = symbol_means(frames.mean(axis=-1, keepdims=True), durations)[..., 0]
    known = jnp.log(durations.clip(1)), batch["pitch"], batch["voicing"], energy
    return jnp.stack(known, axis=-1)


def sharpened(frames, amount: float):
    """Frames whose peaks and valleys over the bands are deeper than a network draws them.

    What is learnt from many voices is smoother over the bands than each of them. A post-filter
    undoes some of that, as those of mel-cepstra do (T. Yoshimura et al., "Incorporating a mixed
    excitation model and postfilter into HMM-based text-to-speech synthesis", 2005).

    Args:
        frames: [B, T, M], in decibels or normalised.
        amount: by which each band is moved away from the mean of the bands around it, as a share
            of how far it is from that.

    Returns:
        [B, T, M].
    """
    return frames + amount * (frames - moving_mean(frames, PEAK, axis=2, outside="edge"))


def distort(frames, key):
    """Frames as other microphones, rooms and voices would give them.

    Args:
        frames: normalised [B, T, M].
        key: of what is drawn.

    Returns:
        The frames [B, T, M], tilted over the bands, with noise and over a floor, and without some
        neighbouring bands.
    """
    B, _, M = frames.shape
    tilt, rough, noise, floor, first, width = jax.random.split(key, 6)
    slope = 0.4 * jax.random.normal(tilt, (B, 1, 1)) * jnp.linspace(-1.0, 1.0, M)
    roughness = 0.15 * jax.random.uniform(rough, (B, 1, 1))
    frames = frames + slope + roughness * jax.random.normal(noise, frames.shape)
    frames = jnp.maximum(frames, -3.0 + 2.2 * jax.random.uniform(floor, (B, 1, 1)))
    start = M * jax.random.uniform(first, (B, 1, 1))
    end = start + 0.18 * M * jax.random.uniform(width, (B, 1, 1))
    band = jnp.arange(M)
    return jnp.where((band >= start) & (band < end), 0.0, frames)
