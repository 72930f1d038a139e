"""Repair, speaker encoder and acoustic model as one function, trained end to end.

A noisy recording of somebody is repaired, embedded, and spoken with: gradients of what is spoken,
and of whose voice it is taken for, reach the repair through the speaker encoder.

What is differentiable: all of it but the trimming of silent ends, which is done beforehand. The
profile that a synthesizer is given (576 numbers with the `speaker_encoder` that ships) is the
embedding by the network at each of its speeds, of log-mel frames that are made in the step. The
functionals of the bundle `speaker` are no part of it: they compare voices, and no synthesizer is
conditioned by them.

Shape letters: B clips, N samples, E numbers of a profile.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from lin_jax.audio.degrade import degrade
from lin_jax.audio.mixing import valid_mask
from lin_jax.errors import ConfigError
from lin_jax.tasks.acoustic import AcousticSynthesis
from lin_jax.tasks.repair import Repair
from lin_jax.tasks.verification import Verification

PARTS = ("repair", "encoder", "acoustic")


@dataclasses.dataclass
class JointConfig:
    """How the parts are trained together.

    Attributes:
        freeze: parts that stay as they are, of repair, encoder and acoustic, with commas between.
        consistency_weight: of the speaker consistency, 1 - cosine of the profile of the repaired
            reference with that of the clean one.
        acoustic_weight: of the loss of the acoustic model, which speaks in the voice of the repaired
            reference; 0 leaves the acoustic model out.
        repair_weight: of the loss of the repair by itself; 0 leaves it out.
    """

    freeze: str = "acoustic"
    consistency_weight: float = 1.0
    acoustic_weight: float = 0.0
    repair_weight: float = 0.0

    @property
    def trained(self) -> list[str]:
        """The parts that are not frozen."""
        return [part for part in PARTS if part not in self.freeze.split(",")]

    def validate(self):
        """Raises ConfigError unless the values can work."""
        if unknown := set(filter(None, self.freeze.split(","))) - set(PARTS):
            raise ConfigError(f"freeze: no part {unknown.pop()!r}: choose of {', '.join(PARTS)}")
        if not self.trained:
            raise ConfigError("freeze: nothing is left to train; take a part out of it")
        if not self.acoustic_weight and "acoustic" in self.trained:
            raise ConfigError(
                "the acoustic model learns from nothing: give acoustic_weight, or freeze it"
            )
        if min(self.consistency_weight, self.acoustic_weight, self.repair_weight) < 0:
            raise ConfigError("weights of losses must not be negative: correct them")


@dataclasses.dataclass(frozen=True, eq=False)
class JointCloning:
    """The task of taking voices from noisy recordings, by the parts of a synthesizer.

    A batch holds clean recordings of who should speak, "waveform" [B, N] and "length" [B], and
    "index" and "weight" [B]; with an `acoustic_weight` also what these people say elsewhere, as for
    `AcousticSynthesis` but without "voice". Damage is drawn anew in every training step.

    Parameters of parts that are trained are in params[part]. All else of `start` is in the
    collection "constant", which no optimiser sees, not even its weight decay.

    Attributes:
        repair: how references are damaged and repaired; its network maps waveforms [B, N] and
            lengths to waveforms.
        encoder: how they are embedded.
        acoustic: who speaks.
        start: the variables of each of the `PARTS`, as of their bundles.
        config: see `JointConfig`.
    """

    repair: Repair
    encoder: Verification
    acoustic: AcousticSynthesis
    start: Mapping[str, Mapping[str, Any]]
    config: JointConfig = dataclasses.field(default_factory=JointConfig)

    monitor: ClassVar[str] = "loss"
    monitor_mode: ClassVar[str] = "min"

    def init(self, key):
        """The variables of the parts, as they start."""
        del key
        self.config.validate()
        start = jax.tree.map(jnp.asarray, {part: dict(self.start[part]) for part in PARTS})
        # Embeddings by the encoder as it was are what consistency is measured by, so that those of
        # known voices keep their meaning.
        start["teacher"] = jax.tree.map(jnp.copy, start["encoder"])
        params = {part: start[part].pop("params") for part in self.config.trained}
        return {"params": params, "constant": start}

    def parts(self, variables) -> dict[str, Mapping]:
        """The variables of each part, and of the "teacher", as their networks take them."""
        params, constant = variables["params"], variables["constant"]
        trained = {part: {**constant[part], "params": params[part]} for part in params}
        return {**constant, **trained}

    def loss(self, params, model_state, batch, key):
        """Mean loss, the model state and the sums of a batch; see `Task.loss`."""
        damage_key, acoustic_key = jax.random.split(key)
        variables = {"params": params, **model_state}
        sums, voice = self._sums(variables, batch, damage_key)
        loss = sums["loss"] / jnp.maximum(sums["weight"], 1.0)
        if self.config.acoustic_weight:
            acoustic, (_, spoken) = self.acoustic.loss(
                self.parts(variables)["acoustic"]["params"],
                {},
                {**batch, "voice": voice},
                acoustic_key,
            )
            loss += self.config.acoustic_weight * acoustic
            sums = self._with_acoustic(sums, spoken)
        return loss, (model_state, sums)

    def evaluate(self, variables, batch):
        """Sums of an evaluation batch, whose damage depends on the numbers of its clips alone."""
        key = jax.random.fold_in(jax.random.key(0), jnp.sum(batch["index"]))
        sums, voice = self._sums(variables, batch, key, compare=True)
        if self.config.acoustic_weight:
            acoustic = self.parts(variables)["acoustic"]
            spoken = self.acoustic.evaluate(acoustic, {**batch, "voice": voice})
            sums = self._with_acoustic(sums, spoken)
        return sums

    def summarise(self, sums):
        """Loss and cosine, in evaluations also that of references as they are; of merged sums."""
        return {name: float(sums[name] / sums["weight"]) for name in sums if name != "weight"}

    def predict(self, variables, batch):
        """The "repaired" references [B, N] of a batch, and their "profile" [B, E]."""
        parts = self.parts(variables)
        repaired = self._repaired(parts, batch["waveform"], batch["length"])
        return {
            "repaired": repaired,
            "profile": self._profile(parts["encoder"], repaired, batch["length"]),
        }

    def _repaired(self, parts, waveform, length):
        return self.repair.model.apply(parts["repair"], waveform, length, train=False)

    def _profile(self, encoder, waveform, length):
        """Profiles [B, E] of waveforms [B, N] at any level."""
        frontend = self.encoder.frontend
        waveform = jnp.where(valid_mask(waveform, length), waveform, 0.0)
        if frontend.level == "rms":
            power = jnp.sum(waveform**2, axis=-1) / jnp.maximum(length, 1)
            gain = 10 ** (frontend.level_db / 20) * jax.lax.rsqrt(jnp.maximum(power, 1e-12))
            waveform = waveform * gain[:, None]
        trained = {**encoder, "params": {"encoder": encoder["params"]}}
        batch = {"waveform": waveform, "length": length}
        return self.encoder.predict(trained, batch)["embedding"]

    def _sums(self, variables, batch, key, *, compare: bool = False):
        """Sums of all but the acoustic loss, and the profiles of the repaired references [B, E]."""
        config, parts, length = self.config, self.parts(variables), batch["length"]
        weight, repair = batch["weight"], self.repair
        clean = jnp.where(valid_mask(batch["waveform"], length), batch["waveform"], 0.0)
        damaged, clean = degrade(
            key, clean, repair.pool, repair.degrade, repair.sample_rate, repair.rooms
        )
        damaged = jnp.where(valid_mask(damaged, length), damaged, 0.0)
        repaired = self._repaired(parts, damaged, length)
        profile = self._profile(parts["encoder"], repaired, length)
        target = jax.lax.stop_gradient(self._profile(parts["teacher"], clean, length))
        cosine = jnp.sum(weight * jnp.sum(profile * target, axis=-1))
        sums = {"cosine": cosine, "weight": jnp.sum(weight)}
        if compare:
            as_it_is = self._profile(parts["teacher"], damaged, length)
            sums["cosine_damaged"] = jnp.sum(weight * jnp.sum(as_it_is * target, axis=-1))
        sums["loss"] = config.consistency_weight * (sums["weight"] - cosine)
        if config.repair_weight:
            sums["repair"] = repair.sums(damaged, clean, repaired, weight)["loss"]
            sums["loss"] += config.repair_weight * sums["repair"]
        return sums, profile

    def _with_acoustic(self, sums, spoken):
        """The sums with the acoustic loss, whose examples are those of the references."""
        return sums | {
            "acoustic": spoken["loss"],
            "loss": sums["loss"] + self.config.acoustic_weight * spoken["loss"],
        }
