"""A classifier and a corpus small enough to train in a blink, yet with all that makes resuming hard.

BatchNorm statistics, dropout, mixup, a moving average, and a shuffled Grain loader with random
crops.
"""

import os
import pathlib
import signal
import subprocess
import sys

import grain
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from lin_jax.audio.frontend import FrontendConfig
from lin_jax.tasks.classification import Classification, ClassificationConfig
from lin_jax.training import loop, optim, writers
from lin_jax.training.resident import AllAlike, Ragged, Resident

D, C, T = 6, 3, 12  # features, classes, frames
FRONTEND = FrontendConfig(n_mels=D, n_mfcc=D)


class TinyClassifier(nn.Module):
    """Dense, BatchNorm and Dropout over the mean of the valid frames."""

    num_classes: int = C
    num_units: int = 16
    dropout: float = 0.1
    axis_name: str | None = None

    @nn.compact
    def __call__(self, features, num_frames, *, train):
        valid = jnp.arange(features.shape[1]) < num_frames[:, None]
        x = jnp.sum(features * valid[..., None], axis=1) / num_frames[:, None]
        x = nn.Dense(self.num_units, use_bias=False)(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, axis_name=self.axis_name)(x)
        x = nn.Dropout(self.dropout, deterministic=not train)(nn.relu(x))
        return nn.Dense(self.num_classes)(x)


def make_task(*, num_units=16, dropout=0.1, axis_name=None, **options):
    """The tiny classifier as a task; options are those of `ClassificationConfig`."""
    return Classification(
        TinyClassifier(num_units=num_units, dropout=dropout, axis_name=axis_name),
        tuple("abc"),
        FRONTEND,
        mean=np.zeros(D, np.float32),
        std=np.ones(D, np.float32),
        config=ClassificationConfig(**options),
    )


def drawn(init, *inputs):
    """Variables as `init(key, *inputs)` shapes them, drawn on the host without compiling anything: none is zero."""
    rng = np.random.default_rng(1)

    def draw(path, leaf):
        if leaf.ndim >= 2:
            return rng.normal(0, np.prod(leaf.shape[:-1]) ** -0.5, leaf.shape).astype(np.float32)
        above = (
            1.0 if path[-1].key in ("scale", "var") else 0.1
        )  # biases above zero keep rectifiers alive
        return rng.uniform(above, above + 0.3, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(init, jax.random.key(0), *inputs))


def make_clips(n=48, seed=0):
    """Separable clips: a list of examples with features [T, D], as a loader gives them before batching."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(C, D))
    clips = []
    for i in range(n):
        frames = int(rng.integers(T // 2, T + 1))
        features = np.zeros((T, D), np.float32)
        features[:frames] = centres[i % C] + rng.normal(size=(frames, D))
        clips.append(
            {
                "features": features,
                "num_frames": np.int32(frames),
                "label": np.int32(i % C),
                "weight": np.float32(1.0),
            }
        )
    return clips


def make_batch(n=16, seed=0):
    """One batch of clips."""
    clips = make_clips(n, seed)
    return {name: np.stack([clip[name] for clip in clips]) for name in clips[0]}


class Jitter(grain.transforms.RandomMap):
    """Randomness that belongs to the position in the data: it must come back when the position does."""

    def random_map(self, element, rng):
        noise = rng.normal(scale=0.1, size=D).astype(np.float32)
        return {**element, "features": element["features"] + noise}


def train_loader(batch_size=16, seed=0):
    """An endless shuffled Grain iterator over the clips."""
    data = (
        grain.MapDataset.source(make_clips()).seed(seed).shuffle().repeat(None).random_map(Jitter())
    )
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
    return iter(data.batch(batch_size, drop_remainder=True).to_iter_dataset(options))


def resident(batch_size=16):
    """The clips as a corpus on the devices."""
    clips = make_clips()
    ragged = Ragged.allocate([clip["num_frames"] for clip in clips], (D,), np.float16)
    for row, clip in enumerate(clips):
        ragged.view(row)[:] = clip["features"][: clip["num_frames"]]
    columns = {"label": np.array([clip["label"] for clip in clips])}
    sampler = AllAlike(len(clips), batch_size, T, seed=0)
    return Resident({"features": ragged}, {"features": "num_frames"}, columns, sampler)


def eval_loader():
    """One pass over held-out clips."""
    return iter([make_batch(24, seed=2), make_batch(24, seed=3)])


class Interrupting:
    """A loader that sends a signal to its own process when its n-th batch is asked for."""

    def __init__(self, loader, number, at_batch):
        self.loader, self.number, self.left = loader, number, at_batch

    def __next__(self):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
        return next(self.loader)

    def __getattr__(self, name):
        return getattr(self.loader, name)


def fit(workdir, *, loader=None, evaluation=eval_loader, task=None, learning_rate=1e-2, **options):
    """Train the tiny classifier for 24 steps, evaluating every 6 and saving every 4; options are `TrainConfig`'s."""
    config = loop.TrainConfig(
        **({"num_steps": 24, "log_every": 3, "eval_every": 6, "checkpoint_every": 4} | options)
    )
    return loop.fit(
        task or make_task(mixup_alpha=0.4, label_smoothing=0.1),
        config,
        optim.OptimConfig(
            learning_rate=learning_rate, warmup_steps=2, clip_norm=1.0, ema_decay=0.9
        ),
        loader or train_loader(),
        evaluation,
        workdir,
        writers.Writer(),
    )


def run_alone(*arguments, script=__file__, **environment):
    """Run this file, or another one, in a process of its own."""
    helpers, tests, root = pathlib.Path(__file__).parents[:3]
    return subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (root, tests, helpers))),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


if __name__ == "__main__":  # python tiny.py WORKDIR BATCH: train, and be killed at that batch
    fit(sys.argv[1], loader=Interrupting(train_loader(), signal.SIGKILL, int(sys.argv[2])))
