"""The shared main of all experiments: flags in; a config beside the results; one line for an error.

An experiment is a docstring (command, time, expected result), a dataclass of configs, one function
a mode, and

    if __name__ == "__main__":
        _run.main(Config(), {"train": train, "loso": loso})
"""

import contextlib
import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from absl import app, flags, logging
from ml_collections import config_flags

from lin_jax import bundles, compilation_cache
from lin_jax.errors import ConfigError, exit_code
from lin_jax.reporting import plots
from lin_jax.tasks.base import Task
from lin_jax.training import loop, writers

Mode = Callable[..., None]  # (config, features: Path, workdir: Path)


def main(config, modes: Mapping[str, Mode]):
    """Parse the command line and run the mode it names; the first mode is the default.

    The flags are --features, --workdir, --mode, and --config.NAME=VALUE for every field of the
    config, nested ones included. The process exits with 1 for a wrong flag, 2 for an input that is
    at fault, and 128 + the number of the signal that stopped it.

    Args:
        config: a dataclass, not frozen, with the defaults.
        modes: what the experiment can do, by name.
    """
    names = list(modes)
    features = flags.DEFINE_string(
        "features", None, "folder made by python -m data_pipelines", required=True
    )
    workdir = flags.DEFINE_string(
        "workdir", None, "folder of results; a run stopped there goes on", required=True
    )
    mode = flags.DEFINE_enum("mode", names[0], names, "what to do")
    try:
        settings = f"settings, each as --config.NAME=VALUE: {', '.join(f'{n}={v}' for n, v in flatten(config).items())}"
        chosen = config_flags.DEFINE_config_dataclass("config", config, settings)
    except KeyError as error:  # ml_collections reads the overrides here already
        sys.exit(f"error: {error.args[0]}: see --help")
    for name in ("features", "workdir", "mode", "config"):  # shown by --help
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])

    def run(arguments):
        if len(arguments) > 1:
            raise app.UsageError(
                f"what is {arguments[1]!r}? settings are given as --config.NAME=VALUE"
            )
        logging.set_verbosity(
            logging.WARNING
        )  # what libraries say of their own doings drowns the run's own lines
        folder = pathlib.Path(workdir.value)
        compilation_cache.enable()

        def work():
            save_config(chosen.value, folder)
            modes[mode.value](chosen.value, pathlib.Path(features.value), folder)

        return exit_code(work)

    app.run(run)


def fit(
    config,
    task: Task,
    train: Iterator,
    evaluation: Callable[[], Iterable] | None,
    workdir: pathlib.Path,
    *,
    params: Any = None,
) -> loop.Result:
    """Train by the loop as `config.train` and `config.optim` say, with curves at the end; arguments as `loop.fit`."""
    with contextlib.closing(writers.create(workdir, config.train.num_steps)) as writer:
        writer.write_hparams(flatten(config))
        result = loop.fit(
            task, config.train, config.optim, train, evaluation, workdir, writer, params=params
        )
        curves = plots.plot_curves(result.history, workdir / "curves.png")
        writer.write_images(config.train.num_steps, {"curves": plots.pixels(curves)})
    return result


def start_from(bundle: bundles.Bundle, shapes: Any) -> Any:
    """The parameters of a bundle to go on from; ConfigError unless they have the shapes of those given."""
    params = bundle.variables["params"]
    if jax.tree.map(np.shape, params) != jax.tree.map(np.shape, shapes):
        raise ConfigError(
            f"{bundle.name}: another network, or of another size: go on from one of the same"
        )
    return params


def judged(workdir: pathlib.Path, why: str = "the card quotes it") -> dict:
    """What --mode=evaluate found in a workdir; ConfigError, with `why` it is needed, if it was not run there."""
    path = workdir / "evaluate/results.json"
    if not path.exists():
        raise ConfigError(f"{path}: not there, and {why}: --mode=evaluate first")
    return json.loads(path.read_text())


def provenance(clips, indices, command: str, init: str = "", **facts) -> dict:
    """What the card of a bundle is written from, as `lin_jax.bundles.card` lists it.

    Args:
        clips: the feature set.
        indices: of the clips that were trained on.
        command: that trains it.
        init: names or folders of the bundles that the training went on from, with commas between.
        **facts: summary, protocol, metrics and what else there is.
    """
    parents = []
    for name in filter(None, init.split(",")):
        parent = bundles.describe(name)
        kept = {key: parent[key] for key in ("name", "weights_sha256")}
        parents.append(kept | {"provenance": parent.get("provenance")})
    return {"corpora": clips.describe(indices), "parents": parents, "command": command, **facts}


def save_config(config, workdir: pathlib.Path):
    """Write config.json into the workdir; say which settings an earlier run there did not have."""
    path = workdir / "config.json"
    settings = flatten(config)
    if path.exists():
        try:
            earlier = dict(json.loads(path.read_text()))
        except (ValueError, TypeError):  # cut short by a full disk
            earlier = settings
        changed = [
            f"{name} {earlier.get(name)} → {value}"
            for name, value in settings.items()
            if earlier.get(name) != value
        ]
        if changed:
            print(
                f"settings changed since the last run in {workdir}: {', '.join(changed)}",
                file=sys.stderr,
            )
    workdir.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=2) + "\n")


def flatten(config) -> dict:
    """The settings of a config under dotted names, such as "train.seed", for config.json and `write_hparams`."""
    settings = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            settings |= {f"{field.name}.{name}": inner for name, inner in flatten(value).items()}
        else:
            settings[field.name] = list(value) if isinstance(value, tuple) else value
    return settings
