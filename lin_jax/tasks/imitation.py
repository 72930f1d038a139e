"""An encoder of recordings that learns from what the rest of an acoustic model makes of it.

Features that are near those of the text are not yet features that sound right: what the encoder is
unsure of, the flow is to speak as unsurely as it sounded. So the encoder learns to have what was said
drawn again, by the voice that said it; the acoustic model stays as it is. Who speaks is hidden
from the encoder by other vocal tracts and microphones, so that it need not be told from the voice
(H.-S. Choi et al., "Neural analysis and synthesis: reconstructing speech from self-supervised
representations", NeurIPS 2021).

Shape letters: B clips, T frames, M mel bins, L symbols, E embedding.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lin_jax.audio.augment import AugmentConfig
from lin_jax.models.acoustic import melody_of
from lin_jax.models.layers import frame_mask
from lin_jax.tasks.acoustic import (
    AcousticSynthesis,
    clip_means,
    distort,
    on_path,
    spread_times,
    weighted_sums,
)
from lin_jax.tasks.preprocessing import preprocess

PART = "content"  # of the network, that learns


@dataclasses.dataclass
class ImitationConfig:
    """How an encoder of recordings learns by imitation.

    Attributes:
        content_weight: of what it lacks of the text encoder's features, where there is a text,
            beside the squared distances of prior and velocity.
        augment: what is done to what it hears, before `distort`; the tempo stays.
    """

    content_weight: float = 0.3
    augment: AugmentConfig = dataclasses.field(
        default_factory=lambda: AugmentConfig(frequency_warp=(0.85, 1.18), equaliser=0.25)
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Imitation:
    """Speaking again what recordings say, as a task.

    A batch is one of `AcousticSynthesis` with the pitch of its frames, "frame_pitch" [B, T] in
    octaves above 100 Hz, NaN where none is voiced; clips need no text. What learns is in the
    collection "params"; the rest of the network is in "constant", which no optimiser sees, not even
    its weight decay.

    Attributes:
        acoustic: the task of the network, which must have an encoder of recordings.
        start: the network's parameters.
        config: see `ImitationConfig`.
    """

    acoustic: AcousticSynthesis
    start: Mapping[str, Any]
    config: ImitationConfig = dataclasses.field(default_factory=ImitationConfig)

    monitor: ClassVar[str] = "loss"
    monitor_mode: ClassVar[str] = "min"

    def init(self, key):
        """The variables, as they start."""
        del key
        constant = jax.tree.map(jnp.asarray, dict(self.start))
        return {"params": {PART: constant.pop(PART)}, "constant": constant}

    def network(self, variables) -> dict[str, Any]:
        """The variables of the whole network, as `AcousticSynthesis` has them."""
        return {"params": {**variables["constant"], **variables["params"]}}

    def loss(self, params, model_state, batch, key):
        """Mean loss, the model state and the sums of a batch; see `Task.loss`."""
        sums = self._sums({"params": params, **model_state}, batch, key, train=True)
        return sums["loss"] / jnp.maximum(sums["weight"], 1.0), (model_state, sums)

    def evaluate(self, variables, batch):
        """Sums of an evaluation batch, always by the same noise and of what was recorded."""
        return self._sums(variables, batch, jax.random.key(0), train=False)

    def summarise(self, sums):
        """The loss and its parts, of merged sums."""
        return self.acoustic.summarise(sums)

    def _sums(self, variables, batch, key, *, train: bool):
        network, task = self.network(variables), self.acoustic
        augment_key, distort_key, dropout_key, time_key, noise_key = jax.random.split(key, 5)
        scale = task.frontend, task.mean, task.std
        frames, num_frames = preprocess(*scale, batch, self.config.augment)
        disguised = frames
        if train:
            disguised, _ = preprocess(*scale, batch, self.config.augment, augment_key)
            disguised = distort(disguised, distort_key)
        recognised = task.model.apply(
            network,
            disguised,
            num_frames,
            train=train,
            rngs={"dropout": dropout_key},
            method="recognise",
        )
        time = spread_times(time_key, len(frames))
        noisy, target = on_path(frames, jax.random.normal(noise_key, frames.shape), time)
        content, timing, _ = recognised
        mask = frame_mask(num_frames, frames.shape[1])
        given = content, timing, batch["voice"], noisy, time, mask
        melody = melody_of(batch["frame_pitch"], frames.mean(axis=-1), mask)
        prior, velocity = task.model.apply(network, *given, melody, method="imitate")
        real = mask[..., None]
        parts = {
            "velocity": clip_means((velocity - target) ** 2, real),
            "prior": clip_means((prior - frames) ** 2, real),
            "content": task.content_error(network, batch, recognised),
        }
        loss = parts["velocity"] + parts["prior"] + self.config.content_weight * parts["content"]
        return weighted_sums(parts | {"loss": loss}, batch["weight"])
