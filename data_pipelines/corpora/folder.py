"""A folder for each speaker, `SPEAKER/….wav`, with or without folders in it.

All that speaker verification needs.
"""

from collections.abc import Iterator
from pathlib import Path

from data_pipelines.corpora import Utterance
from lin_jax.audio import files
from lin_jax.errors import CorpusError

SUMMARY = "any recordings with one folder for each speaker: AUDIO_DIR/SPEAKER/….wav"


def load(audio_dir: Path) -> Iterator[Utterance]:
    """List recordings by speaker.

    Args:
        audio_dir: the folder that holds the speakers' folders.

    Yields:
        Utterances without labels whose id is the path in `audio_dir` without its suffix.

    Raises:
        CorpusError: a recording that is in no speaker's folder.
        AudioError: a folder that is missing or empty.
    """
    for path in files.find(audio_dir):
        place = path.relative_to(audio_dir)
        if len(place.parts) == 1:
            raise CorpusError(
                f"{path}: in no speaker's folder: move it to {audio_dir / 'SPEAKER' / path.name}"
            )
        yield Utterance(place.with_suffix("").as_posix(), path, place.parts[0])
