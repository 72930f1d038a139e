"""Recordings as one would have wished to make them: repaired, trimmed, and of one loudness.

The pauses at both ends go, the rest is brought to the level that the networks of lin_jax expect, and
noise, clipping and rooms are repaired by the bundle `repair` unless that is declined.
"""

import argparse
import dataclasses
from collections.abc import Sequence

import numpy as np

from data_pipelines import kit
from data_pipelines.corpora import Utterance
from lin_jax.audio import files

SUMMARY = "write a corpus anew: repaired, trimmed at both ends, of one loudness"

TRIM_DB = 40.0  # below the loudest frame: what counts as a pause
LEVEL_DB = -25.0  # RMS, in dB of full scale
MAX_PEAK = 0.99


def add_arguments(parser: argparse.ArgumentParser):
    """Flags of the command line."""
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="S",
        help="how much of the repair is mixed in, 0 (none, and much faster) to 1 (default)",
    )


def run(utterances: Sequence[Utterance], args: argparse.Namespace) -> dict[str, str]:
    """Clean a corpus; what was written before is kept, so that it goes on after a stop."""
    from lin_jax import bundles

    out = kit.make_folder(args.out)
    repairer = bundles.load("repair") if args.strength else None

    def clean(utterance: Utterance) -> Utterance:
        path = kit.place(out, utterance)
        if not path.exists():
            samples, rate = files.read(utterance.path)
            files.check(samples, str(utterance.path))
            if repairer:
                samples = repairer.repair(samples, rate, args.strength)
            files.write(path, levelled(files.trim_silence(samples, TRIM_DB)), rate)
        return dataclasses.replace(utterance, path=path)

    results, skipped = kit.each(clean, utterances, "cleaned")
    written = [result for _, result in results]
    table = kit.write_table(out, written)
    print(
        f"{len(written)} clips are in {out}; python -m data_pipelines inspect table --audio-dir {out}"
    )
    print(f"they are listed in {table}")
    return skipped


def levelled(samples: np.ndarray) -> np.ndarray:
    """A waveform [N] at `LEVEL_DB`, or at less where its peak would not fit."""
    samples = files.level(samples, target_db=LEVEL_DB, kind="rms")
    return samples * min(1.0, MAX_PEAK / max(float(np.abs(samples).max()), 1e-9))
