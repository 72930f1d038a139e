"""Features and labels as NumPy arrays, for programs that know nothing of feature sets.

OUT/features/ID.npy   [T, features] float32, of one clip each
OUT/table.csv         path, speaker, text and labels
"""

import argparse
import dataclasses
from collections.abc import Sequence

import numpy as np

from data_pipelines import features, kit
from data_pipelines.corpora import Utterance
from lin_jax.audio import files
from lin_jax.audio.frontend_config import FrontendConfig

SUMMARY = "write features and labels as .npy and a table, as other programs read them"


def add_arguments(parser: argparse.ArgumentParser):
    """Flags of the command line."""
    parser.add_argument(
        "--for",
        dest="needed_for",
        metavar="BUNDLE",
        help="features as a bundle needs them, such as emotion (default: 64 log-mel bands)",
    )


def run(utterances: Sequence[Utterance], args: argparse.Namespace) -> dict[str, str]:
    """Write the features of a corpus; what was written before is kept."""
    frontend = features.needed_by(args.needed_for)[0] if args.needed_for else FrontendConfig()
    out = kit.make_folder(args.out)
    features_of = features.compiled(frontend)

    def write(utterance: Utterance) -> Utterance:
        path = kit.place(out / "features", utterance).with_suffix(".npy")
        if not path.exists():
            waveform = files.load(utterance.path, frontend)
            frames = features_of(len(waveform))(waveform)
            with kit.replacing(path) as part, part.open("wb") as file:
                np.save(file, np.asarray(frames, np.float32))
        return dataclasses.replace(utterance, path=path)

    results, skipped = kit.each(write, utterances, "exported")
    written = [result for _, result in results]
    table = kit.write_table(out, written)
    print(f"{len(written)} clips are in {out / 'features'}, listed in {table}")
    return skipped
