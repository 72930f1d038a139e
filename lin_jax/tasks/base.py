"""What training asks of a job: the Task protocol.

A task binds a network, its loss and its figures. Everything in it is pure, so that the same task
runs under `jit` on a mesh, under `pmap`, and under `vmap` over folds or seeds.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import jax

Batch = Mapping[str, jax.Array]
# Flax collections: "params" and, where the network has them, "batch_stats".
Variables = Mapping[str, Any]
Sums = Mapping[str, jax.Array]  # statistics summed over examples: they merge by addition


class Task(Protocol):
    """A job that `lin_jax.training` can train.

    Attributes:
        monitor: name of the figure in `summarise` by which evaluations are compared.
        monitor_mode: whether a better `monitor` is larger ("max") or smaller ("min").
    """

    monitor: str
    monitor_mode: Literal["max", "min"]

    def init(self, key: jax.Array) -> Variables:
        """Draw the network's variables."""

    def loss(
        self, params: Any, model_state: Variables, batch: Batch, key: jax.Array
    ) -> tuple[jax.Array, tuple[Variables, Sums]]:
        """Mean loss of a training batch, with the new model state and the sums of the batch.

        Args:
            params: the "params" collection.
            model_state: all other collections.
            batch: arrays whose first axis is the example; "weight" [B] is zero for filler.
            key: source of all randomness: augmentation, mixup, dropout.
        """

    def evaluate(self, variables: Variables, batch: Batch) -> Sums:
        """Sums of an evaluation batch, without randomness; filler adds nothing."""

    def summarise(self, sums: Sums) -> dict[str, float]:
        """Figures of merged sums, on the host."""

    def predict(self, variables: Variables, batch: Batch) -> dict[str, jax.Array]:
        """Outputs for each example of a batch."""
