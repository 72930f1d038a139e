"""LibriTTS and LibriTTS-R: 585 hours of audio books in sentences, at 24 kHz.

H. Zen et al., 2019, OpenSLR 60; it is LibriSpeech cut anew.

Release layout: `LibriTTS/SUBSET/READER/CHAPTER/READER_CHAPTER_PARAGRAPH_SENTENCE.wav`, each beside
its `.normalized.txt`, and `LibriTTS/SPEAKERS.txt`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.corpora import UNKNOWN, Utterance, find_root, read_lines
from data_pipelines.corpora.librispeech import read_sexes
from lin_jax.audio import files
from lin_jax.errors import CorpusError

SUMMARY = "LibriTTS: 585 hours of audio books in sentences, with their texts"
LICENCE = "CC BY 4.0"
SPEAKERS = "SPEAKERS.txt"
NAME = re.compile(r"(\d+)_(\d+)_\d+_\d+")


def load(audio_dir: Path) -> Iterator[Utterance]:
    """List LibriTTS from its release layout, in any audio format.

    Args:
        audio_dir: the folder `LibriTTS`, or the one above it.

    Yields:
        Utterances with the labels sex, "unknown" for a reader that SPEAKERS.txt lacks, and subset.

    Raises:
        CorpusError: SPEAKERS.txt missing or malformed, or a file out of the layout.
        AudioError: no recordings.
    """
    root = find_root(audio_dir, SPEAKERS)
    sexes = read_sexes(root / SPEAKERS)
    for path in files.find(root):
        match, place = NAME.fullmatch(path.stem), path.relative_to(root).parts
        if not match or len(place) != 4 or match.groups() != place[1:3]:
            raise CorpusError(
                f"{path}: not in the layout of LibriTTS "
                "(SUBSET/READER/CHAPTER/READER_CHAPTER_PARAGRAPH_SENTENCE): "
                "move it out of the corpus folder"
            )
        subset, reader, *_ = place
        written = path.with_suffix(".normalized.txt")
        text = (
            " ".join(line for _, line in read_lines(written, "check it"))
            if written.is_file()
            else ""
        )
        yield Utterance(
            path.stem, path, reader, text, {"sex": sexes.get(reader, UNKNOWN), "subset": subset}
        )
