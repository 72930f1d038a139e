"""The state of a training run: all that a step reads and writes, as one pytree."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from lin_jax.errors import ConfigError
from lin_jax.tasks.base import Task


@struct.dataclass
class TrainState:
    """What changes from step to step.

    Attributes:
        step: number of updates made [] int32.
        params: the network's parameters.
        model_state: its other collections, such as "batch_stats".
        opt_state: the optimiser's state.
        ema: exponential moving average of params and model_state, or None where none is kept.
    """

    step: jax.Array
    params: Any
    model_state: Any
    opt_state: optax.OptState
    ema: Any

    @property
    def variables(self):
        """The variables to evaluate and ship: the moving average where one is kept."""
        return {"params": self.params, **self.model_state} if self.ema is None else self.ema


def create_state(
    task: Task,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    ema_decay: float = 0.0,
    params: Any = None,
):
    """Draw the state a run starts from.

    Pure, so it can be jitted into shards or vmapped over seeds.

    Args:
        task: the job.
        optimizer: from `optim.build`.
        key: of the initial parameters.
        ema_decay: as given to `make_train_step`; 0 keeps no average.
        params: parameters to start from, instead of those drawn.

    Returns:
        TrainState at step 0.

    Raises:
        ConfigError: `params` are of another network.
    """
    variables = dict(task.init(key))
    if params is not None:
        if jax.tree.map(jnp.shape, params) != jax.tree.map(jnp.shape, variables["params"]):
            raise ConfigError(
                "the parameters to start from are of another network: give it the same sizes"
            )
        variables["params"] = jax.tree.map(jnp.asarray, params)
    # The average gets buffers of its own: a donated buffer may stand only once in the state.
    ema = jax.tree.map(jnp.copy, variables) if ema_decay else None
    params = variables.pop("params")
    return TrainState(jnp.zeros((), jnp.int32), params, variables, optimizer.init(params), ema)
