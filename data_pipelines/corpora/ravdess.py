"""RAVDESS: 24 actors speak and sing two sentences in eight emotions.

S. R. Livingstone and F. A. Russo, 2018, Zenodo 1188976.

A file name holds seven two-digit codes:
modality-channel-emotion-intensity-statement-repetition-actor.
"""

import argparse
import re
from pathlib import Path

from data_pipelines.archive import Archive, fetch
from data_pipelines.corpora import Utterance
from lin_jax.audio import files
from lin_jax.errors import CorpusError

SUMMARY = "RAVDESS: emotional speech and song of 24 actors"
LICENCE = "CC BY-NC-SA 4.0"
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
STATEMENTS = ("Kids are talking by the door", "Dogs are sitting by the door")
CHANNELS = ("speech", "song")

FIELDS = {
    "channel": CHANNELS,
    "emotion": EMOTIONS,
    "intensity": ("normal", "strong"),
    "statement": ("kids", "dogs"),
    "repetition": ("1", "2"),
}
NAME = re.compile(r"03-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")
# The actors of each fold of D. Krasnoproshin and M. Vashkevich, "Speech Emotion Recognition using
# Attention-based LSTM-Network with Residual Connection", DSPA 2026 (arXiv:2606.03359).
RESLSTM_FOLDS = (
    (2, 5, 14, 15, 16),
    (3, 6, 7, 13, 18),
    (10, 11, 12, 19, 20),
    (8, 17, 21, 23, 24),
    (1, 4, 9, 22),
)
LAYOUT = "03-CHANNEL-EMOTION-INTENSITY-STATEMENT-REPETITION-ACTOR, each of two digits"

SPEECH = Archive("Audio_Speech_Actors_01-24.zip", md5="bc696df654c87fed845eb13823edef8a")
BASE_URL = "https://zenodo.org/records/1188976/files"


def add_arguments(parser: argparse.ArgumentParser):
    """Flags of the command line."""
    parser.add_argument(
        "--download",
        action="store_true",
        help="fetch the speech recordings (208 MB) to --audio-dir first",
    )
    parser.add_argument("--channel", choices=("speech", "song", "all"), default="speech")


def obtain(args: argparse.Namespace):
    """Download the release, if the flags say so."""
    if args.download:
        download(args.audio_dir)


def options(args: argparse.Namespace) -> dict:
    """What `load` takes of the flags."""
    return {"channel": args.channel}


def load(audio_dir: Path, channel: str = "speech") -> list[Utterance]:
    """List RAVDESS from its release layout, `Actor_NN/03-….wav`, in any audio format.

    Args:
        audio_dir: folder searched at any depth.
        channel: "speech", "song" or "all".

    Returns:
        Utterances with the labels emotion, intensity, statement, repetition, sex and channel.

    Raises:
        CorpusError: a name that is not of RAVDESS, or that holds a code RAVDESS does not have;
            nothing of the channel.
        AudioError: a folder that is missing or empty.
    """
    if channel not in (*CHANNELS, "all"):
        raise CorpusError(f"unknown channel {channel!r}: choose speech, song or all")
    chosen = [
        utterance
        for utterance in map(parse, files.find(audio_dir))
        if channel in ("all", utterance.labels["channel"])
    ]
    if not chosen:
        raise CorpusError(f"{audio_dir}: no {channel} in it: choose another channel or folder")
    return chosen


def parse(path: Path) -> Utterance:
    """Read what the name of one RAVDESS file says."""
    match = NAME.fullmatch(path.stem)
    if not match:
        raise CorpusError(
            f"{path}: not a RAVDESS name ({LAYOUT}): rename it, or move it out of the corpus folder"
        )
    *codes, actor = map(int, match.groups())
    labels = {}
    for (field, values), code in zip(FIELDS.items(), codes, strict=True):
        if not 1 <= code <= len(values):
            raise CorpusError(
                f"{path}: unknown {field} code {code:02d} (RAVDESS has 01 to {len(values):02d}): "
                "rename it, or move it out of the corpus folder"
            )
        labels[field] = values[code - 1]
    if not 1 <= actor <= 24:
        raise CorpusError(
            f"{path}: unknown actor {actor:02d} (RAVDESS has 01 to 24): rename it, or move it away"
        )
    labels["sex"] = "male" if actor % 2 else "female"
    text = STATEMENTS[FIELDS["statement"].index(labels["statement"])]
    return Utterance(path.stem, path, speaker(actor), text, labels)


def speaker(actor: int) -> str:
    """The name of an actor, 1 to 24, as a speaker."""
    return f"Actor_{actor:02d}"


def download(audio_dir: Path, base_url: str = BASE_URL, archive: Archive = SPEECH) -> None:
    """Fetch the speech (208 MB, CC BY-NC-SA 4.0) into `audio_dir` unless it is there."""
    fetch(archive, f"{base_url}/{archive.name}", audio_dir)
