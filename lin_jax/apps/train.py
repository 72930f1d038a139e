"""The command that trains: `lin train`, which hands over to the experiments."""

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from lin_jax.apps.common import Command
from lin_jax.errors import ConfigError


def _run(module: str, arguments: Sequence[str]) -> int:
    """The exit code of an experiment.

    Raises:
        ConfigError: what trains is not installed.
    """
    for package in ("orbax", "grain", "tensorflow_datasets"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError("training needs more packages: pip install 'lin_jax[train]'")
    return call([sys.executable, "-m", module, *arguments])


def call(command: Sequence[str]) -> int:
    """The exit code of a process, which ends by itself where this one is told to end."""
    with subprocess.Popen(command) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                pass  # the terminal told it as well, and it saves what it has
            except SystemExit:
                child.terminate()


def experiment_command(name: str, module: str, metavar: str, summary: str, teach: str) -> Command:
    """A command that hands its arguments over to an experiment, in a process of its own."""

    def add_arguments(parser: argparse.ArgumentParser):
        parser.add_argument(
            "arguments",
            nargs=argparse.REMAINDER,
            metavar=metavar,
            help=f"as python -m {module} --help lists them",
        )

    return Command(name, summary, teach, add_arguments, lambda args: _run(module, args.arguments))


COMMAND = experiment_command(
    name="train",
    module="experiments.train",
    metavar="JOB --data CORPUS:FOLDER --out FOLDER",
    summary="train a network on your own recordings, from folders to a bundle",
    teach="""\
examples:
  lin train emotion --data ravdess:RAVDESS --out runs/emotion
  lin train gender --data librispeech:LibriSpeech noise:noises --out runs/gender
  lin train emotion --data table:calls --label mood --out runs/mood    a column of calls/table.csv, of any classes

It prepares features, trains, evaluates on people who were held out, writes a bundle with its card, and prints the
command that uses it. The same command goes on after a stop. Every setting of the experiment may follow, such as
--config.folds.num_steps=2000: python -m experiments.emotion --help lists them.
Exit code: 0 it is trained, 2 something could not be used.""",
)
