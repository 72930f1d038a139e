"""LibriSpeech: a thousand hours of audio books by 2,484 readers.

V. Panayotov et al., 2015, OpenSLR 12.

Release layout: `LibriSpeech/SUBSET/READER/CHAPTER/READER-CHAPTER-NUMBER.flac`, a `.trans.txt` in
each chapter, and `LibriSpeech/SPEAKERS.TXT`. A reader that SPEAKERS.TXT lacks is listed all the
same, with the sex "unknown": telling speakers apart needs no sex, and whoever learns sex leaves
those readers out.
"""

import argparse
import itertools
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from data_pipelines.archive import Archive, fetch
from data_pipelines.corpora import SEXES, UNKNOWN, Utterance, find_root, read_lines
from lin_jax.audio import files
from lin_jax.errors import CorpusError

SUMMARY = "LibriSpeech: audio books read by 2,484 readers of known sex"
LICENCE = "CC BY 4.0"
SPEAKERS = "SPEAKERS.TXT"
MEND = "take it from the release, where it lies beside the subsets"
NAME = re.compile(r"(\d+)-(\d+)-\d+")
READER = re.compile(r"(\d+)\s*\|\s*([FM])\s*\|[^|]*\|.*")
LAYOUT = "SUBSET/READER/CHAPTER/READER-CHAPTER-NUMBER"

BASE_URL = "https://www.openslr.org/resources/12"
ARCHIVES = {
    subset: Archive(f"{subset}.tar.gz", md5)
    for subset, md5 in {
        "dev-clean": "42e2234ba48799c1f50f24a7926300a1",
        "dev-other": "c8d0bcc9cca99d4f8b62fcc847357931",
        "test-clean": "32fa31d27d2e1cad72775fee3f4849a9",
        "test-other": "fb5a50374b501bb3bac4815ee91d3135",
        "train-clean-100": "2a93770f6d5c6c964bc36631d331a522",
        "train-clean-360": "c0e676e450a7ff2f54aeade5171606fa",
        "train-other-500": "d1a0fd59409feb2c614ce4d30c387708",
    }.items()
}


def add_arguments(parser: argparse.ArgumentParser):
    """Flags of the command line."""
    parser.add_argument(
        "--download", action="store_true", help="fetch the --subset to --audio-dir first"
    )
    parser.add_argument(
        "--subset",
        nargs="+",
        metavar="NAME",
        help="such as train-clean-100 (6.3 GB); default: all that are there",
    )


def obtain(args: argparse.Namespace):
    """Download the subsets, if the flags say so."""
    if args.download:
        download(args.audio_dir, args.subset)


def options(args: argparse.Namespace) -> dict:
    """What `load` takes of the flags."""
    return {"subsets": args.subset}


def load(audio_dir: Path, subsets: Sequence[str] | None = None) -> Iterator[Utterance]:
    """List LibriSpeech from its release layout, in any audio format.

    Args:
        audio_dir: the folder `LibriSpeech`, or the one above it.
        subsets: subsets to list, such as "train-clean-100"; all that are there when None.

    Yields:
        Utterances with the labels sex, "unknown" for a reader that SPEAKERS.TXT lacks, and subset.

    Raises:
        CorpusError: SPEAKERS.TXT missing or malformed, a subset that is not there, or a file out of
            the layout.
        AudioError: no recordings.
    """
    root = find_root(audio_dir, SPEAKERS)
    sexes = read_sexes(root / SPEAKERS)
    for folder in [root] if subsets is None else [root / subset for subset in subsets]:
        if not folder.is_dir():
            there = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir()))
            raise CorpusError(
                f"{root}: no subset {folder.name!r}: choose of {there or 'none'}, or --download it"
            )
        for chapter, paths in itertools.groupby(files.find(folder), operator.attrgetter("parent")):
            texts = _read_texts(chapter)
            for path in paths:
                match, (*place, _) = NAME.fullmatch(path.stem), path.relative_to(root).parts
                if not match or len(place) != 3 or list(match.groups()) != place[1:]:
                    raise CorpusError(
                        f"{path}: not in the layout of LibriSpeech ({LAYOUT}): move it out of the "
                        "corpus folder"
                    )
                subset, reader, _ = place
                labels = {"sex": sexes.get(reader, UNKNOWN), "subset": subset}
                yield Utterance(path.stem, path, reader, texts.get(path.stem, ""), labels)


def download(
    audio_dir: Path,
    subsets: Sequence[str] | None,
    base_url: str = BASE_URL,
    archives: Mapping[str, Archive] = ARCHIVES,
) -> None:
    """Fetch subsets (0.3 to 30 GB each, CC BY 4.0) into `audio_dir` unless they are there."""
    if not subsets or set(subsets) - set(archives):
        raise CorpusError(
            f"which subsets to download? Name them with --subset: {', '.join(archives)}"
        )
    # The archives bring a folder LibriSpeech of their own.
    folder = audio_dir.parent if audio_dir.name == "LibriSpeech" else audio_dir
    for subset in subsets:
        fetch(archives[subset], f"{base_url}/{archives[subset].name}", folder)


def read_sexes(path: Path) -> dict[str, str]:
    """Sex of each reader, from lines `READER | SEX | SUBSET | MINUTES | NAME`.

    LibriTTS leaves out the minutes.

    Raises:
        CorpusError: it is missing, malformed, or names nobody.
    """
    sexes = {}
    for where, line in read_lines(path, MEND):
        if line.startswith(";"):
            continue
        match = READER.fullmatch(line)
        if not match:
            raise CorpusError(f"{where}: not READER | F or M | SUBSET | …: {MEND}")
        sexes[match[1]] = SEXES[match[2]]
    if not sexes:
        raise CorpusError(f"{path}: no readers in it: {MEND}")
    return sexes


def _read_texts(chapter: Path) -> dict[str, str]:
    """What is said in each utterance of a chapter; nothing where the transcripts were left out."""
    lines = (
        line for path in chapter.glob("*.trans.txt") for _, line in read_lines(path, "check it")
    )
    return {name: text for name, _, text in (line.partition(" ") for line in lines)}
