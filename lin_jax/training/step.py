"""The train step: a pure function of state, batch and key. (The evaluation step is
`task.evaluate`.)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from lin_jax.tasks.base import Task
from lin_jax.training.optim import learning_rate


def make_train_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    *,
    ema_decay: float = 0.0,
    axis_name: str | None = None,
):
    """Build the function that makes one update.

    It is pure: jit it, pmap it, or vmap it over folds. Its randomness comes from `key` and
    `state.step` alone, so a resumed run draws what an uninterrupted one would have drawn.

    Args:
        task: the job.
        optimizer: from `optim.build`.
        ema_decay: decay of the moving average of the variables, e.g. 0.999; 0 keeps none. The decay
            grows as (1 + step) / (10 + step) up to this value, so that the average forgets the
            random start.
        axis_name: mapped axis to average gradients over, under pmap only; jit on a mesh needs none.

    Returns:
        (state, batch, key) → (state, sums): `key` is the key of the run, the same in every step;
        `sums` are the task's, with "grad_norm", "learning_rate" and "steps" (one), which add up
        likewise.
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def train_step(state, batch, key):
        key = jax.random.fold_in(key, state.step)
        if axis_name is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        gradient = jax.value_and_grad(task.loss, has_aux=True)
        (loss, (model_state, sums)), grads = gradient(state.params, state.model_state, batch, key)
        if axis_name is not None:
            loss, model_state, grads = jax.lax.pmean((loss, model_state, grads), axis_name)
            sums = jax.lax.psum(sums, axis_name)

        updates, opt_state = optimizer.update(grads, state.opt_state, state.params, value=loss)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema is not None:
            decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
            ema = optax.incremental_update({"params": params, **model_state}, ema, 1.0 - decay)

        sums = {
            **sums,
            "grad_norm": optax.tree.norm(grads),
            "learning_rate": learning_rate(opt_state),
            "steps": jnp.ones(()),
        }
        return state.replace(
            step=state.step + 1,
            params=params,
            model_state=model_state,
            opt_state=opt_state,
            ema=ema,
        ), sums

    return train_step


def scan_steps(train_step: Callable) -> Callable:
    """Make several updates in one call, so that a short step is not bound by its launch.

    Args:
        train_step: from `make_train_step`.

    Returns:
        (state, batches, key) → (state, sums): `batches` are stacked [steps, B, …], and so are the
        sums [steps, …]. The bits are those of as many calls of `train_step`.
    """

    def train_steps(state, batches, key):
        def body(state, batch):
            return train_step(state, batch, key)

        single = len(jax.tree.leaves(batches)[0]) == 1
        return jax.lax.scan(body, state, batches, unroll=single)

    return train_steps
