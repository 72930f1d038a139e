"""An acoustic model fitted to one person, by seconds of recordings and without their text.

The network reads what is said by its own encoder of recordings, and learns to say it as that person
does (Y. Yan et al., "AdaSpeech 2: adaptive text to speech with untranscribed data", ICASSP 2021).
What that changes is kept as products of narrow matrices, as in E. Hu et al., "LoRA: low-rank
adaptation of large language models", ICLR 2022, so that a voice stays small.

Shape letters: B clips, K windows, T frames, M mel bins, E embedding, I inputs, O outputs, R rank.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from lin_jax import cancellation
from lin_jax.audio.chunking import zero_padded
from lin_jax.models.acoustic import melody_of
from lin_jax.models.layers import frame_mask
from lin_jax.tasks.acoustic import AcousticSynthesis, on_path

PART = "flow"  # of the network, that is fitted: in the prior words would be lost
BATCH = 4  # paths from noise to speech in a step
WINDOW = 320  # frames
SHORTEST = 64  # of the last window, unless there is no other
RANK = 8
LEFT, RIGHT, WHOLE = "left", "right", "change"


@dataclasses.dataclass(frozen=True, eq=False)
class Adaptation:
    """How an acoustic model is fitted to recordings of a person.

    Attributes:
        task: of the network, which must have an encoder of recordings.
        steps: of Adam. With more the recordings are learnt by heart.
        learning_rate: of Adam.
    """

    task: AcousticSynthesis
    steps: int = 30
    learning_rate: float = 3e-4

    def fit(
        self,
        variables,
        features,
        pitches,
        voice,
        progress: Callable[[int], None] = lambda steps: None,
    ) -> dict[str, np.ndarray]:
        """What changes in the network so that it speaks as someone does.

        Args:
            variables: of the network.
            features: frames of recordings of the person, in decibels, each [T, M].
            pitches: of the frames of each, in octaves above 100 Hz [T], NaN where none is voiced.
            voice: the person's embedding [E].
            progress: called with 1 for every step that is finished.

        Returns:
            Arrays by "PARAMETER:left" [I, R] and "PARAMETER:right" [R, O], whose product is the
            change of a matrix, and "PARAMETER:change" for what is no matrix; see `adapted`.
        """
        windows, counts = _cut(features)
        pitch, _ = _cut(pitches)
        frames = (windows - np.asarray(self.task.mean)) / np.asarray(self.task.std)
        voices = np.tile(np.float32(voice), (BATCH, 1))
        given = variables["params"]
        flow = given[PART]
        state = self._optimizer.init(flow)
        for step in range(self.steps):
            cancellation.check()
            rows = (BATCH * step + np.arange(BATCH)) % len(frames)
            batch = np.float32(frames[rows]), counts[rows], pitch[rows], voices
            flow, state = self._update(flow, state, given, batch, jax.random.key(step))
            jax.block_until_ready(flow)  # else all steps are asked for before one is finished
            progress(1)
        return _narrow(given[PART], flow)

    @functools.cached_property
    def _optimizer(self):
        return optax.adam(self.learning_rate)

    @functools.cached_property
    def _update(self):
        @jax.jit
        def update(flow, state, given, batch, key):
            gradient = jax.grad(lambda flow: self.loss({**given, PART: flow}, batch, key))(flow)
            updates, state = self._optimizer.update(gradient, state)
            return optax.apply_updates(flow, updates), state

        return update

    def loss(self, params, batch, key):
        """The squared distance of the velocity, [], where the text of the frames is not known.

        Args:
            params: of the network.
            batch: frames, normalised [B, T, M]; real ones [B]; their pitch [B, T]; voices [B, E].
            key: of time and noise.
        """
        frames, num_frames, pitch, voice = batch
        time_key, noise_key = jax.random.split(key)
        time = (jnp.arange(len(frames)) + jax.random.uniform(time_key)) / len(frames)
        noise = jax.random.normal(noise_key, frames.shape)
        noisy, target = on_path(frames, noise, time)
        model, mask = self.task.model, frame_mask(num_frames, frames.shape[1])
        content, timing, _ = model.apply({"params": params}, frames, num_frames, method="recognise")
        melody = melody_of(pitch, frames.mean(axis=-1), mask)
        given = content, timing, voice, noisy, time, mask, melody
        _, velocity = model.apply({"params": params}, *given, method="imitate")
        mask = mask[..., None]
        return jnp.sum(jnp.where(mask, (velocity - target) ** 2, 0.0)) / (
            mask.sum() * frames.shape[2]
        )


def adapted(variables, adaptation: Mapping[str, np.ndarray]):
    """The variables of a network with the changes that `Adaptation.fit` found."""
    flow = traverse_util.flatten_dict(variables["params"][PART], sep="/")
    changes = {name: np.asarray(array, np.float32) for name, array in adaptation.items()}
    for name, change in changes.items():
        parameter, kind = name.rsplit(":", 1)
        if kind == RIGHT:
            continue
        change = change @ changes[f"{parameter}:{RIGHT}"] if kind == LEFT else change
        flow[parameter] = flow[parameter] + change.reshape(flow[parameter].shape)
    flow = traverse_util.unflatten_dict(flow, sep="/")
    return {**variables, "params": {**variables["params"], PART: flow}}


def _cut(features) -> tuple[np.ndarray, np.ndarray]:
    """Windows of frames [K, `WINDOW`, ...], and how many are real [K]."""
    pieces = [
        piece
        for frames in features
        for piece in np.split(frames, np.arange(WINDOW, len(frames), WINDOW))
    ]
    pieces = [piece for piece in pieces if len(piece) >= SHORTEST] or pieces[:1]
    windows = np.stack([zero_padded(piece, WINDOW) for piece in pieces])
    return windows, np.array([len(piece) for piece in pieces], np.int32)


def _narrow(before, after) -> dict[str, np.ndarray]:
    """The difference of two trees of parameters, by the `RANK` largest singular values of each."""
    before, after = (traverse_util.flatten_dict(tree, sep="/") for tree in (before, after))
    narrow = {}
    for name, old in before.items():
        change = np.asarray(after[name], np.float32) - np.asarray(old, np.float32)
        change = change.reshape(-1, change.shape[-1]) if change.ndim > 2 else change
        if change.ndim < 2 or min(change.shape) <= RANK:
            narrow[f"{name}:{WHOLE}"] = change.astype(np.float16)
            continue
        left, values, right = np.linalg.svd(change, full_matrices=False)
        root = np.sqrt(values[:RANK])
        narrow[f"{name}:{LEFT}"] = (left[:, :RANK] * root).astype(np.float16)
        narrow[f"{name}:{RIGHT}"] = (root[:, None] * right[:RANK]).astype(np.float16)
    return narrow
