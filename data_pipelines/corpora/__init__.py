"""Corpora: a folder of recordings becomes a list of utterances, each with its speaker, text and labels."""

import dataclasses
import importlib
from collections.abc import Iterable
from pathlib import Path

from lin_jax.errors import CorpusError

CORPORA = {
    "ravdess": "data_pipelines.corpora.ravdess",
    "table": "data_pipelines.corpora.table",
    "synthetic": "data_pipelines.corpora.synthetic",
}


@dataclasses.dataclass(frozen=True)
class Utterance:
    """One recording: where it lies, who speaks, what is said, and what is known about it."""

    id: str
    path: Path
    speaker: str
    text: str = ""
    labels: dict[str, str] = dataclasses.field(default_factory=dict)


def load(name: str, audio_dir: str | Path, **options) -> list[Utterance]:
    """List the utterances of a corpus, sorted by id.

    Args:
      name: a key of `CORPORA`.
      audio_dir: the corpus folder, in the layout of its release.
      **options: what the corpus' own `load` takes, such as `channel` of RAVDESS.

    Returns:
      Utterances with distinct ids; the audio itself is not opened.

    Raises:
      CorpusError: unknown corpus, a layout that is not as described, or two files with one name.
      AudioError: a folder that is missing or holds no audio.
    """
    if name not in CORPORA:
        raise CorpusError(f"unknown corpus {name!r}: choose one of {', '.join(CORPORA)}")
    return unique(importlib.import_module(CORPORA[name]).load(Path(audio_dir), **options))


def unique(utterances: Iterable[Utterance]) -> list[Utterance]:
    """Sort utterances by id and refuse two with the same one."""
    seen: dict[str, Utterance] = {}
    for utterance in utterances:
        other = seen.setdefault(utterance.id, utterance)
        if other is not utterance:
            raise CorpusError(
                f"two files with one name: {other.path} and {utterance.path} are both {utterance.id!r}: "
                "remove or rename one of them"
            )
    return [seen[key] for key in sorted(seen)]
