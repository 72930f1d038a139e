"""Clip classification: which of C classes a recording belongs to, such as its emotion.

Shapes: B batch, N samples, T frames, D features, C classes.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from lin_jax import losses, metrics
from lin_jax.audio import augment as augmentation
from lin_jax.audio import frontend as front_end
from lin_jax.tasks.preprocessing import preprocess


@dataclasses.dataclass
class TestTimeAugmentation:
    """Variants of a clip whose logits are averaged when it is classified.

    Attributes:
        tempo: one variant is this share faster, the other slower; 0 leaves the tempo.
        frequency: the faster one is by this share higher, the slower one lower; 0 leaves them.
        mean_removal: the slower one is without the mean of its frames, as no microphone colours it.
        speeds: at which a window of samples is heard, pitch and all, before all that.
    """

    tempo: float = 0.0
    frequency: float = 0.0
    mean_removal: bool = False
    speeds: tuple[float, ...] = (1.0,)


@dataclasses.dataclass
class ClassificationConfig:
    """How a classifier is trained.

    Attributes:
        label_smoothing: share of each target spread over all classes.
        mixup_alpha: parameter of the Beta distribution clips are mixed by; 0 does not mix.
        class_weights: whether rare classes weigh more (`losses.balanced_class_weights`).
        tta: see `TestTimeAugmentation`.
        background: label of the clips that may be mixed behind others, as
            `AugmentConfig.background_prob` says.
    """

    label_smoothing: float = 0.0
    mixup_alpha: float = 0.0
    class_weights: bool = False
    tta: TestTimeAugmentation = dataclasses.field(default_factory=TestTimeAugmentation)
    background: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Classification:
    """The task of classifying clips.

    A batch holds either "features" [B, T, D] and "num_frames" [B], or "waveform" [B, N] and
    "length" [B], from which the same features are made inside the step; and "label" [B] int32 and
    "weight" [B] float32.

    Attributes:
        model: `model.apply(variables, features, num_frames, train=…)` → logits [B, C].
        labels: name of each class (C).
        frontend: how a waveform becomes features.
        mean: of each feature over the training frames [D].
        std: its standard deviation [D].
        config: see `ClassificationConfig`.
        augment: what is done to training clips; the waveform part needs waveforms in the batch.
        class_weights: weight of each class in the training loss [C], or None for equal weights.
    """

    model: nn.Module
    labels: tuple[str, ...]
    frontend: front_end.FrontendConfig
    mean: jax.Array
    std: jax.Array
    config: ClassificationConfig = dataclasses.field(default_factory=ClassificationConfig)
    augment: augmentation.AugmentConfig = dataclasses.field(
        default_factory=augmentation.AugmentConfig
    )
    class_weights: Any = None

    monitor: ClassVar[str] = "uar"
    monitor_mode: ClassVar[str] = "max"

    def init(self, key):
        """Draw the network's variables; only the number of features matters to their shapes."""
        features = jnp.zeros((1, 64, self.frontend.num_features))
        return self.model.init(key, features, jnp.full((1,), 64), train=False)

    def loss(self, params, model_state, batch, key):
        """Mean training loss, the new model state and the sums of a batch; see `Task.loss`."""
        augment_key, mixup_key, dropout_key = jax.random.split(key, 3)
        if self.config.background:
            batch = {
                **batch,
                "is_background": batch["label"] == self.labels.index(self.config.background),
            }
        features, num_frames = self._features(batch, augment_key)
        targets = jax.nn.one_hot(batch["label"], len(self.labels))  # [B, C]
        if self.config.mixup_alpha:
            features, num_frames, targets = mixup(
                mixup_key, self.config.mixup_alpha, features, num_frames, targets
            )
        logits, model_state = self.model.apply(
            {"params": params, **model_state},
            features,
            num_frames,
            train=True,
            rngs={"dropout": dropout_key},
            mutable=list(model_state),
        )
        per_example = losses.cross_entropy(
            logits,
            targets,
            label_smoothing=self.config.label_smoothing,
            class_weights=self.class_weights,
        )
        sums = self._sums(per_example, logits, targets.argmax(-1), batch["weight"])
        return sums["loss"] / jnp.maximum(sums["weight"], 1.0), (model_state, sums)

    def evaluate(self, variables, batch):
        """Sums of an evaluation batch: plain cross entropy, without smoothing or class weights."""
        logits = self.predict(variables, batch)["logits"]
        return self._sums(
            losses.cross_entropy(logits, batch["label"]), logits, batch["label"], batch["weight"]
        )

    def summarise(self, sums):
        """Loss, accuracy, unweighted average recall and macro F1 of merged sums."""
        return {
            "loss": float(sums["loss"] / sums["weight"]),
            "accuracy": metrics.accuracy(sums["confusion"]),
            "uar": metrics.uar(sums["confusion"]),
            "macro_f1": metrics.macro_f1(sums["confusion"]),
        }

    def predict(self, variables, batch):
        """Logits and probabilities [B, C] of each clip."""
        features, num_frames = self._features(batch)
        B = features.shape[0]
        features, num_frames = self._tta(features, num_frames)
        logits = self.model.apply(variables, features, num_frames, train=False)  # [V B, C]
        logits = jnp.mean(logits.reshape(-1, B, len(self.labels)), axis=0)
        return {"logits": logits, "probabilities": jax.nn.softmax(logits)}

    def _features(self, batch, key=None):
        """Normalised features [B, T, D] and their frames [B], augmented where a key is given."""
        return preprocess(self.frontend, self.mean, self.std, batch, self.augment, key)

    def _tta(self, features, num_frames):
        """Every clip [B, T, D] in each of V variants, [V B, T', D]; T' has room for the slowest."""
        tta = self.config.tta
        if not (tta.tempo or tta.frequency or tta.mean_removal):
            return features, num_frames
        B, T, _ = features.shape
        steps = jnp.repeat(jnp.array([1.0, -1.0]), B)
        more = augmentation.room(T, 1.0 / (1.0 - tta.tempo))
        features = jnp.tile(jnp.pad(features, ((0, 0), (0, more), (0, 0))), (2, 1, 1))
        num_frames = jnp.tile(num_frames, 2)
        if tta.frequency:
            centres = front_end.mel_centres(self.frontend)
            features = augmentation.warp_frequency(features, 1.0 + tta.frequency * steps, centres)
        if tta.tempo:
            tempo = 1.0 + tta.tempo * steps
            features, num_frames = augmentation.change_tempo(features, num_frames, tempo)
        if tta.mean_removal:
            slower = augmentation.remove_mean(features[B:], num_frames[B:])
            features = jnp.concatenate([features[:B], slower])
        return features, num_frames

    def _sums(self, per_example, logits, labels, weight):
        return {
            "loss": jnp.sum(per_example * weight),
            "weight": jnp.sum(weight),
            "confusion": metrics.confusion_matrix(
                labels, logits.argmax(-1), len(self.labels), weight
            ),
        }


def mixup(key, alpha, features, num_frames, targets):
    """Mix each clip with another one of the batch, in a share of its own (Zhang et al., 2018).

    Args:
        key: of the shares and partners.
        alpha: both parameters of the Beta distribution the shares are drawn from.
        features: normalised features [B, T, D], zero past num_frames.
        num_frames: [B] int.
        targets: probabilities [B, C].

    Returns:
        (features, num_frames, targets) of the mixtures; a mixture is as long as its longer part.
    """
    share_key, partner_key = jax.random.split(key)
    B = features.shape[0]
    share = jax.random.beta(share_key, alpha, alpha, (B, 1))
    partner = jax.random.permutation(partner_key, B)
    return (
        share[..., None] * features + (1.0 - share[..., None]) * features[partner],
        jnp.maximum(num_frames, num_frames[partner]),
        share * targets + (1.0 - share) * targets[partner],
    )
