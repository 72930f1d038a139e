"""LJSpeech: a day of audio books by one reader, in sentences (Ito and Johnson 2017, public domain).

Release layout: `wavs/LJNNN-NNNN.wav` and `metadata.csv`, of lines `NAME|TEXT|TEXT WITH NUMBERS IN
WORDS`.
"""

from collections.abc import Iterator
from pathlib import Path

from data_pipelines.corpora import Utterance, find_root, read_lines
from lin_jax.audio import files
from lin_jax.errors import CorpusError

SUMMARY = "LJSpeech: a day of audio books by one reader, in sentences"
LICENCE = "public domain"
SPEAKER = "LJ"


def load(audio_dir: Path) -> Iterator[Utterance]:
    """List LJSpeech from its release layout, in any audio format.

    Lines without a recording are passed over.

    Args:
        audio_dir: the folder of the release, or the one above it.

    Yields:
        Utterances of one speaker, with the label sex.

    Raises:
        CorpusError: a line that is not as described, or a recording that metadata.csv lacks.
        AudioError: no recordings.
    """
    root = find_root(audio_dir, "metadata.csv")
    texts = {}
    for where, line in read_lines(root / "metadata.csv", "take it from the release"):
        name, *versions = line.split("|")
        if not versions:
            raise CorpusError(f"{where}: not NAME|TEXT|TEXT: take metadata.csv from the release")
        texts[name] = versions[-1].strip() or versions[0].strip()
    for path in files.find(root / "wavs"):
        if path.stem not in texts:
            raise CorpusError(
                f"{path}: metadata.csv lacks {path.stem}: move it out of the corpus folder, or "
                "list it"
            )
        yield Utterance(path.stem, path, SPEAKER, texts[path.stem], {"sex": "female"})
