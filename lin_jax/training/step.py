"""The train step: a pure function of state, batch and key.

The evaluation step is `task.evaluate`.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from lin_jax.errors import ConfigError
from lin_jax.tasks.base import Task
from lin_jax.training.optim import learning_rate
from lin_jax.training.precision import compute_in
from lin_jax.training.resident import Draws


def make_train_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    *,
    ema_decay: float = 0.0,
    axis_name: str | None = None,
    accumulate: int = 1,
    precision: str = "float32",
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
        accumulate: parts that a batch is taken in, one after the other, where it is too large for
            the memory; the update is that of the whole batch, as far as its examples do not meet
            (in batch statistics, mixup or triplets).
        precision: "float32" or "bfloat16", see `precision.compute_in`.

    Returns:
        (state, batch, key) → (state, sums): `key` is the key of the run, the same in every step;
        `sums` are the task's, with "grad_norm", "learning_rate" and "steps" (one a part), which add
        up likewise.
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def train_step(state, batch, key):
        key = jax.random.fold_in(key, state.step)
        if axis_name is not None:
            key = jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        gradient = jax.value_and_grad(task.loss, has_aux=True)
        if accumulate > 1:
            gradient = _in_parts(gradient, accumulate)
        with compute_in(precision):
            (loss, (model_state, sums)), grads = gradient(
                state.params, state.model_state, batch, key
            )
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
            "grad_norm": accumulate * optax.tree.norm(grads),
            "learning_rate": accumulate * learning_rate(opt_state),
            "steps": jnp.full((), float(accumulate)),
        }
        return state.replace(
            step=state.step + 1,
            params=params,
            model_state=model_state,
            opt_state=opt_state,
            ema=ema,
        ), sums

    return train_step


def _in_parts(gradient, parts):
    """The gradient of a batch by its parts, whose means count by the weight of their examples."""

    def gradient_in_parts(params, model_state, batch, key):
        B = len(batch["weight"])
        if B % parts:
            raise ConfigError(
                f"a batch of {B} cannot be taken in {parts} parts: choose a divisor as accumulate"
            )
        # Interleaved, so that every device has its share of each part where it lies.
        batches = jax.tree.map(
            lambda x: x.reshape(B // parts, parts, *x.shape[1:]).swapaxes(0, 1), dict(batch)
        )

        def part(number):
            batch = jax.tree.map(lambda x: x[number], batches)
            (loss, (new_state, sums)), grads = gradient(
                params, model_state, batch, jax.random.fold_in(key, number)
            )
            weight = jnp.sum(batch["weight"])
            return weight, sums, _scaled((loss, new_state, grads), weight)

        def add(number, total):
            weight, sums, means = part(number)
            return (
                total[0] + weight,
                jax.tree.map(jnp.add, total[1], sums),
                jax.tree.map(lambda a, b: a + b if _is_float(b) else b, total[2], means),
            )

        shapes = jax.eval_shape(part, 0)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        weight, sums, means = jax.lax.fori_loop(0, parts, add, zeros)
        loss, model_state, grads = _scaled(means, 1.0 / jnp.maximum(weight, 1.0))
        return (loss, (model_state, sums)), grads

    return gradient_in_parts


def _scaled(tree, factor):
    """Every float times a factor; whole numbers, such as a count of steps, as they are."""
    return jax.tree.map(lambda x: x * factor if _is_float(x) else x, tree)


def _is_float(x):
    return jnp.issubdtype(x.dtype, jnp.floating)


def repeat_steps(train_step: Callable) -> Callable:
    """Make several updates in one call, so that a short step is not bound by its launch.

    Args:
        train_step: from `make_train_step`.

    Returns:
        (state, batches, key) → (state, sums): `batches` are stacked [steps, B, …], or `Draws` of a
        corpus on the devices, and the sums are stacked [steps, …]. On a CPU the bits are those of
        as many calls of one step.
    """

    def train_steps(state, batches, key):
        drawn = isinstance(batches, Draws)
        steps = batches.steps if drawn else len(jax.tree.leaves(batches)[0])

        def update(i, state):
            if drawn:
                batch = batches.source.batch(batches.arrays, state.step, batches.layout)
            else:
                batch = jax.tree.map(lambda x: x[i], batches)
            return train_step(state, batch, key)

        def body(i, carry):
            state, sums = carry
            state, latest = update(i, state)
            return state, jax.tree.map(lambda x, value: x.at[i].set(value), sums, latest)

        shapes = jax.eval_shape(functools.partial(update, 0), state)[1]
        sums = jax.tree.map(lambda x: jnp.zeros((steps, *x.shape), x.dtype), shapes)
        if jax.default_backend() == "cpu":  # in a loop XLA's convolutions take ten times as long
            carry = state, sums
            for i in range(steps):
                carry = jax.lax.optimization_barrier(body(i, carry))
            return carry
        return jax.lax.fori_loop(0, steps, body, (state, sums))

    return train_steps
