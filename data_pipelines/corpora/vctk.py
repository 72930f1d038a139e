"""VCTK: 110 speakers of English in many accents read sentences.

J. Yamagishi et al., 2019, DataShare 10283/3443.

Release layouts: `wav48/pNNN/pNNN_NNN.wav` (0.80) and
`wav48_silence_trimmed/pNNN/pNNN_NNN_mic1.flac` (0.92, of which the second microphone is left out),
each beside `txt/pNNN/pNNN_NNN.txt` and `speaker-info.txt`.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.archive import Archive, fetch
from data_pipelines.corpora import SEXES, UNKNOWN, Utterance, find_root, read_lines
from lin_jax.audio import files
from lin_jax.errors import CorpusError

SUMMARY = "VCTK 0.80 or 0.92: 110 speakers of English in many accents"
LICENCE = "CC BY 4.0"
FOLDERS = ("wav48_silence_trimmed", "wav48")
NAME = re.compile(r"(([ps]\d+)_\d+)(_mic1|_mic2)?")
SPEAKER = re.compile(r"(\S+)\s+(\S+)\s+([FM])(?:\s+(\S+).*)?")
MEND = "take it from the release, where it lies beside the recordings' folder"

CORPUS = Archive("VCTK-Corpus-0.92.zip", md5="8a6ba2946b36fcbef0212cad601f4bfa")
URL = "https://datashare.ed.ac.uk/server/api/core/bitstreams/535f4286-e54c-4038-838c-a02285e32cb2/content"


def add_arguments(parser: argparse.ArgumentParser):
    """Flags of the command line."""
    parser.add_argument(
        "--download", action="store_true", help="fetch version 0.92 (11.7 GB) to --audio-dir first"
    )


def obtain(args: argparse.Namespace):
    """Download the release, if the flags say so."""
    if args.download:
        download(args.audio_dir)


def load(audio_dir: Path) -> Iterator[Utterance]:
    """List VCTK from its release layout, of any audio format.

    The trimmed recordings go first if both are there.

    Args:
        audio_dir: the folder of the release, or the one above it.

    Yields:
        Utterances with the labels sex, age in years and accent, "unknown" where speaker-info.txt
        does not say; without text where the release has none (p315).

    Raises:
        CorpusError: speaker-info.txt missing or malformed, or a name that is not of VCTK.
        AudioError: no recordings.
    """
    root = find_root(audio_dir, *FOLDERS)
    speakers = _read_speakers(root / "speaker-info.txt")
    nothing = dict.fromkeys(("sex", "age", "accent"), UNKNOWN)
    folder = next(root / name for name in FOLDERS if (root / name).is_dir())
    for path in files.find(folder):
        match = NAME.fullmatch(path.stem)
        if not match or match[2] != path.parent.name:
            raise CorpusError(
                f"{path}: not a VCTK name (pNNN/pNNN_NNN or pNNN/pNNN_NNN_mic1): move it out of "
                "the corpus folder"
            )
        name, speaker, microphone = match.groups()
        if microphone != "_mic2":
            text = _read_text(root / "txt" / speaker / f"{name}.txt")
            yield Utterance(name, path, speaker, text, speakers.get(speaker, nothing))


def download(audio_dir: Path, url: str = URL, archive: Archive = CORPUS) -> None:
    """Fetch version 0.92 (11.7 GB, CC BY 4.0) into `audio_dir` unless it is there already."""
    fetch(archive, url, audio_dir)


def _read_speakers(path: Path) -> dict[str, dict[str, str]]:
    """Labels of each speaker, from lines `ID AGE GENDER ACCENT REGION`.

    0.80 writes an id without its letter.
    """
    speakers = {}
    for where, line in read_lines(path, MEND):
        if line.startswith("ID"):
            continue
        match = SPEAKER.fullmatch(line)
        if not match:
            raise CorpusError(f"{where}: not ID AGE F or M ACCENT: {MEND}")
        name, age, sex, accent = match.groups()
        accent = UNKNOWN if accent in (None, "Unknown") else accent
        speakers[f"p{name}" if name.isdigit() else name] = {
            "sex": SEXES[sex],
            "age": age,
            "accent": accent,
        }
    if not speakers:
        raise CorpusError(f"{path}: no speakers in it: {MEND}")
    return speakers


def _read_text(path: Path) -> str:
    return " ".join(line for _, line in read_lines(path, "check it")) if path.is_file() else ""
