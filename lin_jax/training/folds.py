"""Many small trainings at once: the folds of a cross-validation, the seeds of an ensemble, or both.

All clips lie on the device once; every member trains on its own share of them by the same compiled
step. On a GPU or TPU the members run side by side under `vmap`. On a CPU a `vmap` over convolution
kernels is slower than a loop, and one small network does not fill the cores, so there each core
trains a member of its own. The members are the same.

Shape letters: B batch, T frames, D features, C classes.
"""

import dataclasses
import os
import pathlib
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
        vmap_width: members under one `vmap`; 0 is all of them on an accelerator and one on a CPU.
        checkpoint_every: steps between checkpoints.
    """

    num_steps: int = 1000
    batch_size: int = 32
    crop_frames: int = 0
    vmap_width: int = 0
    checkpoint_every: int = 200


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """One training.

    Attributes:
        train: clips it learns from [n] int.
        test: clips it is asked about [m] int.
        seed: of its parameters, batches and augmentation.
        constants: pytree given to `make_task`, such as the mean and deviation of its training
            clips.
    """

    train: np.ndarray
    test: np.ndarray
    seed: int = 0
    constants: Any = None


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A member after training: its variables, and what `task.predict` gives for its test clips."""

    variables: Variables
    outputs: Mapping[str, np.ndarray]


def fit_ensemble(
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
        clips: the batch entries of every clip, padded alike: "features" [N, T, D], "num_frames"
            [N], "label" [N].
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

    on_cpu = jax.default_backend() == "cpu"
    width = config.vmap_width or (1 if on_cpu else len(members))
    if len(members) % width:
        raise ConfigError(
            f"{len(members)} members cannot train {width} side by side: choose a divisor"
        )
    clips = {name: jnp.asarray(value) for name, value in clips.items()}
    trainer = _Trainer(make_task, clips, config, optim_config, width)
    trainer.compile(members[:width])
    with (
        tqdm(
            total=len(members) * config.num_steps,
            unit="step",
            desc=f"{len(members)} member{'s' if len(members) > 1 else ''}",
            mininterval=0.1 if sys.stderr.isatty() else 60.0,  # a log is no place for each of them
        ) as bar,
        ThreadPoolExecutor(os.cpu_count() if on_cpu else 1) as pool,
    ):
        starts = range(0, len(members), width)
        folders = [pathlib.Path(workdir) / f"members-{start:03d}" for start in starts]
        groups = [members[start : start + width] for start in starts]
        try:
            return [
                member
                for group in pool.map(trainer.fit, groups, folders, [bar] * len(groups))
                for member in group
            ]
        except BaseException:
            trainer.stopped = True  # the other threads, before the pool waits for them
            raise


class _Trainer:
    """The compiled functions that train a group of `width` members."""

    def __init__(self, make_task, clips, config, optim_config, width):
        self.config, self.clips, self.width = config, clips, width
        self.stopped, self.saving, self.compiling = False, threading.Lock(), threading.Lock()
        optimizer = optim.build(optim_config, config.num_steps)

        def create(constants, key):
            return create_state(make_task(constants), optimizer, key, optim_config.ema_decay)

        def step(clips, constants, state, rows, key):
            crop_key, key = jax.random.split(key)
            batch = _take(clips, rows, config.crop_frames, jax.random.fold_in(crop_key, state.step))
            train_step = make_train_step(
                make_task(constants), optimizer, ema_decay=optim_config.ema_decay
            )
            return train_step(state, batch, key)

        def predict(clips, constants, variables, rows):
            return make_task(constants).predict(variables, _take(clips, rows))

        if width > 1:
            create, step = jax.vmap(create), jax.vmap(step, in_axes=(None, 0, 0, 0, 0))
            predict = jax.vmap(predict, in_axes=(None, 0, 0, 0))
        self.create, self.step = jax.jit(create), jax.jit(step, donate_argnums=2)
        self.predict = jax.jit(predict)

    def compile(self, group):
        """Compile the step once, before several threads would each do it."""
        constants, _, order, init_key, run_key = self._inputs(group)
        state = jax.eval_shape(self.create, constants, init_key)
        self.step = self.step.lower(self.clips, constants, state, order[0], run_key).compile()

    def fit(self, group, folder, bar):
        """Train one group to the end; a list of `Trained`."""
        config = self.config
        constants, rows, order, init_key, run_key = self._inputs(group)
        with Checkpoints(folder) as checkpoints:
            done = checkpoints.latest_step or 0
            with self.compiling:
                state = (
                    self._restore(checkpoints, constants, init_key)
                    if done
                    else self.create(constants, init_key)
                )
            bar.update(done * self.width)
            sums = None
            for number in range(done, config.num_steps):
                if self.stopped:
                    return []
                state, ahead = self.step(self.clips, constants, state, order[number], run_key)
                # Of the step before, so that the device always has one to do.
                jax.block_until_ready(sums)
                sums = ahead
                bar.update(self.width)
                if (number + 1) % config.checkpoint_every == 0 or number + 1 == config.num_steps:
                    loss = np.asarray(sums["loss"] / sums["weight"])
                    if not np.isfinite(loss).all():
                        raise TrainingError(
                            f"loss not finite by step {number + 1} in {folder}: lower "
                            "learning_rate or set clip_norm"
                        )
                    bar.set_postfix(loss=f"{loss.mean():.3f}")
                    with self.saving:  # Orbax mixes up two saves at once in one process
                        checkpoints.save(number + 1, state, {}, {}, number + 1)
                        checkpoints.wait()
        with self.compiling:
            outputs = self.predict(self.clips, constants, state.variables, rows)
        trained = jax.device_get((state.variables, outputs))
        results = []
        for i, member in enumerate(group):
            variables, outputs = (
                jax.tree.map(lambda x, i=i: x[i], trained) if self.width > 1 else trained
            )
            results.append(
                Trained(variables, {name: x[: len(member.test)] for name, x in outputs.items()})
            )
        return results

    def _inputs(self, group):
        longest = max(len(member.test) for member in group)
        constants, rows = self._stack(
            [(member.constants, np.resize(member.test, longest)) for member in group]
        )
        keys = self._stack([jax.random.split(jax.random.key(member.seed)) for member in group])
        order = np.stack(
            [_order(member, self.config) for member in group], axis=1
        )  # [steps, width, B]
        return constants, rows, order if self.width > 1 else order[:, 0], *jnp.moveaxis(keys, -1, 0)

    def _stack(self, trees):
        return (
            trees[0] if self.width == 1 else jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
        )

    def _restore(self, checkpoints, constants, key):
        place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
        shapes = jax.eval_shape(self.create, constants, key)
        return checkpoints.restore(
            jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes)
        )[0]


def _order(member: Member, config: FoldsConfig) -> np.ndarray:
    """Clips of each batch [steps, B].

    The training clips shuffled anew each epoch, epochs joined without a gap.
    """
    needed = config.num_steps * config.batch_size
    if not len(member.train):
        raise ConfigError("a member has no clips to train on: check the split")
    rng = np.random.default_rng(member.seed)
    epochs = [rng.permutation(member.train) for _ in range(-(-needed // len(member.train)))]
    return (
        np.concatenate(epochs)[:needed]
        .reshape(config.num_steps, config.batch_size)
        .astype(np.int32)
    )


def _take(clips, rows, crop_frames=0, key=None):
    """The batch of the clips `rows` [B], with features cut at random to `crop_frames`.

    Those that are shorter stay.
    """
    batch = {name: value[rows] for name, value in clips.items()}
    batch["weight"] = jnp.ones(rows.shape[0])
    T = batch["features"].shape[1]
    if 0 < crop_frames < T:
        max_start = jnp.maximum(batch["num_frames"] - crop_frames, 0)
        start = jax.random.randint(key, max_start.shape, 0, max_start + 1)
        cut = jax.vmap(lambda x, i: jax.lax.dynamic_slice_in_dim(x, i, crop_frames))
        batch["features"] = cut(batch["features"], start)
        batch["num_frames"] = jnp.minimum(batch["num_frames"], crop_frames)
    return batch
