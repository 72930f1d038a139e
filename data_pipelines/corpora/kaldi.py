"""Kaldi data folders: `wav.scp`, `utt2spk`, and any of `text`, `spk2gender`, `spk2age`.

Each is a table of a key and its value, one a line (https://kaldi-asr.org/doc/data_prep.html).
Commands in wav.scp are not run: a data folder is data, and what it may do to a machine should not
depend on where it came from.
"""

from collections.abc import Iterator
from pathlib import Path

from data_pipelines.corpora import SEXES, UNKNOWN, Utterance, find_root, read_lines
from lin_jax.errors import CorpusError

SUMMARY = "a Kaldi data folder: wav.scp, utt2spk, and if there text, spk2gender, spk2age"

FIX = "correct it, or run Kaldi's utils/fix_data_dir.sh"


def load(audio_dir: Path) -> Iterator[Utterance]:
    """List the utterances of wav.scp.

    Args:
        audio_dir: the data folder, or the one above it. A path in wav.scp is relative to either, or
            absolute.

    Yields:
        Utterances with the labels sex and age, "unknown" where the folder does not say. A file that
        is missing is listed, and skipped with its reason when features are extracted.

    Raises:
        CorpusError: no wav.scp or utt2spk, a malformed line, a key listed twice, an utterance
            without a speaker, a command in place of a path, recordings to be cut by `segments`, or
            not one file that is there.
    """
    data = find_root(audio_dir, "wav.scp")
    if not (data / "utt2spk").exists():
        raise CorpusError(
            f"{data}: no utt2spk in it: write one, the utterance and its speaker in each line"
        )
    if (data / "segments").exists():
        raise CorpusError(
            f"{data / 'segments'}: recordings to be cut: cut them with Kaldi's extract_segments"
        )
    recordings = {name: _locate(data, name, path) for name, path in _read(data / "wav.scp").items()}
    if not any(path.exists() for path in recordings.values()):
        first = next(iter(recordings.values()), "none listed")
        raise CorpusError(
            f"{data / 'wav.scp'}: none of its {len(recordings)} files is there (the first: "
            f"{first}): "
            "make their paths relative to its folder or the one above"
        )
    speakers = _read(data / "utt2spk")
    texts, sexes, ages = (_read(data / name) for name in ("text", "spk2gender", "spk2age"))
    for speaker, sex in sexes.items():
        if sex.upper() not in SEXES:
            raise CorpusError(f"{data / 'spk2gender'}: speaker {speaker} is {sex!r}: write f or m")
    for name, path in recordings.items():
        if name not in speakers:
            raise CorpusError(f"{data / 'utt2spk'}: no speaker for utterance {name}: {FIX}")
        speaker = speakers[name]
        sex = SEXES[sexes[speaker].upper()] if speaker in sexes else UNKNOWN
        yield Utterance(
            name,
            path,
            speaker,
            texts.get(name, ""),
            {"sex": sex, "age": ages.get(speaker, UNKNOWN)},
        )


def _read(path: Path) -> dict[str, str]:
    """Value of each key; nothing if there is no such file."""
    values, places = {}, {}
    for where, line in read_lines(path, FIX) if path.exists() else ():
        key, *value = line.split(maxsplit=1)
        if not value and path.name != "text":  # an utterance in which nothing is said
            raise CorpusError(f"{where}: {key} has no value: {FIX}")
        if key in values:
            raise CorpusError(f"{where}: {key} is listed twice, first in {places[key]}: {FIX}")
        values[key], places[key] = "".join(value), where
    return values


def _locate(data: Path, name: str, path: str) -> Path:
    """Where a path of wav.scp leads: from the data folder or the one above, whichever has it."""
    if path.endswith("|"):
        raise CorpusError(
            f"{data / 'wav.scp'}: {name} is a command ({path}): commands are not run; "
            "write its output to a file, such as with Kaldi's wav-copy, and list that"
        )
    folder = data.absolute()
    places = [folder / path, folder.parent / path]
    return next((place for place in places if place.exists()), places[0])
