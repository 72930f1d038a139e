"""How long each symbol is held in recordings: by an aligner that is trained on them, or by a bundle that speaks."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax
import numpy as np

from data_pipelines import loaders
from data_pipelines.feature_set import FeatureSet
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
    num_symbols: int,
    config,
    clips: FeatureSet,
    symbols: Sequence[np.ndarray],
    indices: Sequence[int],
    train: Sequence[int],
    workdir: pathlib.Path,
) -> dict[int, np.ndarray]:
    """Durations [L] of some clips, by an aligner of `align_steps` steps.

    Args:
        num_symbols: rows of the symbol table.
        config: of the synthesis experiment.
        clips: of the "features" store.
        symbols: of each clip [L].
        indices: of the clips that are aligned.
        train: of those that the aligner learns from.
        workdir: of its training.
    """
    steps = config.align_steps
    settings = dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, num_steps=steps),
        optim=OptimConfig(2e-3, warmup_steps=steps // 14, clip_norm=1.0),
        loader=dataclasses.replace(config.loader, batch_size=min(12, len(train))),
    )
    task = Alignment(Aligner(num_symbols), *clips.mean_std(train), schedule_steps=steps // 2)
    batches = _batches(settings, clips, symbols, train, train=True)
    fitted = _experiment.fit(settings, task, batches, None, workdir)
    predict, durations = jax.jit(task.predict), {}
    for batch in _batches(config, clips, symbols, indices, train=False):
        logs = np.asarray(predict(fitted.variables, batch)["log_alignment"])
        for b, index, T, L in _clips(batch):
            durations[index] = alignment.durations(logs[b, :T, :L])
    return durations


def by_bundle(
    bundle: FlowSynthesizer,
    config,
    clips: FeatureSet,
    symbols: Sequence[np.ndarray],
    indices: Sequence[int],
) -> dict[int, np.ndarray]:
    """The same by a bundle with the same symbols, which need not learn from the clips.

    As all sentences that it learnt from, each ends in a mark, which is told apart from silence by
    nothing that is heard: the frames of both are those of the end.
    """
    durations, mark = {}, bundle.table.encode_symbols(".")
    for batch in _batches(config, clips, symbols, indices, train=False):
        for b, index, T, L in _clips(batch):
            if L < T:
                frames = np.asarray(batch["features"][b, :T])
                marked = np.insert(symbols[index], L - 1, mark)
                (counts,) = bundle.align(frames, [marked])
                durations[index] = np.append(counts[: L - 1], counts[L - 1 :].sum())
    return durations


def _batches(config, clips, symbols, indices, *, train: bool):
    nobody = np.zeros(len(clips), np.int32)
    return loaders.make_synthesis_loader(
        clips, indices, symbols, nobody, config.loader, train=train
    )


def _clips(batch: Mapping) -> Iterator[tuple[int, int, int, int]]:
    """Of each real clip its place in the batch, its number, and how many frames and symbols it has.

    One with more symbols than frames is left out.
    """
    for b, index in enumerate(batch["index"].tolist()):
        T, L = int(batch["num_frames"][b]), int(batch["num_symbols"][b])
        if batch["weight"][b] and L <= T:
            yield b, index, T, L
