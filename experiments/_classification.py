"""What the classification experiments share: one training, cross-validations with their reports, and the bundle.

Shape letters: B clips, S seeds, C classes.
"""

import contextlib
import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from data_pipelines import features, loaders, splits
from data_pipelines.corpora import NO_SPEECH
from data_pipelines.loaders import LoaderConfig
from experiments import _run
from lin_jax import bundles, calibration, losses, metrics
from lin_jax.audio.augment import AugmentConfig
from lin_jax.errors import ConfigError
from lin_jax.models.residual_classifier import DenseResidualClassifier, ResidualClassifier
from lin_jax.reporting import plots
from lin_jax.tasks.classification import Classification, ClassificationConfig
from lin_jax.training import loop, writers
from lin_jax.training.folds import FoldsConfig, Member, Trained, fit_ensemble
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig

WINDOW_SECONDS = 4.5  # of the bundles: a sentence is heard whole
NETWORKS = {
    "convolutional": ResidualClassifier,
    "dense": DenseResidualClassifier,
    "shallow": functools.partial(DenseResidualClassifier, hidden=128, blocks=1),
}


@dataclasses.dataclass
class Config:
    """Everything a classification experiment can be told.

    Attributes:
        network: "convolutional", over frames, "dense", over the mean and deviation of the frames,
            or "shallow", a small dense one.
        seeds: networks trained alike but for the seed, whose probabilities are averaged.
        functionals: feature set of the same clips as functionals, or several; "" has no networks on
            them fused.
    """

    network: str = "convolutional"
    seeds: int = 1
    functionals: str = ""
    task: ClassificationConfig = dataclasses.field(default_factory=ClassificationConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    loader: LoaderConfig = dataclasses.field(default_factory=LoaderConfig)
    folds: FoldsConfig = dataclasses.field(default_factory=FoldsConfig)


class Experiment:
    """One label of one feature set, and what can be done with it.

    Attributes:
        learnt: which clips may be learnt from [B] bool, all at first; the others are only judged.

    Args:
        config: see `Config`.
        folder: the feature set, or several; clips of which the label is unknown are left out.
        label: name of the label to learn.
        names: its classes in order; those found, sorted, when None.
        fused: config of another experiment, on the functionals that the config names, if it does.
            In cross-validations both are judged alone, in the folders "alone" and "fused", and
            then together, their probabilities averaged; the bundle has both.
    """

    def __init__(
        self,
        config: Config,
        folder: pathlib.Path,
        label: str,
        names: Sequence[str] | None = None,
        fused: Config | None = None,
    ):
        if config.network not in NETWORKS:
            raise ConfigError(
                f"unknown network {config.network!r}: choose one of {', '.join(NETWORKS)}"
            )
        self.config, self.label = config, label
        self.clips = features.open_features(folder).with_label(label)
        self.labels, self.names = self.clips.labels(label, names)
        self.speakers = self.clips.people
        if self.clips.frontend.feature == "functionals" and config.augment != (
            config.augment.of_waveforms if self.clips.store == "waveform" else AugmentConfig()
        ):
            raise ConfigError(
                f"{folder}: functionals cannot be augmented; make features of frames, and give these fused"
            )
        self.learnt = np.ones(len(self.labels), bool)
        self.fused = (
            Experiment(fused, config.functionals, label, names) if config.functionals else None
        )
        if self.fused and [row["id"] for row in self.fused.clips.rows] != [
            row["id"] for row in self.clips.rows
        ]:
            raise ConfigError(
                f"{folder}: other clips than those fused; prepare both from the same recordings"
            )

    def train(self, workdir: pathlib.Path) -> dict:
        """Train one network on 80 % of the speakers, watched on 10 %; judge it on the rest, as `judge` says."""
        config, split = self.config, splits.by_speaker(self.speakers)
        task, result = self._fit(Member(split.train, split.validation, config.train.seed), workdir)
        logits = np.zeros((1, len(self.labels), len(self.names)))
        for side in (split.validation, split.test):
            logits[0, side] = self._logits(task, result.variables, side)
        temperature = calibration.fit_temperature(
            logits[:, split.validation], self.labels[split.validation]
        )
        return self.judge(logits, split.test, temperature, split.protocol, workdir)

    def cross_validate(self, all_splits: Sequence[splits.Split], workdir: pathlib.Path) -> dict:
        """Train on all splits and judge every clip by the networks that had it in their test side."""
        everything, protocol = (
            np.concatenate([split.test for split in all_splits]),
            all_splits[0].protocol,
        )

        def judge(logits, workdir, **told):
            temperature = calibration.fit_temperature(
                logits[:, everything], self.labels[everything]
            )
            return self.judge(logits, everything, temperature, protocol, workdir, **told)

        logits = self._held_out(all_splits, workdir)
        if not self.fused:
            return judge(logits, workdir)
        others = self.fused._held_out(all_splits, workdir / "fused")
        alone, _ = judge(logits, workdir / "alone"), judge(others, workdir / "fused")
        # Each network as often as there are of the other kind, so that both kinds count alike.
        together = np.concatenate(
            [np.repeat(logits, len(others), axis=0), np.repeat(others, len(logits), axis=0)]
        )
        return judge(together, workdir, seeds=len(logits), uar_alone=alone["uar"])

    def fit_folds(
        self, all_splits: Sequence[splits.Split], workdir: pathlib.Path
    ) -> tuple[list[Member], list[Trained]]:
        """Train the seeds of every split, or take up what `workdir` has of them."""
        # Seeds outermost: a run called again with more seeds goes on after those it has.
        members = [
            Member(train, split.test, seed, self.constants(train))
            for seed in range(self.config.seeds)
            for split in all_splits
            for train in [split.train[self.learnt[split.train]]]
        ]
        return members, self._fit_members(members, workdir)

    def fold_bundles(
        self, name: str, all_splits: Sequence[splits.Split], workdir: pathlib.Path
    ) -> list[bundles.Classifier]:
        """The networks of each split as a bundle, with those fused, not calibrated; trained or taken up as need be."""
        members, trained = self.fit_folds(all_splits, workdir)
        others = self.fused and self.fused.fold_bundles(
            f"{name} fused", all_splits, workdir / "fused"
        )
        number = len(all_splits)
        found = [
            self.bundle(name, members[i::number], trained[i::number], {"temperature": 1.0})
            for i in range(number)
        ]
        if not others:
            return found
        return [
            dataclasses.replace(one, fused=other) for one, other in zip(found, others, strict=True)
        ]

    def _held_out(self, all_splits: Sequence[splits.Split], workdir: pathlib.Path) -> np.ndarray:
        """Logits of each seed for every clip [S, B, C], by the networks that had it in their test side."""
        logits = np.zeros((self.config.seeds, len(self.labels), len(self.names)))
        for member, result in zip(*self.fit_folds(all_splits, workdir), strict=True):
            logits[member.seed, member.test] = result.outputs["logits"]
        return logits

    def judge(
        self, logits, indices, temperature: float, protocol: str, workdir: pathlib.Path, **told
    ) -> dict:
        """Figures of held-out clips, also written to results.json, predictions.npz, plots and TensorBoard.

        Args:
            logits: of each seed for every clip [S, B, C]; the seeds are averaged as probabilities.
            indices: of the clips that are judged.
            temperature: of the softmax.
            protocol: how the clips were held out.
            workdir: where to.
            **told: what else results.json tells.
        """
        workdir.mkdir(parents=True, exist_ok=True)
        probabilities = calibration.mean_probabilities(logits[:, indices], temperature)
        labels, predicted, speakers = (
            self.labels[indices],
            probabilities.argmax(-1),
            self.speakers[indices],
        )
        by_speaker = metrics.confusion_by_speaker(labels, predicted, speakers, len(self.names))
        matrix = sum(by_speaker.values())
        low, high = metrics.bootstrap_interval(
            list(by_speaker.values()), lambda drawn: metrics.uar(drawn.sum(0))
        )
        accuracies = {speaker: metrics.accuracy(own) for speaker, own in by_speaker.items()}
        figures = {
            "uar": metrics.uar(matrix),
            "uar_low": low,
            "uar_high": high,
            "accuracy": metrics.accuracy(matrix),
            "macro_f1": metrics.macro_f1(matrix),
            "calibration_error": metrics.expected_calibration_error(probabilities, labels),
        }
        results = {
            "protocol": protocol,
            "speakers": len(by_speaker),
            "clips": len(labels),
            "seeds": len(logits),
            **figures,
            "temperature": temperature,
            "recalls": dict(zip(self.names, metrics.recalls(matrix).tolist(), strict=True)),
            "accuracy_by_speaker": accuracies,
            **told,
        }
        (workdir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        np.savez_compressed(
            workdir / "predictions.npz",
            logits=logits[:, indices].astype(np.float32),
            labels=labels,
            indices=indices,
        )
        pictures = {
            "confusion": plots.plot_confusion(matrix, self.names, workdir / "confusion.png"),
            "accuracy_by_speaker": plots.plot_bars(
                accuracies, workdir / "accuracy_by_speaker.png", mark=figures["accuracy"]
            ),
        }
        with contextlib.closing(writers.create(workdir, 0)) as writer:
            writer.write_images(
                0, {name: plots.pixels(figure) for name, figure in pictures.items()}
            )
        print(f"{protocol}, {len(by_speaker)} speakers, {len(labels)} clips:")
        print(", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
        return results

    def ship(
        self,
        judged: pathlib.Path,
        workdir: pathlib.Path,
        name: str | None = None,
        **facts,
    ) -> pathlib.Path:
        """Train the seeds on all clips and save them as a bundle.

        Args:
            judged: workdir of the cross-validation whose temperature and figures the bundle
                carries.
            workdir: where to; the bundle is a folder in it.
            name: of the bundle; that of the label when None.
            **facts: what else its card says, as `lin_jax.bundles.card` lists it.
        """
        if not (judged / "results.json").exists():
            raise ConfigError(
                f"{judged}: no results.json to calibrate by: cross-validate into it first"
            )
        results = json.loads((judged / "results.json").read_text())
        bundle = self._final(name or self.label, results, workdir)
        if bundle.fused:
            facts["details"] = (
                f"Its probabilities are averaged with those of {bundle.fused.members} dense networks "
                "on functionals (statistics of pitch, loudness, spectrum and their changes)."
            )
        protocol = (
            f"{results['protocol']}, {results['speakers']} speakers, {results['clips']} clips: each "
            "speaker was judged by networks trained without that speaker, what ships was trained on all."
        )
        facts = {"protocol": protocol} | facts
        provenance = _run.provenance(
            self.clips,
            np.flatnonzero(self.learnt),
            f"python -m experiments.{bundle.name} --mode=ship",
            metrics=_metrics(results),
            **facts,
        )
        return bundles.save(workdir / bundle.name, bundle, provenance=provenance, dtype="float16")

    def _final(self, name: str, results: Mapping, workdir: pathlib.Path) -> bundles.Classifier:
        """The bundle that is trained on all clips, with what stands fused it, calibrated by their common results."""
        everything = np.flatnonzero(self.learnt)
        members = [
            Member(everything, everything[:1], seed, self.constants(everything))
            for seed in range(self.config.seeds)
        ]
        bundle = self.bundle(name, members, self._fit_members(members, workdir), results)
        fused = self.fused and self.fused._final(f"{name} fused", results, workdir / "fused")
        return dataclasses.replace(bundle, fused=fused)

    def bundle(
        self, name: str, members: Sequence[Member], trained: Sequence[Trained], results: Mapping
    ) -> bundles.Classifier:
        """The members as one classifier, calibrated by the results of a cross-validation."""
        return bundles.Classifier(
            name,
            self.network(),
            self.clips.frontend,
            *jax.tree.map(
                _stack,
                *(
                    (result.variables, *member.constants[:2])
                    for member, result in zip(members, trained, strict=True)
                ),
            ),
            labels=self.names,
            members=len(members),
            tta=dataclasses.asdict(self.config.task.tta),
            window_seconds=WINDOW_SECONDS,
            temperature=results["temperature"],
            unsure_below=results.get("unsure_below", 0.0),
            no_speech=NO_SPEECH if NO_SPEECH in self.names else None,
        )

    def network(self):
        """The network of the config."""
        return NETWORKS[self.config.network](num_classes=len(self.names))

    def constants(self, train):
        """What is measured on the training clips: mean and deviation of the features [D], and class weights [C]."""
        counts = np.bincount(self.labels[train], minlength=len(self.names))
        weights = (
            losses.balanced_class_weights(counts)
            if self.config.task.class_weights
            else np.ones(len(counts))
        )
        return *self.clips.mean_std(train), np.asarray(weights, np.float32)

    def make_task(self, constants) -> Classification:
        """The task for such constants."""
        mean, std, weights = constants
        config = self.config
        return Classification(
            self.network(),
            self.names,
            self.clips.frontend,
            mean,
            std,
            config.task,
            config.augment,
            weights,
        )

    def _fit_members(self, members: Sequence[Member], workdir: pathlib.Path) -> list[Trained]:
        """Train members at once on features that all lie on the device, or one by one on waveforms read as needed."""
        config, trained = self.config, []
        if self.clips.store == "features":
            return fit_ensemble(
                self.make_task, self._arrays(), members, config.folds, config.optim, workdir
            )
        for number, member in enumerate(members):
            task, result = self._fit(member, workdir / f"member-{number:03d}")
            # Those of the last step: none is chosen by the clips that judge it.
            variables = jax.device_get(result.state.variables)
            trained.append(
                Trained(variables, {"logits": self._logits(task, variables, member.test)})
            )
        return trained

    def _fit(self, member: Member, workdir: pathlib.Path) -> tuple[Classification, loop.Result]:
        """Train by the loop, with curves of the clips that are learnt from and of those that are not."""
        config = dataclasses.replace(
            self.config, train=dataclasses.replace(self.config.train, seed=member.seed)
        )
        task = self.make_task(self.constants(member.train))
        train = self._loader(member.train, train=True, seed=member.seed)
        watched = np.setdiff1d(member.test, member.train)
        watch = (lambda: self._loader(watched)) if len(watched) else None
        return task, _run.fit(config, task, train, watch, workdir)

    def _loader(self, indices, *, train: bool = False, seed: int = 0):
        config = dataclasses.replace(self.config.loader, seed=self.config.loader.seed + seed)
        if train:  # a clip as long as several crops is drawn as often
            seconds = np.array([row["seconds"] for row in self.clips.rows])[indices]
            indices = np.repeat(indices, np.maximum(1, seconds // config.crop_seconds).astype(int))
        return loaders.make_loader(self.clips, indices, self.labels, config, train=train)

    def _logits(self, task, variables, indices) -> np.ndarray:
        """Logits of clips, each heard whole: [len(indices), C]."""
        logits, predict = np.zeros((len(self.labels), len(self.names))), jax.jit(task.predict)
        for batch in self._loader(indices):
            logits[batch["index"]] = predict(variables, batch)["logits"]
        return logits[indices]

    def _arrays(self):
        """All clips, padded to the longest."""
        length = self.clips.lengths
        padded = np.zeros((len(length), length.max(), self.clips.frontend.num_features), np.float32)
        for index, frames in enumerate(length):
            padded[index, :frames] = self.clips[index]["features"]
        return {"features": padded, "num_frames": length, "label": self.labels}


def _stack(*leaves):
    return np.stack(leaves) if len(leaves) > 1 else leaves[0]


def _metrics(results: Mapping) -> dict:
    """The metrics of results.json as a card has them: all clips, and each condition and group."""
    titles = {
        "uar": "unweighted average recall",
        "accuracy": "accuracy",
        "macro_f1": "macro F1",
        "calibration_error": "calibration error",
        "worst_recall": "lowest recall",
    }

    def row(values):
        return {
            title: {
                "value": values[name],
                "low": values[f"{name}_low"],
                "high": values[f"{name}_high"],
            }
            if f"{name}_low" in values
            else values[name]
            for name, title in titles.items()
            if name in values
        }

    parts = results.get("conditions", {}) | results.get("groups", {})
    return {"held-out speakers": row(results)} | {
        name: row(values) for name, values in parts.items()
    }
