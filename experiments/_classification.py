"""What the classification experiments share: one training, cross-validations with their reports, and the bundle.

Shape letters: B clips, S seeds, C classes.
"""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import jax
import numpy as np

from data_pipelines import features, loaders, splits
from data_pipelines.loaders import LoaderConfig
from lin_jax import bundles, losses, metrics
from lin_jax.apps import report
from lin_jax.audio.augment import AugmentConfig
from lin_jax.errors import ConfigError
from lin_jax.models.residual_classifier import DenseResidualClassifier, ResidualClassifier
from lin_jax.tasks.classification import Classification, ClassificationConfig
from lin_jax.training import loop
from lin_jax.training.folds import FoldsConfig, Member, fit_members
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

WINDOW_SECONDS = 4.5  # of the bundles: a sentence is heard whole
NETWORKS = {"convolutional": ResidualClassifier, "dense": DenseResidualClassifier}


@dataclasses.dataclass
class Config:
    """Everything a classification experiment can be told.

    Attributes:
      network: "convolutional", over frames, or "dense", over the mean and deviation of the frames.
      seeds: networks trained alike but for the seed, whose probabilities are averaged.
    """

    network: str = "convolutional"
    seeds: int = 1
    task: ClassificationConfig = dataclasses.field(default_factory=ClassificationConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    loader: LoaderConfig = dataclasses.field(default_factory=LoaderConfig)
    folds: FoldsConfig = dataclasses.field(default_factory=FoldsConfig)


class Experiment:
    """One label of one feature set, and what can be done with it.

    Args:
      config: see `Config`.
      folder: the feature set.
      label: name of the label to learn.
      names: its classes in order; those found, sorted, when None.
    """

    def __init__(self, config: Config, folder: pathlib.Path, label: str, names: Sequence[str] | None = None):
        if config.network not in NETWORKS:
            raise ConfigError(f"unknown network {config.network!r}: choose one of {', '.join(NETWORKS)}")
        self.config, self.label = config, label
        self.clips = features.open_features(folder)
        self.labels, self.names = self.clips.labels(label, names)
        self.speakers = np.array(self.clips.speakers)

    def train(self, workdir: pathlib.Path) -> loop.Result:
        """Train one network on 80 % of the speakers, watched on 10 %, judged on the rest."""
        split = splits.by_speaker(self.speakers)
        task = self.make_task(self.constants(split.train))

        def loader(indices, train):
            return loaders.make_loader(self.clips, indices, self.labels, self.config.loader, train=train)

        result = loop.fit(
            task,
            self.config.train,
            self.config.optim,
            loader(split.train, True),
            lambda: loader(split.validation, False),
            workdir,
        )
        report.plot_curves(result.history, workdir / "curves.png")
        figures = loop.evaluate(task, result.variables, loader(split.test, False))
        speakers = len(set(self.speakers[split.test]))
        print(f"{split.protocol}, {speakers} speakers, {len(split.test)} clips: {_line(figures)}")
        return result

    def cross_validate(self, all_splits: Sequence[splits.Split], workdir: pathlib.Path) -> dict:
        """Train on all splits at once, judge each test side, and write results.json, predictions.npz and plots."""
        config = self.config
        # Seeds outermost: a run called again with more seeds goes on after those it has.
        members = [
            Member(split.train, split.test, seed, self.constants(split.train))
            for seed in range(config.seeds)
            for split in all_splits
        ]
        trained = fit_members(self.make_task, self._arrays(), members, config.folds, config.optim, workdir)
        logits = np.zeros((config.seeds, len(self.labels), len(self.names)))
        for member, result in zip(members, trained, strict=True):
            logits[member.seed, member.test] = result.outputs["logits"]
        results = self.judge(logits, all_splits[0].protocol, workdir)
        print(_line({name: value for name, value in results.items() if isinstance(value, float)}))
        return results

    def judge(self, logits: np.ndarray, protocol: str, workdir: pathlib.Path) -> dict:
        """Figures of out-of-fold logits [S, B, C], averaged over the seeds as probabilities."""
        temperature = metrics.fit_temperature(logits, self.labels)
        probabilities = metrics.mean_probabilities(logits, temperature)
        predicted = probabilities.argmax(-1)
        by_speaker = {
            speaker: np.asarray(metrics.confusion_matrix(self.labels[own], predicted[own], len(self.names)))
            for speaker in np.unique(self.speakers)
            if (own := self.speakers == speaker).any()
        }
        matrix = sum(by_speaker.values())
        low, high = metrics.bootstrap_interval(list(by_speaker.values()), lambda drawn: metrics.uar(drawn.sum(0)))
        accuracies = {speaker: metrics.accuracy(own) for speaker, own in by_speaker.items()}
        results = {
            "protocol": protocol,
            "speakers": len(by_speaker),
            "clips": len(self.labels),
            "seeds": len(logits),
            "uar": metrics.uar(matrix),
            "uar_low": low,
            "uar_high": high,
            "accuracy": metrics.accuracy(matrix),
            "macro_f1": metrics.macro_f1(matrix),
            "calibration_error": metrics.expected_calibration_error(probabilities, self.labels),
            "temperature": temperature,
            "recalls": dict(zip(self.names, metrics.recalls(matrix).tolist(), strict=True)),
            "accuracy_by_speaker": accuracies,
        }
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        np.savez_compressed(workdir / "predictions.npz", logits=logits.astype(np.float32), labels=self.labels)
        report.plot_confusion(matrix, self.names, workdir / "confusion.png")
        report.plot_bars(accuracies, workdir / "accuracy_by_speaker.png", mark=metrics.accuracy(matrix))
        return results

    def ship(self, judged: pathlib.Path, card: str, workdir: pathlib.Path) -> pathlib.Path:
        """Train the seeds on all clips and save them as a bundle.

        Args:
          judged: workdir of the cross-validation whose temperature and figures the bundle carries.
          card: model card, with the names of results.json, and `members`, in braces where the figures belong.
          workdir: where to; the bundle is a folder in it, named by the label.
        """
        if not (judged / "results.json").exists():
            raise ConfigError(f"{judged}: no results.json to calibrate by: cross-validate into it first")
        results = json.loads((judged / "results.json").read_text())
        everything = np.arange(len(self.labels))
        members = [
            Member(everything, everything[:1], seed, self.constants(everything)) for seed in range(self.config.seeds)
        ]
        trained = fit_members(self.make_task, self._arrays(), members, self.config.folds, self.config.optim, workdir)
        bundle = bundles.Bundle(
            self.label,
            self.names,
            self.network(),
            self.clips.frontend,
            *jax.tree.map(
                _stack,
                *((result.variables, *member.constants[:2]) for member, result in zip(members, trained, strict=True)),
            ),
            members=len(members),
            window_seconds=WINDOW_SECONDS,
            temperature=results["temperature"],
        )
        return bundles.save(workdir / self.label, bundle, card.format(members=len(members), **results), dtype="float16")

    def network(self):
        """The network of the config."""
        return NETWORKS[self.config.network](num_classes=len(self.names))

    def constants(self, train):
        """What is measured on the training clips: mean and deviation of the features [D], and class weights [C]."""
        counts = np.bincount(self.labels[train], minlength=len(self.names))
        weights = losses.balanced_class_weights(counts) if self.config.task.class_weights else np.ones(len(counts))
        return *self.clips.mean_std(train), np.asarray(weights, np.float32)

    def make_task(self, constants) -> Classification:
        """The task for such constants."""
        mean, std, weights = constants
        config = self.config
        return Classification(
            self.network(), self.names, self.clips.frontend, mean, std, config.task, config.augment, weights
        )

    def _arrays(self):
        """All clips, padded to the longest."""
        length = self.clips.lengths
        padded = np.zeros((len(length), length.max(), self.clips.frontend.num_features), np.float32)
        for index, frames in enumerate(length):
            padded[index, :frames] = self.clips[index]["features"]
        return {"features": padded, "num_frames": length, "label": self.labels}


def _line(figures):
    return ", ".join(f"{name} {value:.3f}" for name, value in figures.items())


def _stack(*leaves):
    return np.stack(leaves) if len(leaves) > 1 else leaves[0]
