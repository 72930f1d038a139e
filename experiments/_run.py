"""The shared main of all experiments: flags in; a config beside the results; one line for an error.

An experiment is a docstring (command, time, expected result), a dataclass of settings, a subclass
of `_experiment.Experiment`, and

    if __name__ == "__main__":
        _run.main(Experiment, CONFIG, PRESETS)
"""

import copy
import dataclasses
import difflib
import inspect
import json
import pathlib
import re
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from absl import app, flags, logging
from ml_collections import config_flags

from lin_jax import compilation_cache, memory
from lin_jax.errors import ConfigError, exit_code
from lin_jax.models import registry
from lin_jax.training import parallel

FLAGS = {
    "features": "folder made by python -m data_pipelines; several with commas between them",
    "workdir": "folder of results; a run that was stopped there goes on",
    "bundle": "name or folder of a bundle to evaluate in place of the one that is trained",
    "compile_only": "compile the training step, print its FLOPs and memory, and run nothing",
    "devices": "virtual CPU devices to run or compile on; 0 takes the devices that there are",
}


@dataclasses.dataclass(frozen=True)
class Stage:
    """One training of a preset.

    Attributes:
        settings: what differs from the defaults, by dotted name; in a text "{workdir}" is the
            folder of the whole preset.
        modes: run one after the other; those of the experiment when None.
        folder: of the stage in the workdir.
    """

    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    modes: Sequence[str] | None = None
    folder: str = ""


Presets = Mapping[str, Sequence[Stage]]


def main(experiment: type, config, presets: Presets | None = None):
    """Parse the command line and run the mode, or the preset, that it names.

    The flags are those of `FLAGS`, --mode, --preset, and --config.NAME=VALUE for every field of the
    config, nested ones included; --help explains all of them. The process exits with 1 for a wrong
    flag, 2 for an input that is at fault, and 128 + the number of the signal that stopped it.

    Args:
        experiment: made from (config, features, bundle); it has a method for each of its `MODES`,
            which takes the workdir.
        config: a dataclass, not frozen, with the defaults.
        presets: named recipes, each of stages that follow one another.
    """
    presets = presets or {}
    if {"--help", "-h", "--helpshort"} & set(sys.argv[1:]):
        print(explain(sys.modules[experiment.__module__].__doc__, experiment, config, presets))
        sys.exit(0)
    if problem := unknown_setting(sys.argv[1:], config):
        sys.exit(f"error: {problem}")
    for name in ("features", "workdir", "bundle"):
        flags.DEFINE_string(name, "", FLAGS[name])
    flags.DEFINE_boolean("compile_only", False, FLAGS["compile_only"])
    flags.DEFINE_integer("devices", 0, FLAGS["devices"], lower_bound=0)
    flags.DEFINE_enum("mode", None, experiment.MODES, "what to do", required=False)
    flags.DEFINE_enum("preset", None, list(presets), "a recipe, whole") if presets else None
    chosen = config_flags.DEFINE_config_dataclass("config", copy.deepcopy(config))

    def run(arguments):
        if len(arguments) > 1:
            problem = f"what is {arguments[1]!r}? settings are given as --config.NAME=VALUE"
            raise app.UsageError(problem)
        # What libraries say of their own doings drowns the run's own lines.
        logging.set_verbosity(logging.WARNING)
        compilation_cache.enable()
        memory.keep_freed()
        preset = flags.FLAGS.preset if presets else None
        stages = presets[preset] if preset else [Stage(modes=experiment.MODES[:1])]
        if flags.FLAGS.mode:
            stages = [dataclasses.replace(stages[-1], modes=[flags.FLAGS.mode])]

        def work():
            if not (flags.FLAGS.features and flags.FLAGS.workdir):
                raise ConfigError("give --features and --workdir: --help explains them")
            parallel.simulate_devices(flags.FLAGS.devices)
            print(parallel.initialise(), file=sys.stderr)
            run_stages(experiment, config, chosen.value, stages)

        return exit_code(work)

    app.run(run)


def run_stages(experiment: type, defaults, config, stages: Sequence[Stage]):
    """Run stages with the flags of this process; what the command line sets holds in all of them."""
    workdir = pathlib.Path(flags.FLAGS.workdir)
    given = flatten(config)
    overrides = {name for name, value in flatten(defaults).items() if given[name] != value}
    for stage in stages:
        settings = copy.deepcopy(config)
        for name, value in stage.settings.items():
            if name not in overrides:
                text = value.format(workdir=workdir) if isinstance(value, str) else value
                assign(settings, name, text)
        folder = workdir / stage.folder
        if flags.FLAGS.compile_only:
            for name in flatten(settings):
                if name.endswith("train.compile_only"):
                    assign(settings, name, True)
        else:
            save_config(settings, folder)
        running = experiment(settings, flags.FLAGS.features, flags.FLAGS.bundle)
        for mode in stage.modes or experiment.MODES:
            getattr(running, mode)(folder)


def assign(config, name: str, value):
    """Set a setting by its dotted name; KeyError if there is none."""
    *path, last = name.split(".")
    for part in path:
        config = getattr(config, part)
    if last not in {field.name for field in dataclasses.fields(config)}:
        raise KeyError(name)
    setattr(config, last, value)


def explain(doc: str, experiment: type, config, presets: Presets) -> str:
    """What --help prints: the docstring, modes, presets, and every setting with its default."""
    modes = {mode: inspect.getdoc(getattr(experiment, mode)) for mode in experiment.MODES}
    modes = {mode: (text or "").split("\n\n")[0].replace("\n", " ") for mode, text in modes.items()}
    parts = [doc.strip(), "flags:", _listed({f"--{name}": text for name, text in FLAGS.items()})]
    parts += ["modes, as --mode=NAME (the first is the default):", _listed(modes)]
    if presets:
        parts.append("presets, as --preset=NAME, each whole, or one mode of its last stage:")
        recipes = {
            name: "; then ".join(
                ", ".join(f"{key}={value}" for key, value in stage.settings.items())
                or "the defaults"
                for stage in stages
            )
            for name, stages in presets.items()
        }
        parts.append(_listed(recipes))
    texts = {}
    for name, value in flatten(config).items():
        texts[f"--config.{name}={_shown(value)}"] = _described(config, name)
    return "\n\n".join([*parts, "settings, with their defaults:", _listed(texts)])


def _listed(texts: Mapping[str, str]) -> str:
    fill = textwrap.TextWrapper(100, initial_indent=" " * 6, subsequent_indent=" " * 6).fill
    return "\n".join(f"  {name}\n{fill(text)}" for name, text in texts.items())


def _shown(value) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _described(config, name: str) -> str:
    """What the docstring of its dataclass says of a setting."""
    *path, last = name.split(".")
    for part in path:
        config = getattr(config, part)
    texts = descriptions(type(config))
    if last not in texts and hasattr(config, "name"):  # a size of the network of that name
        texts = descriptions(registry.find(config.name))
    return texts.get(last, inspect.getdoc(type(config)).split("\n")[0])


def descriptions(settings: type) -> dict[str, str]:
    """The fields of a dataclass, as the Attributes of its docstring and of its bases have them."""
    texts: dict[str, str] = {}
    for base in reversed(settings.__mro__[:-1]):
        section = (inspect.getdoc(base) or "").partition("Attributes:\n")[2]
        for name, text in re.findall(r"^ {4}(\w+): ((?:.|\n {8})+)", section, re.MULTILINE):
            texts[name] = re.sub(r"\s+", " ", text)
    return texts


def unknown_setting(arguments: Sequence[str], config) -> str:
    """What is wrong with the first setting on a command line that does not exist; "" if all do."""
    settings = flatten(config)
    for argument in arguments:
        group, _, name = argument.lstrip("-").partition("=")[0].partition(".")
        if group == "config" and name not in settings:
            near = difflib.get_close_matches(name, settings, 1)
            guess = f"do you mean --config.{near[0]}?" if near else "--help lists all"
            return f"--config.{name}: no such setting; {guess}"
    return ""


def read_results(workdir: pathlib.Path) -> dict:
    """What --mode=evaluate found in a workdir.

    Raises:
        ConfigError: it was not run there.
    """
    path = workdir / "evaluate/results.json"
    if not path.exists():
        raise ConfigError(f"{path}: not there, and the card quotes it: --mode=evaluate first")
    return json.loads(path.read_text())


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
            line = f"settings changed since the last run in {workdir}: {', '.join(changed)}"
            print(line, file=sys.stderr)
    workdir.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(settings, indent=2) + "\n")


def flatten(config) -> dict:
    """The settings of a config under dotted names, such as "train.seed"."""
    settings = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            settings |= {f"{field.name}.{name}": inner for name, inner in flatten(value).items()}
        else:
            settings[field.name] = list(value) if isinstance(value, tuple) else value
    return settings
