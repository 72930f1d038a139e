"""Many small trainings at once: the folds of a cross-validation, the seeds of an ensemble, or both.

All clips lie on the device once; every member trains on its own share of them by the same compiled step. On a GPU or
TPU the members run side by side under `vmap`; on a CPU, where a `vmap` over convolution kernels is slower than a loop
(about 2x), they run one after another. The members are the same either way.

Shape letters: B batch, T frames, D features, C classes.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lin_jax.errors import ConfigError, TrainingError
from lin_jax.tasks.base import Task, Variables
from lin_jax.training import optim
from lin_jax.training.checkpoints import Checkpoints
from lin_jax.training.state import create_state
from lin_jax.training.step import make_train_step


@dataclasses.dataclass
class FoldsConfig:
    """How the members are trained.

    Attributes:
      num_steps: updates of each member.
      batch_size: B, clips in a batch of a member.
      crop_frames: training clips longer than this are cut at random to it; 0 cuts nothing.
      side_by_side: members under one `vmap`; 0 is all of them on an accelerator and one on a CPU.
      checkpoint_every: steps between checkpoints.
    """

    num_steps: int = 1000
    batch_size: int = 32
    crop_frames: int = 0
    side_by_side: int = 0
    checkpoint_every: int = 200


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """One training.

    Attributes:
      train: clips it learns from [n] int.
      test: clips it is asked about [m] int, the same number for each member that trains side by side.
      seed: of its parameters, batches and augmentation.
      constants: pytree given to `make_task`, such as the mean and deviation of its training clips.
    """

    train: np.ndarray
    test: np.ndarray
    seed: int = 0
    constants: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A member after training: its variables, and the outputs of `task.predict` for its test clips."""

    variables: Variables
    outputs: Mapping[str, np.ndarray]


def fit_members(
    make_task: Callable[[Any], Task],
    clips: Mapping[str, np.ndarray],
    members: Sequence[Member],
    config: FoldsConfig,
    optim_config: optim.OptimConfig,
    workdir: str | pathlib.Path,
) -> list[Trained]:
    """Train all members, or go on where an earlier call with the same `workdir` was stopped.

    Args:
      make_task: from a member's constants to its task; traced, so the constants may be arrays.
      clips: the batch entries of every clip, padded alike: "features" [N, T, D], "num_frames" [N], "label" [N].
      members: what to train.
      config: how.
      optim_config: how parameters are updated.
      workdir: folder of the checkpoints, one folder within it for each group of members.

    Returns:
      What became of each member, in their order.

    Raises:
      TrainingError: a loss is not finite.
      ConfigError: settings that cannot work.
      CheckpointError: the checkpoints in `workdir` are of another model, or cannot be written.
    """
    from tqdm import tqdm

    width = config.side_by_side or (1 if jax.default_backend() == "cpu" else len(members))
    if len(members) % width:
        raise ConfigError(f"{len(members)} members cannot train {width} side by side: choose a divisor")
    clips = {name: jnp.asarray(value) for name, value in clips.items()}
    optimizer = optim.build(optim_config, config.num_steps)

    def create(constants, key):
        return create_state(make_task(constants), optimizer, key, optim_config.ema_decay)

    def step(clips, constants, state, rows, key):
        task = make_task(constants)
        crop_key, key = jax.random.split(key)
        batch = _take(clips, rows, config.crop_frames, jax.random.fold_in(crop_key, state.step))
        return make_train_step(task, optimizer, ema_decay=optim_config.ema_decay)(state, batch, key)

    def predict(clips, constants, state, rows):
        return make_task(constants).predict(state.variables, _take(clips, rows))

    if width > 1:
        create, step = jax.vmap(create), jax.vmap(step, in_axes=(None, 0, 0, 0, 0))
        predict = jax.vmap(predict, in_axes=(None, 0, 0, 0))
    create, step, predict = jax.jit(create), jax.jit(step, donate_argnums=2), jax.jit(predict)

    results = []
    with tqdm(total=len(members) * config.num_steps, unit="step", desc=f"{len(members)} members") as bar:
        for start in range(0, len(members), width):
            group = members[start : start + width]
            stack = functools.partial(_stack, width)
            constants = stack([member.constants for member in group])
            init_key, run_key = (
                stack([jax.random.split(jax.random.key(member.seed))[i] for member in group]) for i in (0, 1)
            )
            order = np.stack([_order(member, config) for member in group], axis=1)  # [steps, width, B]
            order = order if width > 1 else order[:, 0]
            with Checkpoints(pathlib.Path(workdir) / f"members-{start:03d}") as checkpoints:
                done = checkpoints.latest_step or 0
                if done:
                    place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
                    target = jax.tree.map(
                        lambda x, place=place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
                        jax.eval_shape(create, constants, init_key),
                    )
                    state = checkpoints.restore(target)[0]
                else:
                    state = create(constants, init_key)
                bar.update(done * width)
                for number in range(done, config.num_steps):
                    state, sums = step(clips, constants, state, jnp.asarray(order[number]), run_key)
                    bar.update(width)
                    if (number + 1) % config.checkpoint_every == 0 or number + 1 == config.num_steps:
                        loss = np.mean(jax.device_get(sums["loss"] / sums["weight"]))
                        if not np.isfinite(loss):
                            raise TrainingError(
                                f"loss not finite at step {number + 1} of members {start} to {start + width - 1}: "
                                "lower learning_rate or set clip_norm"
                            )
                        bar.set_postfix(loss=f"{loss:.3f}")
                        checkpoints.save(number + 1, state, {}, {}, number + 1)
            outputs = jax.device_get(predict(clips, constants, state, stack([jnp.asarray(m.test) for m in group])))
            variables = jax.device_get(state.variables)
            pick = (lambda tree, i: jax.tree.map(lambda x: x[i], tree)) if width > 1 else lambda tree, _: tree
            results += [Trained(pick(variables, i), pick(outputs, i)) for i in range(width)]
    return results


def _stack(width, trees):
    return trees[0] if width == 1 else jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _order(member: Member, config: FoldsConfig) -> np.ndarray:
    """Clips of each batch [steps, B]: the training clips shuffled anew each epoch, epochs joined without a gap."""
    needed = config.num_steps * config.batch_size
    if not len(member.train):
        raise ConfigError("a member has no clips to train on: check the split")
    rng = np.random.default_rng(member.seed)
    epochs = [rng.permutation(member.train) for _ in range(-(-needed // len(member.train)))]
    return np.concatenate(epochs)[:needed].reshape(config.num_steps, config.batch_size).astype(np.int32)


def _take(clips, rows, crop_frames=0, key=None):
    """The batch of the clips `rows` [B], its features cut at random to `crop_frames`, where they are longer."""
    batch = {name: value[rows] for name, value in clips.items()}
    batch["weight"] = jnp.ones(rows.shape[0])
    T = batch["features"].shape[1]
    if 0 < crop_frames < T:
        most = jnp.maximum(batch["num_frames"] - crop_frames, 0)
        start = jax.random.randint(key, most.shape, 0, most + 1)
        cut = jax.vmap(lambda x, i: jax.lax.dynamic_slice_in_dim(x, i, crop_frames))
        batch["features"] = cut(batch["features"], start)
        batch["num_frames"] = jnp.minimum(batch["num_frames"], crop_frames)
    return batch
