"""The command that trains: `lin train`, which hands over to the experiments."""

import argparse
import importlib.util
import subprocess
import sys

from lin_jax.apps.common import Command
from lin_jax.errors import ConfigError

PROGRAM = "experiments.train"


def _arguments(parser: argparse.ArgumentParser):
    parser.add_argument(
        "arguments",
        nargs=argparse.REMAINDER,
        metavar="JOB --data CORPUS:FOLDER --out FOLDER",
        help="as python -m experiments.train --help lists them",
    )


def _train(args) -> int:
    """Run the training in a process of its own."""
    for package in ("orbax", "grain", "tensorflow_datasets"):
        if importlib.util.find_spec(package) is None:
            raise ConfigError("training needs more packages: pip install 'lin_jax[train]'")
    command = [sys.executable, "-m", PROGRAM, *args.arguments]
    return subprocess.call(command)


COMMAND = Command(
    name="train",
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
    add_arguments=_arguments,
    run=_train,
)
