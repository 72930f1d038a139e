"""Speaker verification: an encoder whose embeddings are near for one speaker and far for two.

Shapes: B batch, N samples, T frames, D features, E embedding, S speakers.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lin_jax import losses, metrics
from lin_jax.audio import augment as augmentation
from lin_jax.audio import frontend as front_end
from lin_jax.errors import ConfigError
from lin_jax.tasks.preprocessing import preprocess

LOSSES = ("aam", "triplet", "ge2e")
BINS = 400  # of the cosines from -1 to 1 that are counted while training


@dataclasses.dataclass
class VerificationConfig:
    """How a speaker encoder is trained.

    Attributes:
        loss: "aam" (`losses.angular_margin` over the training speakers), "triplet" or "ge2e".
        triplet_weight: weight of a triplet loss added to one of the others.
        margin: of "aam", in radians.
        scale: of the cosines in "aam", and where that of "ge2e" starts.
        triplet_margin: of the triplet loss, in cosine distance.
        mining: of its triplets, "hard" or "semi-hard".
        speeds: the clips of a speaker in a batch are played at one of these, drawn anew each time;
            a voice at another speed is another speaker (Yamamoto et al., Interspeech 2019). In use
            every clip is embedded at each of them, so that a score is the mean over the speeds.
    """

    loss: str = "aam"
    triplet_weight: float = 0.0
    margin: float = 0.2
    scale: float = 30.0
    triplet_margin: float = 0.2
    mining: str = "hard"
    speeds: tuple[float, ...] = (1.0,)

    def validate(self):
        """Raises ConfigError unless the values can work."""
        if self.loss not in LOSSES:
            raise ConfigError(f"unknown loss {self.loss!r}: choose one of {', '.join(LOSSES)}")
        if self.mining not in ("hard", "semi-hard"):
            raise ConfigError(f"unknown mining {self.mining!r}: choose hard or semi-hard")
        if not self.speeds or min(self.speeds) <= 0:
            raise ConfigError(f"speeds {self.speeds}: give at least one, each above 0")


@dataclasses.dataclass(frozen=True, eq=False)
class Verification:
    """The task of telling speakers apart.

    A batch holds what `preprocess` takes, "label" [B] int32, the speaker, and "weight" [B] float32. The
    parameters of the encoder are in params["encoder"]; those that only the loss needs are beside it
    in params["head"].

    Attributes:
        model: `model.apply(variables, features, num_frames, train=…)` → unit vectors [B, E].
        num_speakers: S, speakers in training.
        frontend: how a waveform becomes features.
        mean: of each feature over the training frames [D].
        std: its standard deviation [D].
        config: see `VerificationConfig`.
        augment: what is done to training clips; the waveform part needs waveforms in the batch.
    """

    model: nn.Module
    num_speakers: int
    frontend: front_end.FrontendConfig
    mean: Any
    std: Any
    config: VerificationConfig = dataclasses.field(default_factory=VerificationConfig)
    augment: augmentation.AugmentConfig = dataclasses.field(
        default_factory=augmentation.AugmentConfig
    )

    monitor: ClassVar[str] = "eer"
    monitor_mode: ClassVar[str] = "min"

    def init(self, key):
        """Draw the variables of the encoder and of the loss.

        Only the number of features matters to their shapes.
        """
        self.config.validate()
        encoder_key, head_key = jax.random.split(key)
        features = jnp.zeros((1, 64, self.frontend.num_features))
        variables = self.model.init(encoder_key, features, jnp.full((1,), 64), train=False)
        head = {}
        if self.config.loss == "aam":
            shape = (self.num_speakers * len(self.config.speeds), self.model.embedding)
            head = {
                "centres": jax.random.normal(head_key, shape) * shape[1] ** -0.5
            }  # [S × speeds, E]
        elif self.config.loss == "ge2e":
            head = {
                "log_scale": jnp.log(self.config.scale),
                "offset": jnp.array(-0.5 * self.config.scale),
            }
        return {**variables, "params": {"encoder": variables["params"], "head": head}}

    def loss(self, params, model_state, batch, key):
        """Mean training loss, the new model state and the sums of a batch; see `Task.loss`."""
        speed_key, augment_key, dropout_key = jax.random.split(key, 3)
        batch, label = self._change_speed(speed_key, batch)
        features, num_frames = preprocess(
            self.frontend, self.mean, self.std, batch, self.augment, augment_key
        )
        embeddings, model_state = self.model.apply(
            {"params": params["encoder"], **model_state},
            features,
            num_frames,
            train=True,
            rngs={"dropout": dropout_key},
            mutable=list(model_state),
        )
        head, weight = params["head"], batch["weight"]
        sums = self._sums(embeddings, label, weight)
        triplets = sums["triplet_loss"] / jnp.maximum(sums["anchors"], 1.0)
        if self.config.loss == "triplet":
            loss = triplets
        else:
            if self.config.loss == "aam":
                per_example, cosines = losses.angular_margin(
                    embeddings,
                    head["centres"],
                    label,
                    margin=self.config.margin,
                    scale=self.config.scale,
                )
                counted = weight
                sums["correct"] = jnp.sum(weight * (cosines.argmax(-1) == label))
                sums["weight"] = jnp.sum(weight)
            else:
                scale = jnp.exp(head["log_scale"])
                per_example, counted = losses.ge2e(
                    embeddings, label, scale, head["offset"], weight=weight
                )
            loss = jnp.sum(per_example * counted) / jnp.maximum(jnp.sum(counted), 1.0)
            loss += self.config.triplet_weight * triplets
        return loss, (model_state, {**sums, "loss": loss})

    def evaluate(self, variables, batch):
        """Triplet loss and scores among the clips of an evaluation batch, as they are."""
        embeddings = self.predict(variables, batch)["embedding"]
        return self._sums(embeddings, batch["label"], batch["weight"])

    def summarise(self, sums):
        """Triplet loss and equal error rate of the pairs within batches; in training loss and accuracy."""
        counts = np.asarray(sums["scores"], np.float64)
        figures = {
            "triplet_loss": float(sums["triplet_loss"] / max(sums["anchors"], 1.0)),
            "eer": float("nan"),
        }
        if (counts.sum(axis=1) > 0).all():
            scores, same = np.tile(np.arange(BINS), 2), np.repeat([False, True], BINS)
            figures["eer"] = metrics.equal_error_rate(scores, same, counts.ravel())[0]
        if "loss" in sums:
            figures["loss"] = float(sums["loss"] / sums["steps"])
        if "correct" in sums:
            figures["accuracy"] = float(sums["correct"] / sums["weight"])
        return figures

    def predict(self, variables, batch):
        """The "embedding" [B, speeds × E] of each clip, a unit vector."""
        encoder = {**variables, "params": variables["params"]["encoder"]}
        played = (
            batch if speed == 1.0 else self._play(_lengthen(batch, 1 / speed), speed)
            for speed in self.config.speeds
        )
        return {"embedding": self.embed(encoder, played)}

    def embed(self, encoder, played):
        """The embedding [B, speeds × E], a unit vector, of clips that are played at each speed already.

        Args:
            encoder: its variables alone.
            played: the batch at each speed.
        """
        embeddings = []
        for batch in played:
            given = self.frontend, self.mean, self.std, batch, self.augment
            features, num_frames = preprocess(*given)
            embeddings.append(self.model.apply(encoder, features, num_frames, train=False))
        return jnp.concatenate(embeddings, axis=-1) * len(embeddings) ** -0.5

    @property
    def embedding_size(self) -> int:
        """Length of what `predict` gives for a clip."""
        return self.model.embedding * len(self.config.speeds)

    def _change_speed(self, key, batch):
        """The batch with each speaker at one of the speeds, and its classes.

        The number of the speed times S more.
        """
        label = batch["label"]
        if tuple(self.config.speeds) == (1.0,):
            return batch, label
        drawn = jax.random.randint(key, (self.num_speakers,), 0, len(self.config.speeds))[
            label
        ]  # [B]
        return self._play(
            batch, jnp.asarray(self.config.speeds)[drawn]
        ), label + self.num_speakers * drawn

    def _play(self, batch, speed):
        """The batch with each clip at a speed, one of all or one of each [B].

        What no longer fits is cut.
        """
        B = batch["waveform" if "waveform" in batch else "features"].shape[0]
        speed = jnp.broadcast_to(speed, B)
        if "waveform" in batch:
            waveform, length = augmentation.change_speed(batch["waveform"], batch["length"], speed)
            return {**batch, "waveform": waveform, "length": length}
        features = augmentation.warp_frequency(
            batch["features"], speed, front_end.mel_centres(self.frontend)
        )
        features, num_frames = augmentation.change_tempo(features, batch["num_frames"], speed)
        return {**batch, "features": features, "num_frames": num_frames}

    def _sums(self, embeddings, label, weight):
        """Triplet loss summed over anchors, and histograms of the cosines of trials.

        One is of different speakers, one of same ones.
        """
        triplets, counted = losses.triplet_margin(
            embeddings,
            label,
            margin=self.config.triplet_margin,
            mining=self.config.mining,
            weight=weight,
        )
        cosines = losses.cosine_similarities(embeddings, embeddings)
        bins = jnp.clip((cosines + 1.0) * BINS / 2, 0, BINS - 1).astype(jnp.int32)
        same = (label[:, None] == label[None, :]).astype(jnp.int32)
        pairs = jnp.triu(weight[:, None] * weight[None, :], 1)
        return {
            "triplet_loss": jnp.sum(triplets),
            "anchors": jnp.sum(counted.astype(jnp.float32)),
            "scores": jnp.zeros((2, BINS)).at[same, bins].add(pairs),
        }


def _lengthen(batch, factor: float):
    """The batch with room for clips that are played this much longer."""
    name = "waveform" if "waveform" in batch else "features"
    more = augmentation.room(batch[name].shape[1], factor)
    return {
        **batch,
        name: jnp.pad(batch[name], [(0, 0), (0, more)] + [(0, 0)] * (batch[name].ndim - 2)),
    }
