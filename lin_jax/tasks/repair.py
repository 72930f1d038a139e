"""Repair: damaged speech in, the speech as it was before out.

Shapes: B batch, N samples, T frames, M mel bins.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from lin_jax import losses
from lin_jax.audio import pmsqe, stoi
from lin_jax.audio.degrade import DegradeConfig, NoisePool, RoomPool, degrade
from lin_jax.audio.frontend import mel_filter_bank, mel_spectrogram, power_to_db, stft
from lin_jax.errors import ConfigError

LOSSES = ("spectral", "mel")
# Stand-ins for listeners, each with a weight, and the rate in Hz at which it is defined.
PERCEPTUAL = {
    "pmsqe": (pmsqe.pmsqe, pmsqe.SAMPLE_RATE),
    "stoi": (stoi.stoi, stoi.SAMPLE_RATE),
}
MAX_DB = 30.0  # a larger ratio counts as this one: training goes on where it is worse


@dataclasses.dataclass
class RepairConfig:
    """How a repairer is trained.

    Attributes:
        loss: "spectral", of compressed spectra and SI-SDR; or "mel", the squared distance of
            log-mel frames.
        sizes: FFT sizes of the compressed spectra, in samples.
        power: of their compression.
        complex_share: weight of their complex distance, from 0 to 1; that of magnitudes is the
            rest.
        spectral_weight: weight of the distance of spectra.
        si_sdr_weight: weight of the SI-SDR, in 1 / dB.
        pmsqe_weight: weight of the perceived quality (`audio.pmsqe`), at 16 kHz only.
        stoi_weight: weight of how much can be understood (`audio.stoi`), at
            16 kHz only.
    """

    loss: str = "spectral"
    sizes: tuple[int, ...] = (256, 512, 1024)
    power: float = 0.3
    complex_share: float = 0.3
    spectral_weight: float = 10.0
    si_sdr_weight: float = 0.02
    pmsqe_weight: float = 0.0
    stoi_weight: float = 0.0

    def validate(self):
        """Raises ConfigError unless the values can work."""
        if self.loss not in LOSSES:
            raise ConfigError(f"unknown loss {self.loss!r}: choose one of {', '.join(LOSSES)}")
        if not self.sizes or any(size < 2 or size % 2 for size in self.sizes):
            raise ConfigError(f"sizes {self.sizes}: give at least one, each even")
        if not 0 < self.power <= 1 or not 0 <= self.complex_share <= 1:
            raise ConfigError(
                "power must be above 0 and at most 1, complex_share from 0 to 1: correct them"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Repair:
    """The task of repairing speech.

    A batch holds clean speech, "waveform" [B, N] and "length" [B], and "index" and "weight" [B].
    What is damaged, and how, is drawn anew in every training step.

    Attributes:
        model: `model.apply(variables, waveform, length, train=…)` → waveform [B, N].
        sample_rate: of the waveforms, in Hz.
        pool: recorded noises, or None.
        config: see `RepairConfig`.
        degrade: the damage done.
        rooms: recorded room responses, or None.
    """

    model: nn.Module
    sample_rate: int
    pool: NoisePool | None = None
    config: RepairConfig = dataclasses.field(default_factory=RepairConfig)
    degrade: DegradeConfig = dataclasses.field(default_factory=DegradeConfig)
    rooms: RoomPool | None = None

    monitor: ClassVar[str] = "loss"
    monitor_mode: ClassVar[str] = "min"

    def init(self, key):
        """Draw the variables of the network."""
        self.config.validate()
        for name, (_, rate) in PERCEPTUAL.items():
            if getattr(self.config, f"{name}_weight") and self.sample_rate != rate:
                raise ConfigError(f"{name} is defined at {rate} Hz: set {name}_weight to 0")
        return self.model.init(key, jnp.zeros((1, self.sample_rate)), train=False)

    def loss(self, params, model_state, batch, key):
        """Mean training loss, the new model state and the sums of a batch; see `Task.loss`."""
        degrade_key, dropout_key = jax.random.split(key)
        damaged, clean = self._pair(degrade_key, batch)
        repaired, model_state = self.model.apply(
            {"params": params, **model_state},
            damaged,
            train=True,
            rngs={"dropout": dropout_key},
            mutable=list(model_state),
        )
        sums = self.sums(damaged, clean, repaired, batch["weight"])
        return sums["loss"] / jnp.maximum(sums["weight"], 1.0), (model_state, sums)

    def evaluate(self, variables, batch):
        """Sums of an evaluation batch, whose damage depends on the numbers of its clips alone."""
        damaged, clean = self._pair(
            jax.random.fold_in(jax.random.key(0), jnp.sum(batch["index"])), batch
        )
        return self.sums(
            damaged, clean, self.model.apply(variables, damaged, train=False), batch["weight"]
        )

    def summarise(self, sums):
        """Loss, what is `PERCEPTUAL`, SI-SDR in dB (at most `MAX_DB` a clip), and its improvement."""
        names = ("loss", *PERCEPTUAL, "si_sdr", "si_sdr_damaged")
        figures = {name: float(sums[name] / sums["weight"]) for name in names if name in sums}
        figures["si_sdr_gain"] = figures["si_sdr"] - figures.pop("si_sdr_damaged")
        return figures

    def predict(self, variables, batch):
        """The "repaired" waveforms [B, N] of damaged ones, "waveform" [B, N] and "length" [B]."""
        return {
            "repaired": self.model.apply(variables, batch["waveform"], batch["length"], train=False)
        }

    def _pair(self, key, batch):
        """Damaged and clean speech [B, N]; clips shorter than N stand anywhere in it."""
        place_key, degrade_key = jax.random.split(key)
        x, length = batch["waveform"], batch["length"]
        x = jnp.where(jnp.arange(x.shape[1]) < length[:, None], x, 0.0)
        later = jnp.floor(
            jax.random.uniform(place_key, length.shape) * (x.shape[1] - length + 1)
        ).astype(jnp.int32)
        x = jax.vmap(jnp.roll)(x, later)
        return degrade(degrade_key, x, self.pool, self.degrade, self.sample_rate, self.rooms)

    def sums(self, damaged, clean, repaired, weight) -> dict[str, jax.Array]:
        """Sums of a batch of repaired waveforms [B, N], with the damaged and the clean ones."""
        if self.config.loss == "mel":
            loss = self._mel_distance(repaired, clean)
        else:
            loss = self.config.spectral_weight * losses.compressed_spectrum(
                repaired,
                clean,
                sizes=self.config.sizes,
                power=self.config.power,
                complex_share=self.config.complex_share,
            )
            loss += self.config.si_sdr_weight * losses.neg_si_sdr(repaired, clean, max_db=MAX_DB)
        sums = {}
        for name, (metric, _) in PERCEPTUAL.items():
            if metric_weight := getattr(self.config, f"{name}_weight"):
                quality = metric(repaired, clean)
                loss -= metric_weight * quality
                sums[name] = jnp.sum(weight * quality)
        return sums | {
            "loss": jnp.sum(weight * loss),
            "si_sdr": -jnp.sum(weight * losses.neg_si_sdr(repaired, clean, max_db=MAX_DB)),
            "si_sdr_damaged": -jnp.sum(weight * losses.neg_si_sdr(damaged, clean, max_db=MAX_DB)),
            "weight": jnp.sum(weight),
        }

    def _mel_distance(self, repaired, clean):
        """Mean squared distance [B] of log-mel frames, in units of 20 dB."""
        bank = mel_filter_bank(self.sample_rate, 512, 64, 0.0, None)
        near, true = (
            power_to_db(mel_spectrogram(stft(x, 512, 256, 512), bank)) / 20
            for x in (repaired, clean)
        )
        return jnp.mean((near - true) ** 2, axis=(-2, -1))
