"""Corpora: a folder of recordings becomes a list of utterances with speaker, text and labels.

Each corpus is a file of this package: `SUMMARY`, a line for --help; `LICENCE`, as
`lin_jax.bundles.card` names it, if its release has one; `load(audio_dir, **options)`; and, if it has
flags of its own, `add_arguments(parser)`, `options(args)`, what `load` takes of them, and
`obtain(args)`, which downloads or makes the recordings.
"""

import dataclasses
import importlib
import os
import pkgutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from lin_jax.errors import CorpusError

CORPORA = tuple(module.name for module in pkgutil.iter_modules(__path__))  # one file each

UNKNOWN = "unknown"  # the value of a label that a corpus has, but not for this speaker
NO_SPEECH = "no speech"  # the sex of a recording in which nobody speaks
SEXES = {"F": "female", "M": "male"}


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One recording: its file, speaker, text and labels, and the speed at which it is played.

    Played at another speed than 1, pitch and all, it is someone else who speaks; see
    `speed_perturbed`.
    """

    id: str
    path: Path
    speaker: str
    text: str = ""
    labels: dict[str, str] = dataclasses.field(default_factory=dict)
    speed: float = 1.0


def load(name: str, audio_dir: str | Path, **options) -> list[Utterance]:
    """List the utterances of a corpus, sorted by id.

    Args:
        name: one of `CORPORA`.
        audio_dir: the corpus folder, in the layout of its release.
        **options: what the corpus' own `load` takes, such as `channel` of RAVDESS.

    Returns:
        Utterances with distinct ids; the audio itself is not opened.

    Raises:
        CorpusError: unknown corpus, a layout that is not as described, or two files with one name.
        AudioError: a folder that is missing or holds no audio.
    """
    return unique(find(name).load(Path(audio_dir), **options))


def find(name: str) -> ModuleType:
    """The file of a corpus.

    Raises:
        CorpusError: there is none of that name.
    """
    if name not in CORPORA:
        raise CorpusError(f"unknown corpus {name!r}: choose one of {', '.join(CORPORA)}")
    return importlib.import_module(f"{__name__}.{name}")


def licence(name: str) -> str:
    """The licence of a corpus as `lin_jax.bundles.card` names it.

    "" where its files could be anybody's.
    """
    return getattr(find(name), "LICENCE", "")


def speed_perturbed(utterances: Iterable[Utterance], speeds: Iterable[float]) -> list[Utterance]:
    """Utterances as they are, and at each speed as those of a further speaker, NAME@SPEED.

    H. Yamamoto et al., "Speaker augmentation and bandwidth extension for deep speaker embedding",
    Interspeech 2019.

    Raises:
        CorpusError: a speed that is 1, below 0.5 or above 2.
    """
    utterances, speeds = list(utterances), list(speeds)
    if any(not 0.5 <= speed <= 2 or speed == 1 for speed in speeds):
        raise CorpusError(
            f"speeds {', '.join(f'{speed:g}' for speed in speeds)}: choose from 0.5 to 2, and not 1"
        )
    return utterances + [
        dataclasses.replace(
            utterance,
            id=f"{utterance.id}@{speed:g}",
            speaker=f"{utterance.speaker}@{speed:g}",
            speed=speed,
        )
        for speed in speeds
        for utterance in utterances
    ]


def unique(utterances: Iterable[Utterance]) -> list[Utterance]:
    """Sort utterances by id and refuse two with the same one."""
    seen: dict[str, Utterance] = {}
    for utterance in utterances:
        other = seen.setdefault(utterance.id, utterance)
        if other is not utterance:
            raise CorpusError(
                f"two files with one name: {other.path} and {utterance.path} are both "
                f"{utterance.id!r}: "
                "remove or rename one of them"
            )
    return [seen[key] for key in sorted(seen)]


def find_root(audio_dir: Path, *marks: str) -> Path:
    """The corpus folder: `audio_dir` or the one folder in it that holds any of `marks`."""
    if not audio_dir.is_dir():
        raise CorpusError(f"{audio_dir}: no such folder: check --audio-dir")

    def is_root(folder: Path) -> bool:
        # Path.exists raises in a folder of someone else's.
        return any(os.path.exists(folder / mark) for mark in marks)

    if is_root(audio_dir):
        return audio_dir
    roots = [folder for folder in sorted(audio_dir.iterdir()) if is_root(folder)]
    if not roots:
        raise CorpusError(
            f"{audio_dir}: no {' or '.join(marks)} in it, nor in a folder in it: "
            "name the folder that holds it, or read the recordings as `folder`, by speaker alone"
        )
    if len(roots) > 1:
        raise CorpusError(
            f"{audio_dir}: holds both {roots[0].name} and {roots[1].name}: name one of them"
        )
    return roots[0]


def read_lines(path: Path, mend: str) -> Iterator[tuple[str, str]]:
    """Lines of a text file that are not blank, stripped, each after "PATH, line N" to name it by.

    Raises:
        CorpusError: a file that is missing, in which case it ends with `mend`, or not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CorpusError(f"{path}: {error.strerror}: {mend}") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text ({error}): save it as such") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{path}, line {number}", line.strip()
