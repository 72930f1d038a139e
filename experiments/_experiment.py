"""The skeleton of an experiment: corpora, held-out speakers, a training, and the bundle it becomes.

    class Experiment(_experiment.Experiment):
        NAME = "repair"

        def make_task(self): ...                # network, losses and metrics
        def make_bundle(self, task, result): ...  # what ships
        def test_set(self): ...                 # recordings of the test speakers
        def measure(self, bundle, test_set, out): ...  # by lin_jax.evaluation
        def facts(self, results): ...           # what its card says

What is evaluated is the bundle, never a twin of it: that of the training, or one named by --bundle.
"""

import contextlib
import dataclasses
import functools
import inspect
import json
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import jax
import numpy as np

from data_pipelines import features, loaders, splits
from data_pipelines.loaders import LoaderConfig
from experiments import _fine_tuning, _run
from lin_jax import bundles
from lin_jax.errors import ConfigError
from lin_jax.reporting import plots
from lin_jax.tasks.base import Task
from lin_jax.training import loop, writers
from lin_jax.training.loop import TrainConfig
from lin_jax.training.optim import OptimConfig


@dataclasses.dataclass
class Config:
    """The settings of every experiment.

    Attributes:
        init: name or folder of a bundle to fine-tune; "" starts from random parameters.
        extra: feature sets that are only trained on, with commas between them: nobody in them is
            held out, and who is held out of the others is left out of them.
        hold_out: test speakers of each corpus; at most a fifth of them.
        validation: validation speakers of each corpus; at most a tenth.
        seed: of the choice of speakers.
        eval_batches: batches of the validation speakers in an evaluation during training.
        optim: how parameters are updated.
        train: how long, and how often is logged, evaluated and saved.
        loader: batches and crops.
    """

    init: str = ""
    extra: str = ""
    hold_out: int = 25
    validation: int = 12
    seed: int = 0
    eval_batches: int = 8
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    loader: LoaderConfig = dataclasses.field(default_factory=LoaderConfig)


class Experiment:
    """One or several corpora, the speakers held out of them, and the network trained on the rest.

    Attributes:
        given: the bundle to evaluate in place of the one that is trained, if any.
        start: the bundle to fine-tune, if any.
        clips: the feature sets as one.
        split: clips of the training, validation and test speakers.

    Args:
        config: the settings.
        folder: the feature set, or several with commas between them.
        bundle: name or folder of a bundle to evaluate; "" is the one that is trained.

    Errors are those of `open_features`, and ConfigError for settings that cannot work.
    """

    NAME: ClassVar[str]  # of the bundle
    MODES: ClassVar[tuple[str, ...]] = ("train", "evaluate", "ship")
    STORE: ClassVar[str | None] = None  # that the feature sets must have
    EXTRA: ClassVar[bool] = True  # whether there may be sets that are only trained on

    def __init__(self, config, folder: str | pathlib.Path, bundle: str = ""):
        self.config = config
        self.given = bundles.load(bundle) if bundle else None
        self.start = self.load_start(config.init) if config.init else None
        frontend = getattr(self.given or self.start, "frontend", None)
        extra = getattr(config, "extra", "")  # a cross-validation has no such setting
        if extra and not self.EXTRA:
            raise ConfigError(f"extra: {self.NAME} holds out some of every set: use --features")
        folders = f"{folder},{extra}" if extra else folder
        self.clips = features.open_features(folders, frontend, store=self.STORE)
        self.speakers, self.corpora = self.clips.speakers, self.clips.corpora
        self.split = self.hold_out()
        self._made: dict[pathlib.Path, tuple[bundles.Bundle, dict]] = {}

    def train(self, workdir: pathlib.Path):
        """One training, watched on the validation speakers."""
        self.fit(workdir / "train")

    def evaluate(self, workdir: pathlib.Path) -> dict:
        """A bundle, measured on speakers that it was not trained on; writes evaluate/results.json."""
        test_set, out = self.test_set(), workdir / "evaluate"  # before hours of training
        bundle, training = self.bundle(workdir)
        out.mkdir(parents=True, exist_ok=True)
        results = training | self.measure(bundle, test_set, out)
        (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        return results

    def ship(self, workdir: pathlib.Path) -> pathlib.Path:
        """The bundle, with a card that quotes what evaluate found in the same workdir."""
        results = _run.read_results(workdir)
        if self.given or "bundle" in results:
            raise ConfigError("what was evaluated is no training of this workdir: omit --bundle")
        bundle = self.final_bundle(workdir)
        command = f"python -m experiments.{pathlib.Path(inspect.getfile(type(self))).stem}"
        facts = self.facts(results)
        provenance = facts | {
            "corpora": self.clips.describe(self.trained_on()) + facts.get("corpora", []),
            "parents": _fine_tuning.parents(self.config.init),
            "command": command,
            "store": self.clips.store,
        }
        folder = workdir / "ship" / self.NAME
        return bundles.save(folder, bundle, provenance=provenance, dtype="float16")

    def bundle(self, workdir: pathlib.Path) -> tuple[bundles.Bundle, dict]:
        """The bundle of the training in a workdir, or the one that was named; how it was trained."""
        protocol = self.split.protocol
        if self.given:
            protocol += f", provided that {self.given.name} was trained on the same split"
            return self.given, {"bundle": self.given.name, "protocol": protocol}
        if workdir not in self._made:  # evaluate and ship need the same one
            task, result = self.fit(workdir / "train")
            training = {
                "protocol": protocol,
                "step": result.best_step or int(result.state.step),
                "train_speakers": len(np.unique(self.speakers[self.split.train])),
            }
            self._made[workdir] = self.make_bundle(task, result), training
        return self._made[workdir]

    def final_bundle(self, workdir: pathlib.Path) -> bundles.Bundle:
        """What ships: the bundle that was evaluated, unless a subclass trains once more."""
        return self.bundle(workdir)[0]

    def fit(self, workdir: pathlib.Path) -> tuple[Task, loop.Result]:
        """Train on the training speakers; go on, or return, where that was done before."""
        task, config, watched = self.make_task(), self.config, self.split.validation
        train = loaders.make_loader(
            self.clips, self.drawn(self.split.train), None, config.loader, train=True
        )
        watch = functools.partial(
            loaders.crops, self.clips, watched, config.loader, config.eval_batches
        )
        params = self.start_params(task) if self.start else None
        watch = watch if len(watched) else None
        return task, fit(config, task, train, watch, workdir, params=params)

    def hold_out(self) -> splits.Split:
        """Which clips are trained on, watched and evaluated; no speaker is on two sides."""
        config = self.config
        extra_sets = [pathlib.Path(name).name for name in config.extra.split(",")]
        count = len(self.clips) - np.isin(self.corpora, extra_sets).sum()
        people, extra = np.split(self.clips.people, [count])
        held_out = config.hold_out, config.validation
        return splits.hold_out(people, self.corpora[:count], *held_out, config.seed, extra=extra)

    def test_segments(self, size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Segments of the test speakers to evaluate on; see `loaders.equal_segments`.

        Raises:
            ConfigError: no test speakers, or none who says enough.
        """
        if not len(self.split.test):
            raise ConfigError("no test speakers: raise hold_out, or add a corpus of 5 speakers")
        segments, clips = loaders.equal_segments(self.clips, self.split.test, size, count)
        if not len(segments):
            seconds = size / self.clips.frontend.sample_rate
            raise ConfigError(f"no test speaker speaks for {seconds:g} s: lower eval.seconds")
        return segments, clips

    def drawn(self, indices: np.ndarray) -> np.ndarray:
        """Training clips, each as often as an epoch has it."""
        return indices

    def trained_on(self) -> np.ndarray:
        """The clips that the bundle of this training was trained on."""
        return self.split.train

    def load_start(self, name: str) -> bundles.Bundle:
        """The bundle to fine-tune, by the setting `init`."""
        return bundles.load(name)

    def start_params(self, task: Task) -> Any:
        """The parameters of the bundle to fine-tune."""
        return _fine_tuning.start_from(
            self.start, jax.eval_shape(task.init, jax.random.key(0))["params"]
        )

    def make_task(self) -> Task:
        """Network, losses and metrics."""
        raise NotImplementedError

    def make_bundle(self, task: Task, result: loop.Result) -> bundles.Bundle:
        """The bundle of a training."""
        raise NotImplementedError

    def test_set(self) -> Any:
        """What `measure` needs of the test speakers."""
        raise NotImplementedError

    def measure(self, bundle: bundles.Bundle, test_set: Any, out: pathlib.Path) -> dict:
        """The metrics of a bundle on the test set; reports are written into a folder."""
        raise NotImplementedError

    def facts(self, results: dict) -> dict:
        """What the card says, as `lin_jax.bundles.card` lists it."""
        raise NotImplementedError


def fit(
    config,
    task: Task,
    train: Iterator,
    evaluation: Callable[[], Iterable] | None,
    workdir: pathlib.Path,
    **options,
) -> loop.Result:
    """Train by the loop as the config says, with curves at the end; see `loop.fit`."""
    with contextlib.closing(writers.create(workdir, config.train.num_steps)) as writer:
        writer.write_hparams(_run.flatten(config))
        result = loop.fit(
            task, config.train, config.optim, train, evaluation, workdir, writer, **options
        )
        curves = plots.plot_curves(result.history, workdir / "curves.png")
        writer.write_images(config.train.num_steps, {"curves": plots.pixels(curves)})
    return result
