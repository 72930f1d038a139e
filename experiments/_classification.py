"""What the classification experiments share: cross-validation by bundles, and the one of all clips.

Shape letters: B clips, C classes.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from data_pipelines import features, splits
from data_pipelines.corpora import NO_SPEECH
from experiments import _experiment, _run
from experiments._networks import ConvolutionalConfig, FusedConfig, Networks, TrainingConfig
from lin_jax import bundles
from lin_jax.errors import ConfigError, FeatureError
from lin_jax.evaluation import classification as evaluation
from lin_jax.evaluation.conditions import ConditionsConfig
from lin_jax.training import writers

CLEAN = ConditionsConfig().conditions()


@dataclasses.dataclass
class EvalConfig(ConditionsConfig):
    """What a classifier is evaluated under.

    Attributes:
        per_speaker: clips of a speaker that are evaluated under other conditions than clean.
        unsure_below: probability below which the bundle says "unsure".
        by_seed: whether the networks of each seed are evaluated alone as well, as papers do that
            quote the mean of several runs.
    """

    per_speaker: int = 4
    unsure_below: float = 0.0
    by_seed: bool = False


@dataclasses.dataclass
class Config(TrainingConfig):
    """The settings.

    Attributes:
        init: is not used: classifiers start from random parameters.
        label: column that is learnt, of whatever classes it has; "" is that of the experiment.
        protocol: "loso", leave one speaker out; "folds" of speakers; "random", folds of clips, whose
            speakers are known: far too good for new voices; for emotion also "reslstm", the folds
            of a paper.
        num_folds: of "folds" and "random".
        speech_gate: of the bundle, as are the next four; see `lin_jax.bundles.Classifier`.
        child_gate: a verifier that knows voices of children, of whom the answer then warns.
        min_seconds: below which it does not answer.
        min_snr_db: below which it is unsure.
        note: that it says beside every answer.
    """

    init: str = ""
    label: str = ""
    protocol: str = "loso"
    num_folds: int = 5
    speech_gate: str = ""
    child_gate: str = ""
    min_seconds: float = 0.0
    min_snr_db: float = 0.0
    note: str = ""
    network: ConvolutionalConfig = dataclasses.field(default_factory=ConvolutionalConfig)
    fused: FusedConfig = dataclasses.field(default_factory=FusedConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)


def functionals_alone(config: Config) -> dict:
    """The settings of a `Stage` of the fused networks alone, with their features as --features."""
    settings = _run.flatten(config.fused).items()
    settings = {name: tuple(x) if isinstance(x, list) else x for name, x in settings}
    return {name: value for name, value in settings.items() if name != "features"}


class Experiment(_experiment.Experiment):
    """One label of one or several corpora, cross-validated; ships a classifier of all clips."""

    LABEL: ClassVar[str]
    CLASSES: ClassVar[tuple[str, ...] | None] = None
    PUBLISHED: ClassVar[Mapping[str, tuple[str, Sequence]]] = {}  # protocol to source and speakers

    def __init__(self, config: Config, folder: str | pathlib.Path, bundle: str = ""):
        super().__init__(config, folder, bundle)
        label, classes = (config.label, None) if config.label else (self.LABEL, self.CLASSES)
        clips = self.clips.with_label(label)
        self.networks, self.clips = Networks(config, clips, label, classes), clips.at_own_speed()
        self.speakers, self.corpora = self.clips.people, self.clips.corpora
        self.labels, self.names = self.networks.labels, self.networks.names
        self.fused = None
        if config.fused.features:
            clips = features.open_features(config.fused.features).with_label(label)
            self.fused = Networks(config.fused, clips, label, classes)
            fused_ids = [row["id"] for row in clips.at_own_speed().rows]
            if fused_ids != [row["id"] for row in self.clips.rows]:
                raise ConfigError(f"{folder}: other clips than those fused; prepare both alike")
        if config.eval.by_seed and self.fused and config.seeds != config.fused.seeds:
            raise ConfigError("eval.by_seed: fused networks of as many seeds: set fused.seeds")
        if config.eval.snrs and not config.eval.noise and NO_SPEECH not in self.names:
            raise ConfigError(
                "eval.snrs: no noises to add: name a folder of them with --config.eval.noise, or "
                "add a feature set without speech"
            )
        self.trainable = np.ones(len(self.labels), bool)  # the others are only evaluated

    def hold_out(self) -> None:
        """Nothing once and for all: every clip is evaluated by networks not trained on it."""

    def make_splits(self) -> list[splits.Split]:
        """The folds of the protocol, without clips that nothing is trained on."""
        config = self.config
        match config.protocol:
            case "loso":
                splits_ = splits.leave_one_speaker_out(self.speakers)
            case "folds":
                splits_ = splits.k_fold(self.speakers, config.num_folds)
            case "random":
                splits_ = splits.random_k_fold(self.labels, config.num_folds)
            case name if name in self.PUBLISHED:
                source, groups = self.PUBLISHED[name]
                splits_ = splits.published_folds(self.speakers, groups, source)
            case other:
                known = ", ".join(("loso", "folds", "random", *self.PUBLISHED))
                raise ConfigError(f"protocol {other}: choose one of {known}")
        return [
            dataclasses.replace(split, train=split.train[self.trainable[split.train]])
            for split in splits_
        ]

    def train(self, workdir: pathlib.Path):
        """The networks of every fold, which evaluate asks."""
        self.fit(self.make_splits(), workdir / "train")

    def fit(self, folds: Sequence[splits.Split], workdir) -> list[bundles.Classifier]:
        """The networks of each fold, fused, as a bundle that is not calibrated."""
        bundles_ = self.networks.fit(self.NAME, folds, workdir)
        if not self.fused:
            return bundles_
        others = self.fused.fit(f"{self.NAME} fused", folds, workdir / "fused")
        return [bundle.fuse(other) for bundle, other in zip(bundles_, others, strict=True)]

    def evaluate(self, workdir: pathlib.Path) -> dict:
        """Every clip classified by the bundle of a fold not trained on it; or all by --bundle."""
        everything = np.arange(len(self.labels))
        folds = self.make_splits()
        pairs = [(self.given, everything)]
        if not self.given:
            fitted = self.fit(folds, workdir / "train")
            pairs = [(bundle, fold.test) for fold, bundle in zip(folds, fitted, strict=True)]
        rows: dict[str, np.ndarray] = {}
        config, paths = self.config.eval, np.array([row["path"] for row in self.clips.rows])
        under, recorded = config.conditions(), config.noises()
        for bundle, test in pairs:
            noises = recorded or (self._noises(test) if config.snrs else [])
            given = bundle, paths[test], self.speakers[test], under, noises
            results = evaluation.predict(*given, per_speaker=config.per_speaker)
            for name, probabilities in results.items():
                full = np.full((len(paths), len(self.names)), np.nan)
                rows.setdefault(name, full)[test] = probabilities
        spread = {"by_seed": self._by_seed(pairs, paths)} if config.by_seed else {}
        return self._write(rows, folds[0].protocol, spread, workdir / "evaluate")

    def _by_seed(self, pairs, paths) -> dict:
        """What the networks of each seed recall alone, over all folds and in each of them."""
        folds = np.zeros(len(paths), int)
        predicted = np.zeros((pairs[0][0].members, len(paths)), int)
        for number, (bundle, test) in enumerate(pairs):
            folds[test] = number
            for seed, row in enumerate(predicted):
                given = bundle.member(seed), paths[test], self.speakers[test]
                row[test] = evaluation.predict(*given, CLEAN)["clean"].argmax(-1)
        return evaluation.over_runs(predicted, self.labels, folds, self.names)

    def groups(self) -> dict[str, np.ndarray]:
        """Clips [B] bool by name; the results are mainly of the first group."""
        return {"all": np.ones(len(self.labels), bool)}

    def final_bundle(self, workdir: pathlib.Path) -> bundles.Classifier:
        """The networks of all clips, fused, with the temperature of the cross-validation."""
        results, config = _run.read_results(workdir), self.config
        everything = np.flatnonzero(self.trainable)
        whole = splits.Split("all clips", everything, everything[:0], everything[:1])
        (bundle,) = self.fit([whole], workdir / "ship_networks")
        calibrated = {name: results[name] for name in ("temperature", "unsure_below")}
        fused = bundle.fused and dataclasses.replace(bundle.fused, **calibrated)
        return dataclasses.replace(
            bundle,
            fused=fused,
            speech_gate=config.speech_gate,
            child_gate=config.child_gate,
            min_seconds=config.min_seconds,
            min_snr_db=config.min_snr_db,
            note=config.note,
            **calibrated,
        )

    def trained_on(self) -> np.ndarray:
        """See `_experiment.Experiment`."""
        return np.flatnonzero(self.trainable)

    def facts(self, results: dict) -> dict:
        """See `_experiment.Experiment`."""
        return {
            "protocol": f"{results['protocol']}, {results['speakers']} speakers, "
            f"{results['clips']} clips: each was classified by networks trained without it; what "
            "ships was trained on all.",
            "metrics": evaluation.card_metrics(results),
        }

    def _write(self, rows: dict[str, np.ndarray], protocol: str, spread: dict, out) -> dict:
        """results.json, predictions.npz and pictures of the probabilities of each condition."""
        groups = self.groups()
        results, tempered = evaluation.evaluate(
            rows,
            self.labels,
            self.speakers,
            self.names,
            groups,
            calibrated_by=self.trainable,
            unsure_below=self.config.eval.unsure_below,
        )
        if self.given:
            protocol = "all clips, whether or not the bundle was trained on them"
            results["bundle"] = self.given.name
        results |= {"protocol": protocol, "seeds": self.config.seeds} | spread
        out.mkdir(parents=True, exist_ok=True)
        (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        np.savez_compressed(
            out / "predictions.npz", labels=self.labels, speakers=self.speakers, **tempered
        )
        first = next(iter(groups.values()))
        chosen = tempered["clean"][first], self.labels[first]
        with contextlib.closing(writers.create(out, 0)) as writer:
            writer.write_images(0, evaluation.report(results, *chosen, self.names, out))
        print(protocol, *evaluation.summary(results), sep="\n")
        return results

    def _noises(self, test) -> list[str]:
        """Paths of the test clips in which nobody speaks: the networks know none of them."""
        quiet = test[self.labels[test] == self.names.index(NO_SPEECH)]
        if not len(quiet):
            raise FeatureError(f"a fold of {len(test)} clips has no noise to add: add noises")
        return [self.clips.rows[index]["path"] for index in quiet]
