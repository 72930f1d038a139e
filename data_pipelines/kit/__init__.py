"""The data kit: from raw recordings to a corpus worth training on.

Each command is a file of this package: `SUMMARY`, a line for --help; `run(utterances, args)`, which
returns the recordings that could not be used as {path: reason}; and, if it has flags of its own,
`add_arguments(parser)`. What a command writes is a folder with a `table.csv`, which is a corpus
again: `python -m data_pipelines table --audio-dir FOLDER`.
"""

import contextlib
import csv
import importlib
import os
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import tqdm

from data_pipelines.corpora import UNKNOWN, Utterance
from data_pipelines.corpora.table import NAMES
from lin_jax import durable
from lin_jax.errors import AudioError, CorpusError

COMMANDS = tuple(module.name for module in pkgutil.iter_modules(__path__))  # one file each


def find(name: str) -> ModuleType:
    """The file of a command, one of `COMMANDS`."""
    return importlib.import_module(f"{__name__}.{name}")


def each(
    work: Callable[[Utterance], Any], utterances: Iterable[Utterance], title: str
) -> tuple[list[tuple[Utterance, Any]], dict[str, str]]:
    """Do something for each recording, in threads and in order, with a progress bar.

    Returns:
        Each utterance with what `work` returned, and the recordings that could not be used, for
        which it raised an AudioError, as {path: reason}.
    """

    def attempt(utterance):
        try:
            return work(utterance)
        except AudioError as error:
            return error

    utterances = list(utterances)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        attempts = zip(utterances, pool.map(attempt, utterances), strict=True)
        made = list(tqdm.tqdm(attempts, title, len(utterances), unit="clip", disable=None))
    results = [(u, result) for u, result in made if not isinstance(result, AudioError)]
    return results, {str(u.path): str(e) for u, e in made if isinstance(e, AudioError)}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place if the context ends without an error.

    Raises:
        CorpusError: the disk does not take it.
    """
    try:
        with durable.replacing(path) as part:
            yield part
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}") from error


def write_table(folder: Path, utterances: Iterable[Utterance]) -> Path:
    """Write the table of a corpus into its folder; paths are relative to it.

    Raises:
        CorpusError: the disk does not take it.
    """
    utterances = list(utterances)
    labels = list(dict.fromkeys(name for utterance in utterances for name in utterance.labels))
    path = folder / NAMES[0]
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "speaker", "text", *labels])
        for utterance in utterances:
            values = (utterance.labels.get(name, UNKNOWN) for name in labels)
            cells = ("" if value == UNKNOWN else value for value in values)
            relative = Path(os.path.relpath(utterance.path, folder)).as_posix()
            writer.writerow([relative, utterance.speaker, utterance.text, *cells])
    return path


def make_folder(folder: Path) -> Path:
    """A folder to write to, made where there is none; CorpusError if that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(f"{folder}: {error.strerror}: choose another --out") from error
    return folder


def place(out: Path, utterance: Utterance, suffix: str = "") -> Path:
    """Where a recording that was made of another is written: out/ID.flac."""
    path = out / f"{utterance.id}{suffix}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
