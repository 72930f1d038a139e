"""Long recordings cut at their pauses into pieces that a network can be trained on.

A recording that is short enough stays whole, with its text. Of one that is cut, nobody knows which
words are in which piece: `transcribe` writes them down, and `experiments/synthesis.py`, which aligns
text and speech, cuts recordings with texts itself.
"""

import argparse
import dataclasses
from collections.abc import Sequence

from data_pipelines import kit
from data_pipelines.corpora import Utterance
from lin_jax.audio import files
from lin_jax.audio.segmentation import split_on_silence
from lin_jax.errors import CorpusError

SUMMARY = "cut long recordings at their pauses"

MIN_SECONDS = 0.5  # of a piece; what is shorter is left out


def add_arguments(parser: argparse.ArgumentParser):
    """Flags of the command line."""
    parser.add_argument(
        "--max-seconds",
        type=float,
        default=8.0,
        metavar="S",
        help="length of a piece at most (default 8)",
    )


def run(utterances: Sequence[Utterance], args: argparse.Namespace) -> dict[str, str]:
    """Cut the recordings of a corpus; see the module.

    Raises:
        CorpusError: pieces that would be shorter than a second.
    """
    if not args.max_seconds >= 1:
        raise CorpusError(f"--max-seconds {args.max_seconds:g}: choose 1 or more")
    out = kit.make_folder(args.out)

    def cut(utterance: Utterance) -> list[Utterance]:
        samples, rate = files.read(utterance.path)
        files.check(samples, str(utterance.path))
        spans = [(0, len(samples))]
        if len(samples) > args.max_seconds * rate:
            spans = joined(
                split_on_silence(samples, rate, args.max_seconds), args.max_seconds * rate
            )
        pieces = []
        for start, end in spans:
            if end - start < MIN_SECONDS * rate:
                continue
            suffix = f"-{start / rate:08.2f}" if len(spans) > 1 else ""
            path = kit.place(out, utterance, suffix)
            if not path.exists():
                files.write(path, samples[start:end], rate)
            text = utterance.text if len(spans) == 1 else ""
            pieces.append(
                dataclasses.replace(utterance, id=utterance.id + suffix, path=path, text=text)
            )
        return pieces

    results, skipped = kit.each(cut, utterances, "cut")
    pieces = [piece for _, result in results for piece in result]
    table = kit.write_table(out, pieces)
    print(f"{len(pieces)} pieces of {len(utterances)} recordings are in {out}, listed in {table}")
    return skipped


def joined(spans: Sequence[tuple[int, int]], size: float) -> list[tuple[int, int]]:
    """Phrases (first sample, one past the last), those that follow one another as one of `size` at most."""
    pieces: list[tuple[int, int]] = []
    for start, end in spans:
        if pieces and end - pieces[-1][0] <= size:
            pieces[-1] = pieces[-1][0], end
        else:
            pieces.append((start, end))
    return pieces
