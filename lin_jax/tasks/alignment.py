"""Alignment of symbols and frames as a task.

The network of `models.aligner` and the forward-sum loss.

Shape letters: B clips, T frames, M mel bins, L symbols.
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp

from lin_jax import alignment
from lin_jax.models.aligner import Aligner


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """Learning which frames say which symbol.

    A batch has "symbols" [B, L] int and "num_symbols" [B], "features" [B, T, M] in decibels,
    "num_frames" [B] and "weight" [B].

    Attributes:
        model: an `Aligner`.
        mean: of each band over the training frames [M].
        std: its standard deviation [M].
        diagonal: weight of the band around the diagonal, see `alignment.log_alignment`, at first
            and after `schedule_steps` steps.
        schedule_steps: training steps.
    """

    model: Aligner
    mean: jax.Array
    std: jax.Array
    diagonal: tuple[float, float] = (1.0, 0.05)
    schedule_steps: int = 400

    monitor: ClassVar[str] = "loss"
    monitor_mode: ClassVar[str] = "min"

    def init(self, key):
        """Draw the network's variables; beside them stands how many steps were trained."""
        mel = jnp.zeros((1, 8, len(self.mean)))
        variables = self.model.init(key, jnp.zeros((1, 4), int), mel)
        return {"params": variables["params"], "schedule": {"step": jnp.zeros(())}}

    def loss(self, params, model_state, batch, key):
        """Mean loss, the model state and the sums of a batch; see `Task.loss`."""
        del key
        step = model_state["schedule"]["step"]
        progress = jnp.minimum(step / self.schedule_steps, 1.0)
        first, last = self.diagonal
        sums = self._sums(params, batch, first + progress * (last - first))
        loss = sums["loss"] / jnp.maximum(sums["weight"], 1.0)
        return loss, ({"schedule": {"step": step + 1}}, sums)

    def evaluate(self, variables, batch):
        """Sums of an evaluation batch."""
        return self._sums(variables["params"], batch, self.diagonal[1])

    def summarise(self, sums):
        """The loss of merged sums, a frame."""
        return {"loss": float(sums["loss"] / sums["weight"])}

    def predict(self, variables, batch):
        """Logarithms of the alignment [B, T, L]."""
        return {"log_alignment": self._log_alignment(variables["params"], batch, self.diagonal[1])}

    def _log_alignment(self, params, batch, diagonal):
        frames = (batch["features"] - self.mean) / self.std
        scores = self.model.apply({"params": params}, batch["symbols"], frames)
        counts = batch["num_frames"], batch["num_symbols"]
        return alignment.log_alignment(scores, *counts, diagonal)

    def _sums(self, params, batch, diagonal):
        logs = self._log_alignment(params, batch, diagonal)
        loss = alignment.forward_sum(logs, batch["num_frames"], batch["num_symbols"])
        # A clip with more symbols than frames has no alignment.
        weight = batch["weight"] * (batch["num_symbols"] <= batch["num_frames"])
        return {"loss": jnp.sum(jnp.where(weight > 0, loss, 0.0) * weight), "weight": weight.sum()}
