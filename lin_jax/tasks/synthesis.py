"""Speech synthesis: a text or a recording becomes mel frames in a given voice.

Shapes: B batch, L symbols, T frames, M mel bins, D features of a recording, E embedding, S decoder
steps.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lin_jax import losses, metrics
from lin_jax.audio import frontend as front_end
from lin_jax.audio import ltas
from lin_jax.audio.augment import AugmentConfig, augment_features
from lin_jax.errors import ConfigError
from lin_jax.models.layers import frame_mask
from lin_jax.vectors import unit_vectors

HEALTH = ("focus_rate", "diagonal_rate", "skipped", "repeated")
NEAREST = 0.04  # share of the clear voices, one at least, towards whose mean another voice is moved


def move_to_anchors(
    voices: np.ndarray, anchor_voices: np.ndarray, min_anchor_similarity: float
) -> np.ndarray:
    """Voices moved towards those in which the network is understood.

    A network trained on few speakers, or on synthetic speech, is hard to understand in the voices
    of others. Nearer to the voices it was trained on it is clear, and what a voice then lacks in
    its spectrum can be added; see `Synthesis.ltas_correction`. A voice is moved to the mean of its
    nearest anchors, so that it does not become a single one of them.

    Args:
        voices: embeddings [B, E].
        anchor_voices: embeddings of the voices in which it is understood [V, E]; of none, nothing
            is moved.
        min_anchor_similarity: cosine with one of these, or with the mean of the nearest, from which
            on a voice stays as it is, and to which with that mean the others are moved.

    Returns:
        float32 unit vectors [B, E].
    """
    voices, anchors = unit_vectors(voices), unit_vectors(anchor_voices)
    if len(anchors):
        cosines = voices @ anchors.T  # [B, V]
        nearest = anchors[
            np.argsort(-cosines, axis=1)[:, : max(1, round(NEAREST * len(anchors)))]
        ].sum(axis=1)
        nearest = unit_vectors(nearest)
        cosine = np.sum(voices * nearest, axis=1, keepdims=True)
        aside = unit_vectors(voices - cosine * nearest, min_norm=1e-9)
        far = np.maximum(cosine, cosines.max(axis=1, keepdims=True)) < min_anchor_similarity
        voices = np.where(
            far,
            min_anchor_similarity * nearest + (1 - min_anchor_similarity**2) ** 0.5 * aside,
            voices,
        )
    return voices.astype(np.float32)


@dataclasses.dataclass
class SynthesisConfig:
    """How a synthesizer is trained.

    Values in pairs go from the first to the second in `schedule_steps` steps.

    Attributes:
        stop_weight: of the stop loss.
        stop_positive: weight of the last step of a clip in it.
        guided_weight: of the guided-attention loss.
        guided_sigma: width of the diagonal that it leaves free.
        prenet_dropout: share of the last frame's features that is withheld from the decoder.
        schedule_steps: training steps.
        source_mfcc: coefficients of a recording that the decoder says again.
        source_warp: range of factors by which its frequencies are multiplied in training, so that
            its voice is not copied along (Choi et al., "Neural analysis and synthesis", NeurIPS
            2021).
        source_tempo: range of factors by which it is played faster in training.
        max_seconds: after which speech is stopped.
    """

    stop_weight: float = 1.0
    stop_positive: float = 8.0
    guided_weight: tuple[float, float] = (5.0, 0.5)
    guided_sigma: float = 0.2
    prenet_dropout: tuple[float, float] = (0.5, 0.2)
    schedule_steps: int = 3200
    source_mfcc: int = 20
    source_warp: tuple[float, float] = (0.85, 1.18)
    source_tempo: tuple[float, float] = (0.9, 1.1)
    max_seconds: float = 15.0

    def validate(self):
        """Raises ConfigError unless the values can work."""
        shares = (*self.prenet_dropout, self.guided_sigma)
        if not all(0 <= share < 1 for share in shares) or not self.guided_sigma:
            raise ConfigError(
                f"prenet_dropout {self.prenet_dropout} and guided_sigma {self.guided_sigma}: give "
                "shares"
            )
        if not self.max_seconds > 0 or self.schedule_steps < 1:
            raise ConfigError(
                f"max_seconds {self.max_seconds:g}, schedule_steps {self.schedule_steps}: give more"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Synthesis:
    """The task of speaking in a given voice.

    A batch holds "features" [B, T, M], log-mel target frames, and "num_frames" [B];
    "voice", embeddings [B, E] float or numbers of speakers [B] int; "weight" [B]; and one source,
    either "symbols" [B, L] int32 and "num_symbols" [B], or "source" [B, T', M] and
    "num_source_frames" [B], log-mel frames of another recording of the same text, of which
    the network is given the MFCCs. How many steps were trained stands in the variables, in
    "schedule".

    Attributes:
        model: a `Tacotron`.
        frontend: how a waveform becomes features: "log_mel" without deltas.
        mean: of each feature over the training frames [M].
        std: its standard deviation [M].
        voice_size: E, or 0 where voices are numbers.
        sources: kinds of source that the network is given: "text", "speech" or both.
        config: see `SynthesisConfig`.
    """

    model: nn.Module
    frontend: front_end.FrontendConfig
    mean: Any
    std: Any
    voice_size: int = 0
    sources: tuple[str, ...] = ("text",)
    config: SynthesisConfig = dataclasses.field(default_factory=SynthesisConfig)

    monitor: ClassVar[str] = "mel"
    monitor_mode: ClassVar[str] = "min"

    @property
    def max_frames(self) -> int:
        """Frames after which speech is stopped."""
        return int(
            self.frontend.num_frames(round(self.config.max_seconds * self.frontend.sample_rate))
        )

    def init(self, key):
        """Draw the variables for all kinds of source."""
        self.config.validate()
        if self.frontend.feature != "log_mel" or self.frontend.deltas:
            raise ConfigError(
                "speech is made of log_mel features without deltas only: change the front end"
            )
        M = self.frontend.num_features
        voice = jnp.zeros((1, self.voice_size)) if self.voice_size else jnp.zeros(1, jnp.int32)
        batch = {"features": jnp.zeros((1, 8, M)), "num_frames": jnp.full(1, 8), "voice": voice}
        kinds = {
            "text": {"symbols": jnp.zeros((1, 8), jnp.int32), "num_symbols": jnp.full(1, 8)},
            "speech": {"source": jnp.zeros((1, 8, M)), "num_source_frames": jnp.full(1, 8)},
        }
        parameters: dict[str, Any] = {}
        for kind in self.sources:  # what both kinds share is drawn alike
            parameters |= self.model.init(key, *self._inputs(batch | kinds[kind]), train=False)[
                "params"
            ]
        return {"params": parameters, "schedule": {"step": jnp.zeros(())}}

    def loss(self, params, model_state, batch, key):
        """Mean training loss, the new model state and the sums of a batch; see `Task.loss`."""
        dropout_key, source_key = jax.random.split(key)
        if "source" in batch:
            batch = batch | self._varied(source_key, batch)
        step = model_state["schedule"]["step"]
        progress = jnp.minimum(step / self.config.schedule_steps, 1.0)
        prenet_dropout, guided = (
            start + progress * (end - start)
            for start, end in (self.config.prenet_dropout, self.config.guided_weight)
        )
        decoded = self.model.apply(
            {"params": params},
            *self._inputs(batch),
            train=True,
            prenet_dropout=prenet_dropout,
            rngs={"dropout": dropout_key},
        )
        sums = self._sums(decoded, batch)
        total = (
            sums["coarse"]
            + sums["mel"]
            + self.config.stop_weight * sums["stop"]
            + guided * sums["guided"]
        )
        sums["loss"] = total
        return total / jnp.maximum(sums["weight"], 1.0), ({"schedule": {"step": step + 1}}, sums)

    def evaluate(self, variables, batch):
        """Losses of an evaluation batch under teacher forcing, and how free-running speech ends.

        Where there are two kinds of source, the sums of recordings stand apart, under names that
        begin with "speech_".
        """
        sums = self._sums(self._apply(variables, *self._inputs(batch), train=False), batch)
        decoded, weight = self._generate(variables, batch), batch["weight"]
        sums |= self._health(decoded, batch, weight)
        sums["stop_failures"] = jnp.sum(weight * ~decoded.stopped)
        sums["length_error"] = jnp.sum(
            weight * jnp.abs(decoded.num_frames / batch["num_frames"] - 1.0)
        )
        if len(self.sources) == 1:
            return sums
        parts = {"": "symbols" in batch, "speech_": "source" in batch}
        return {
            prefix + name: value * here
            for prefix, here in parts.items()
            for name, value in sums.items()
        }

    def summarise(self, sums):
        """Means over the clips of merged sums."""
        names = (
            "loss",
            "mel",
            "coarse",
            "stop",
            "guided",
            *HEALTH,
            "stop_failures",
            "length_error",
        )
        return {
            prefix + name: float(sums[prefix + name]) / float(sums[prefix + "weight"])
            for prefix in ("", "speech_")
            for name in names
            if prefix + name in sums and sums[prefix + "weight"]
        }

    def predict(self, variables, batch):
        """Generated "features" [B, T, M] in decibels, "num_frames" [B] and "stopped" [B].

        And "skipped" and "repeated" [B], as `alignment_metrics` has them.

        Where the batch holds the "ltas" and "ltas_correction" [B, M] of the voices, as the method
        `ltas_correction` measures them, the features are corrected by them.
        """
        decoded = self._generate(variables, batch)
        valid = frame_mask(decoded.num_frames, decoded.mel.shape[1])
        features = decoded.mel * self.std + self.mean
        if "ltas" in batch:
            features += jnp.clip(batch["ltas_correction"], -ltas.MAX_DB, ltas.MAX_DB)[:, None]
            features = ltas.match_spectrum(features, decoded.num_frames, batch["ltas"])
        features = jnp.where(valid[..., None], features, 0.0)
        alignment = self._alignment(decoded, batch)
        return {
            "features": features,
            "num_frames": decoded.num_frames,
            "stopped": decoded.stopped,
            "skipped": alignment["skipped"],
            "repeated": alignment["repeated"],
        }

    def ltas_correction(self, variables, batch):
        """What speech in the voices of recordings lacks of their long-term average spectra (LTAS).

        The recordings are converted to their own voices; what then lacks of their LTAS lacks in
        every text.

        Args:
            variables: of the network.
            batch: "source" [B, T', M] and "num_source_frames" [B], log-mel frames, and their
                "voice" [B, …].

        Returns:
            In decibels, "ltas" [B, M], those of the recordings, and "ltas_correction" [B, M], what
            lacks of them; zero if the network is given texts only.
        """
        reference, _ = ltas.long_term_spectrum(batch["source"], batch["num_source_frames"])
        if "speech" not in self.sources:
            return {"ltas": reference, "ltas_correction": jnp.zeros_like(reference)}
        speech = self.predict(variables, batch)
        generated, _ = ltas.long_term_spectrum(speech["features"], speech["num_frames"])
        return {"ltas": reference, "ltas_correction": reference - generated}

    def _inputs(self, batch):
        """What the network is given.

        Source, its length, voice, normalised frames and their number.
        """
        frames = (batch["features"] - self.mean) / self.std
        return *self._source(batch), batch["voice"], frames, batch["num_frames"]

    def _source(self, batch):
        """The source and its length.

        A recording as MFCCs, each normalised over the clip, so that less is left of who
        says it and through what.
        """
        if "symbols" in batch:
            return batch["symbols"], batch["num_symbols"]
        length = batch["num_source_frames"]
        mask = frame_mask(length, batch["source"].shape[1])[..., None]
        mfcc = front_end.mfcc(batch["source"], self.config.source_mfcc)
        mean = jnp.mean(mfcc, axis=1, keepdims=True, where=mask)
        variance = jnp.mean((mfcc - mean) ** 2, axis=1, keepdims=True, where=mask)
        return jnp.where(mask, (mfcc - mean) * jax.lax.rsqrt(variance + 1e-4), 0.0), length

    def _varied(self, key, batch):
        """The recording of a batch as another speaker might have spoken it."""
        varied = AugmentConfig(
            frequency_warp=self.config.source_warp, tempo=self.config.source_tempo
        )
        centres = front_end.mel_centres(self.frontend)
        source, length = augment_features(
            key, varied, batch["source"], batch["num_source_frames"], centres
        )
        return {"source": source, "num_source_frames": length}

    def _apply(self, variables, *inputs, **options):
        return self.model.apply({"params": variables["params"]}, *inputs, **options)

    def _generate(self, variables, batch):
        inputs = *self._source(batch), batch["voice"]
        return self._apply(variables, *inputs, method="generate", max_frames=self.max_frames)

    def _sums(self, decoded, batch):
        """Losses summed over the clips, and the health of attention."""
        weight, num_frames = batch["weight"], batch["num_frames"]
        target = (batch["features"] - self.mean) / self.std
        T, num_steps = target.shape[1], -(-num_frames // self.model.reduction)
        length = self._attended(batch, decoded)
        each = {
            "coarse": losses.mel_distance(decoded.coarse[:, :T], target, num_frames),
            "mel": losses.mel_distance(decoded.mel[:, :T], target, num_frames),
            "stop": losses.stop_cross_entropy(
                decoded.stop, num_steps, positive_weight=self.config.stop_positive
            ),
            "guided": losses.guided_attention(
                decoded.attention, num_steps, length, sigma=self.config.guided_sigma
            ),
        }
        sums = {name: jnp.sum(weight * value) for name, value in each.items()}
        return sums | {"weight": jnp.sum(weight)} | self._health(decoded, batch, weight)

    def _health(self, decoded, batch, weight):
        alignment = self._alignment(decoded, batch)
        return {name: jnp.sum(weight * value) for name, value in alignment.items()}

    def _alignment(self, decoded, batch):
        num_steps = -(-decoded.num_frames // self.model.reduction)
        length = self._attended(batch, decoded)
        return metrics.alignment_metrics(decoded.attention, num_steps, length)

    @staticmethod
    def _attended(batch, decoded):
        """Positions that each clip attends to [B].

        Symbols, or what is left of the frames of a recording.
        """
        if "symbols" in batch:
            return batch["num_symbols"]
        shortened = batch["source"].shape[1] / decoded.attention.shape[-1]
        return jnp.ceil(batch["num_source_frames"] / round(shortened)).astype(int)
