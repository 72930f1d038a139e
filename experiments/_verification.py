"""What `experiments.verification` does: held-out speakers, the training, the judging on trials, and the bundle.

Shape letters: B clips, N trials, E embedding, S speakers.
"""

import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Iterator

import numpy as np

from data_pipelines import features, loaders, splits
from data_pipelines.loaders import LoaderConfig
from experiments import _run
from lin_jax.apps import report
from lin_jax.audio.augment import AugmentConfig
from lin_jax.errors import ConfigError
from lin_jax.models.speaker_encoder import SmallSpeakerEncoder, SpeakerEncoder
from lin_jax.tasks.verification import Verification, VerificationConfig
from lin_jax.training import loop, writers
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig


@dataclasses.dataclass
class EncoderConfig:
    """Size of the default network; see `SpeakerEncoder`."""

    widths: tuple[int, ...] = (32, 64, 96, 128)
    blocks: tuple[int, ...] = (1, 1, 2, 1)
    hidden: int = 256
    embedding: int = 192
    dropout: float = 0.0


@dataclasses.dataclass
class Config:
    """Everything the experiment can be told.

    Attributes:
      network: "residual", of the size in `encoder`, or "small", the network of the original project.
      hold_out: speakers of each corpus to judge on; at most a fifth of them, so that a tiny corpus only trains.
      validation: speakers of each corpus to choose the threshold by; at most a tenth.
      seed: of the choice of speakers.
      eval_batches: batches of each corpus' validation speakers in an evaluation during training.
      segment_seconds: length of the pieces on which a corpus with one clip a speaker is judged.
      cohort: nearest strangers, among the training speakers, that scores are normalised by (AS-norm).
      noise: feature set of sounds without speech, from which the bundle learns what is no voice.
    """

    network: str = "residual"
    hold_out: int = 25
    validation: int = 12
    seed: int = 0
    eval_batches: int = 4
    segment_seconds: float = 3.0
    cohort: int = 100
    noise: str = ""
    encoder: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)
    task: VerificationConfig = dataclasses.field(default_factory=VerificationConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    loader: LoaderConfig = dataclasses.field(default_factory=LoaderConfig)


class Experiment:
    """One or several corpora, and what can be learnt of their speakers.

    Args:
      config: see `Config`.
      folder: the feature set, or several with commas between them.
    """

    def __init__(self, config: Config, folder: pathlib.Path):
        if config.network not in ("residual", "small"):
            raise ConfigError(f"unknown network {config.network!r}: choose residual or small")
        self.config = config
        self.clips = features.open_features(folder)
        self.speakers, self.corpora = np.array(self.clips.speakers), np.array(self.clips.corpora)
        self.split = self._hold_out()

    def fit(self, workdir: pathlib.Path, *, everything: bool = False) -> tuple[Verification, loop.Result]:
        """Train on the training speakers, or on everything; go on, or return at once, where that was done before."""
        config = self.config
        split = splits.Split("all speakers", np.arange(len(self.clips)), *[np.empty(0, int)] * 2)
        split = split if everything else self.split
        task, labels = self.make_task(split.train)
        train = loaders.make_loader(self.clips, split.train, labels, config.loader, train=True)
        with contextlib.closing(writers.create(workdir, config.train.num_steps)) as writer:
            writer.write_hparams(_run.flatten(config))
            result = loop.fit(
                task,
                config.train,
                config.optim,
                train,
                (lambda: self._validation_batches(split.validation)) if len(split.validation) else None,
                workdir,
                writer,
            )
            curves = report.plot_curves(result.history, workdir / "curves.png")
            writer.write_images(config.train.num_steps, {"curves": report.pixels(curves)})
        return task, result

    def make_task(self, train) -> tuple[Verification, np.ndarray]:
        """The task for the speakers of training clips, and the number of each clip's speaker, -1 outside of them."""
        names = np.unique(self.speakers[train])
        labels = np.searchsorted(names, self.speakers).clip(max=len(names) - 1)
        labels = np.where(names[labels] == self.speakers, labels, -1)
        config = self.config
        network = SmallSpeakerEncoder() if config.network == "small" else _residual(config.encoder)
        mean_std = self.clips.mean_std(train)
        return Verification(network, len(names), self.clips.frontend, *mean_std, config.task, config.augment), labels

    def _hold_out(self) -> splits.Split:
        """Speakers of each corpus for test and validation, the rest for training."""
        config, sides = self.config, ([], [], [])
        for corpus in np.unique(self.corpora):
            names = np.unique(self.speakers[self.corpora == corpus])
            names = np.random.default_rng(config.seed).permutation(names)
            test, validation = min(config.hold_out, len(names) // 5), min(config.validation, len(names) // 10)
            edges = (len(names) - test - validation, len(names) - test)
            for side, chosen in zip(sides, np.split(names, edges), strict=True):
                side.extend(chosen)
        split = splits.Split("speaker-disjoint", *(np.flatnonzero(np.isin(self.speakers, side)) for side in sides))
        splits.check(split, self.speakers)
        return split

    def _validation_batches(self, indices) -> Iterator[dict]:
        """The same crops every time, each batch of the speakers of one corpus: a pair of two corpora would be easy."""
        numbers, _ = self.clips.labels("speaker")
        K = self.config.loader.clips_per_speaker or 2
        for corpus in np.unique(self.corpora[indices]):
            own = indices[self.corpora[indices] == corpus]
            speakers = len(np.unique(self.speakers[own]))
            if speakers < 2:
                continue
            size = min(self.config.loader.batch_size // K, speakers) * K
            settings = dataclasses.replace(self.config.loader, batch_size=size, clips_per_speaker=K, seed=0)
            batches = loaders.make_loader(self.clips, own, numbers, settings, train=True)
            try:
                yield from itertools.islice(batches, self.config.eval_batches)
            finally:
                batches.close()


def _residual(config: EncoderConfig) -> SpeakerEncoder:
    settings = dataclasses.asdict(config)
    return SpeakerEncoder(**settings | {"widths": tuple(config.widths), "blocks": tuple(config.blocks)})
