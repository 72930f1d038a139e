"""How long each symbol is held in recordings: by an aligner that is trained on them, or by a bundle that speaks."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import jax
import numpy as np

from experiments import _experiment
from lin_jax import alignment
from lin_jax.bundles.flow_synthesizer import FlowSynthesizer
from lin_jax.models.aligner import Aligner
from lin_jax.tasks.alignment import Alignment
from lin_jax.training.optim import OptimConfig


def kept(path: pathlib.Path, make: Callable[[], Mapping[int, np.ndarray]]) -> dict[int, np.ndarray]:
    """An array of each of some clips, by its number; made once, and read from a file afterwards."""
    if not path.exists():
        np.savez(path, **{str(index): array for index, array in make().items()})
    return {int(name): array for name, array in np.load(path).items()}


def by_training(
    config, num_symbols: int, mean_std, train: Iterator, batches: Iterable, workdir: pathlib.Path
) -> dict[int, np.ndarray]:
    """Durations [L] of the clips of some batches, by an aligner of `align_steps` steps.

    Args:
        config: of the synthesis experiment.
        num_symbols: rows of the symbol table.
        mean_std: of each band over the training frames [M].
        train: batches that the aligner learns from.
        batches: those of all clips, once.
        workdir: of its training.
    """
    steps = config.align_steps
    settings = dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, num_steps=steps),
        optim=OptimConfig(2e-3, warmup_steps=steps // 14, clip_norm=1.0),
    )
    task = Alignment(Aligner(num_symbols), *mean_std, schedule_steps=steps // 2)
    fitted = _experiment.fit(settings, task, train, None, workdir)
    predict, durations = jax.jit(task.predict), {}
    for batch in batches:
        logs = np.asarray(predict(fitted.variables, batch)["log_alignment"])
        for b, index, T, L in _clips(batch):
            durations[index] = alignment.durations(logs[b, :T, :L])
    return durations


def by_bundle(
    bundle: FlowSynthesizer,
    symbols: Sequence[np.ndarray],
    batches: Iterable,
) -> dict[int, np.ndarray]:
    """The same by a bundle, which need not learn from the clips: one minute of them is enough.

    Args:
        bundle: with the same symbols.
        symbols: of each clip [L].
        batches: those of all clips, once.
    """
    durations = {}
    for batch in batches:
        for b, index, T, _ in _clips(batch):
            frames = np.asarray(batch["features"][b, :T])
            (durations[index],) = bundle.align(frames, [symbols[index]])
    return durations


def _clips(batch: Mapping) -> Iterator[tuple[int, int, int, int]]:
    """Of each real clip its place in the batch, its number, and how many frames and symbols it has.

    One with more symbols than frames is left out.
    """
    for b, index in enumerate(batch["index"].tolist()):
        T, L = int(batch["num_frames"][b]), int(batch["num_symbols"][b])
        if batch["weight"][b] and L <= T:
            yield b, index, T, L
