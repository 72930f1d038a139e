"""The optimiser: AdamW with clipping, warm-up and a schedule, as one Optax transformation."""

import dataclasses

import jax
import jax.numpy as jnp
import optax

from lin_jax.errors import ConfigError

SCHEDULES = ("constant", "cosine", "plateau")


@dataclasses.dataclass
class OptimConfig:
    """How parameters are updated.

    Attributes:
        learning_rate: the largest one, reached after the warm-up.
        schedule: "constant"; "cosine", down to zero at the last step (Loshchilov & Hutter, 2017);
            or "plateau", which multiplies the rate by `plateau_factor` when the training loss stops
            falling.
        warmup_steps: steps over which the rate rises linearly from zero.
        weight_decay: decoupled decay of all arrays but biases and norm scales (AdamW; Loshchilov &
            Hutter, 2019); 0 is plain Adam.
        clip_norm: largest global norm of the gradient; 0 does not clip.
        ema_decay: decay of the moving average of the variables that is evaluated and shipped; 0
            keeps none.
        plateau_steps: steps over which the training loss is averaged before it is compared with the
            best.
        plateau_patience: such averages without improvement before the rate is reduced.
        plateau_factor: what the rate is then multiplied by.
    """

    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup_steps: int = 0
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    ema_decay: float = 0.0
    plateau_steps: int = 100
    plateau_patience: int = 5
    plateau_factor: float = 0.5


def build(config: OptimConfig, num_steps: int) -> optax.GradientTransformationExtraArgs:
    """Build the optimiser of a run.

    Args:
        config: see `OptimConfig`.
        num_steps: updates in the whole run, where "cosine" reaches zero.

    Returns:
        A transformation whose `update` takes the loss as `value`.

    Raises:
        ConfigError: values that cannot work.
    """
    if config.schedule not in SCHEDULES:
        raise ConfigError(
            f"unknown schedule {config.schedule!r}: choose one of {', '.join(SCHEDULES)}"
        )
    if config.learning_rate <= 0.0:
        raise ConfigError(f"learning_rate {config.learning_rate} is not positive: try 1e-3")
    if not 0.0 <= config.ema_decay < 1.0:
        raise ConfigError(
            f"ema_decay {config.ema_decay} is outside [0, 1): try 0.999, or 0 for no average"
        )
    if not 0 <= config.warmup_steps < max(num_steps, 1):
        raise ConfigError(
            f"optim.warmup_steps {config.warmup_steps} must be fewer than the {num_steps} steps of the "
            "run: lower it"
        )
    parts = []
    if config.clip_norm:
        parts.append(optax.clip_by_global_norm(config.clip_norm))
    parts.append(optax.scale_by_adam())
    if config.weight_decay:
        parts.append(optax.add_decayed_weights(config.weight_decay, mask=_is_matrix))
    if config.schedule == "plateau":
        parts.append(
            optax.contrib.reduce_on_plateau(
                factor=config.plateau_factor,
                patience=config.plateau_patience,
                accumulation_size=config.plateau_steps,
            )
        )
    # Injected, so that the rate in use stands in the state, where `learning_rate` reads it.
    parts.append(
        optax.inject_hyperparams(optax.scale_by_learning_rate)(_schedule(config, num_steps))
    )
    return optax.with_extra_args_support(optax.chain(*parts))


def learning_rate(opt_state: optax.OptState) -> jax.Array:
    """The learning rate [] of the latest update, plateau reductions included.

    NaN for an optimiser not built here.
    """
    # By the names of the states: "scale" alone is also what norm layers call a parameter.
    injected = optax.tree.get(opt_state, "InjectStatefulHyperparamsState")
    plateau = optax.tree.get(opt_state, "ReduceLROnPlateauState")
    rate = jnp.nan if injected is None else injected.hyperparams["learning_rate"]
    return rate * (1.0 if plateau is None else plateau.scale)


def _schedule(config, num_steps):
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, config.warmup_steps, num_steps
        )
    return optax.linear_schedule(
        0.0 if config.warmup_steps else config.learning_rate,
        config.learning_rate,
        config.warmup_steps,
    )


def _is_matrix(params):
    return jax.tree.map(lambda p: p.ndim > 1, params)
