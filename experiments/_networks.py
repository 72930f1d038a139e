"""The networks of the classification experiments: how they are set, trained, and become bundles.

Shape letters: B clips, C classes, D features.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from data_pipelines import loaders, splits
from data_pipelines.corpora import NO_SPEECH
from data_pipelines.feature_set import FeatureSet
from data_pipelines.loaders import LoaderConfig
from experiments import _experiment
from lin_jax import bundles, losses
from lin_jax.audio.augment import AugmentConfig
from lin_jax.errors import ConfigError
from lin_jax.models import registry
from lin_jax.tasks.classification import Classification, ClassificationConfig
from lin_jax.training.folds import FoldsConfig, Member, fit_ensemble
from lin_jax.training.loop import Program, TrainConfig
from lin_jax.training.optim import OptimConfig

WINDOW_SECONDS = 4.5  # of the bundles: a sentence is classified whole


@dataclasses.dataclass
class EncoderConfig:
    """The network and its sizes, which SmallSpeakerEncoder has none of.

    Attributes:
        name: SpeakerEncoder, or SmallSpeakerEncoder, that of the original project.
    """

    name: str = "SpeakerEncoder"
    widths: tuple[int, ...] = (32, 64, 128, 160)
    blocks: tuple[int, ...] = (0, 1, 1, 1)
    hidden: int = 256
    embedding: int = 192
    dropout: float = 0.0


@dataclasses.dataclass
class ConvolutionalConfig:
    """The network over frames.

    Attributes:
        name: ResidualClassifier.
    """

    name: str = "ResidualClassifier"
    widths: tuple[int, ...] = (24, 48, 96, 128)
    blocks: tuple[int, ...] = (0, 1, 1, 1)
    hidden: int = 192
    attention: bool = True
    dropout: float = 0.3


@dataclasses.dataclass
class DenseConfig:
    """The network over functionals.

    Attributes:
        name: DenseResidualClassifier.
    """

    name: str = "DenseResidualClassifier"
    hidden: int = 128
    blocks: int = 1
    dropout: float = 0.3


@dataclasses.dataclass
class TrainingConfig:
    """How networks of one kind are trained.

    Attributes:
        seeds: networks trained alike but for the seed, whose probabilities are averaged.
        train: how long one is trained on waveforms, and how often is evaluated.
        folds: how all of them are trained at once on features that fit into memory.
        loader: batches and crops of waveforms.
    """

    seeds: int = 1
    task: ClassificationConfig = dataclasses.field(default_factory=ClassificationConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    loader: LoaderConfig = dataclasses.field(default_factory=LoaderConfig)
    folds: FoldsConfig = dataclasses.field(default_factory=FoldsConfig)


@dataclasses.dataclass
class FusedConfig(TrainingConfig):
    """Networks on functionals, whose probabilities are averaged with those on frames.

    Attributes:
        features: feature sets of the same clips as functionals; "" fuses nothing.
    """

    features: str = ""
    network: DenseConfig = dataclasses.field(default_factory=DenseConfig)


class Networks:
    """The networks of one kind, on one feature set.

    Args:
        config: how they are trained.
        clips: with the label; those at other speeds are trained on besides, splits and labels are of
            the others.
        label: its name.
        names: its classes; those that are there, sorted, when None.
    """

    def __init__(self, config, clips: FeatureSet, label: str, names: Sequence[str] | None):
        self.config, self.clips = config, clips
        self._labels, self.names = clips.labels(label, names)
        self.labels = self._labels[clips.natural]
        self.network = registry.build(config.network, num_classes=len(self.names))
        plain = config.augment.of_waveforms if clips.store == "waveform" else AugmentConfig()
        if clips.frontend.feature == "functionals" and config.augment != plain:
            raise ConfigError(
                f"{clips.folder}: functionals cannot be augmented; give them as fused.features"
            )

    def fit(self, name: str, splits_: Sequence[splits.Split], workdir) -> list[bundles.Classifier]:
        """The seeds of every split, each split as a bundle; what was trained before is read."""
        # Seeds outermost: a run called again with more seeds goes on after those it has.
        members = [
            Member(train, self.clips.natural[split.test], seed, self.constants(train))
            for seed in range(self.config.seeds)
            for split in splits_
            for train in [self.clips.at_every_speed(split.train)]
        ]
        if self.clips.store == "features":
            config = self.config
            if config.train.compile_only:
                raise ConfigError("compile_only is of training on waveforms: prepare those")
            trained = fit_ensemble(
                self.make_task, self._arrays(), members, config.folds, config.optim, workdir
            )
            variables = [each.variables for each in trained]
        else:
            variables = [
                self._fit(member, workdir / f"member-{number:03d}")
                for number, member in enumerate(members)
            ]
        weights = [(each, *m.constants[:2]) for each, m in zip(variables, members, strict=True)]
        count, bundles_ = len(splits_), []
        for number in range(count):
            stacked = jax.tree.map(_stack, *weights[number::count])
            bundles_.append(
                bundles_[0].with_weights(*stacked) if bundles_ else self._bundle(name, *stacked)
            )
        return bundles_

    def constants(self, train):
        """Mean and deviation of the features of training rows [D], and class weights [C]."""
        counts = np.bincount(self._labels[train], minlength=len(self.names))
        weights = np.ones(len(counts))
        if self.config.task.class_weights:
            weights = losses.balanced_class_weights(counts)
        return *self.clips.mean_std(train), np.asarray(weights, np.float32)

    def make_task(self, constants) -> Classification:
        """The task for such constants."""
        mean, std, weights = constants
        frontend, config = self.clips.frontend, self.config
        settings = (mean, std, config.task, config.augment, weights)
        return Classification(self.network, self.names, frontend, *settings)

    def _bundle(self, name: str, variables, mean, std) -> bundles.Classifier:
        """A classifier that is not calibrated yet."""
        return bundles.Classifier(
            name,
            self.network,
            self.clips.frontend,
            variables,
            mean,
            std,
            labels=self.names,
            members=self.config.seeds,
            tta=dataclasses.asdict(self.config.task.tta),
            window_seconds=WINDOW_SECONDS,
            no_speech=NO_SPEECH if NO_SPEECH in self.names else None,
        )

    @functools.cached_property
    def _program(self) -> Program:
        """What all members run."""
        return Program(self.make_task, self.config.train, self.config.optim)

    def _fit(self, member: Member, workdir: pathlib.Path):
        """Train one network by the loop, with curves of clips that it is not trained on."""
        train = dataclasses.replace(self.config.train, seed=member.seed)
        config = dataclasses.replace(self.config, train=train)
        task = self.make_task(member.constants)
        watched = np.setdiff1d(member.test, member.train)
        watch = (lambda: self._loader(watched)) if len(watched) else None
        stream = self._loader(member.train, train=True, seed=member.seed)
        shared = {"program": self._program, "constants": member.constants}
        result = _experiment.fit(config, task, stream, watch, workdir, **shared)
        # Those of the last step: none is chosen by the clips that it is evaluated on.
        return jax.device_get(result.state.variables)

    def _loader(self, indices, *, train: bool = False, seed: int = 0):
        config = dataclasses.replace(self.config.loader, seed=self.config.loader.seed + seed)
        if train:  # a clip as long as several crops is drawn as often
            seconds = np.array([row["seconds"] for row in self.clips.rows])[indices]
            indices = np.repeat(indices, np.maximum(1, seconds // config.crop_seconds).astype(int))
        return loaders.make_loader(self.clips, indices, self._labels, config, train=train)

    def _arrays(self):
        """All clips, padded to the longest."""
        length = self.clips.lengths
        padded = np.zeros((len(length), length.max(), self.clips.frontend.num_features), np.float32)
        for index, frames in enumerate(length):
            padded[index, :frames] = self.clips[index]["features"]
        return {"features": padded, "num_frames": length, "label": self._labels}


def _stack(*leaves):
    return np.stack(leaves) if len(leaves) > 1 else leaves[0]


@dataclasses.dataclass
class AutoencoderConfig:
    """The network and its sizes, of which each network has some.

    Attributes:
        name: SpectralAutoencoder, CausalEnhancer or MelAutoencoder.
    """

    name: str = "SpectralAutoencoder"
    n_fft: int = 512
    hop_length: int = 256
    width: int = 32
    inner_width: int = 64
    outer: tuple[int, ...] = (1,)
    inner: tuple[int, ...] = (2,)
    bottleneck: int = 16
    hidden: int = 256
    middle: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 16, 8, 4, 2, 1)
    blocks: int = 2
