"""Copies of recordings in noise, in rooms, and at other speeds, written for who trains elsewhere.

Trainings of lin_jax draw the same anew for every batch, which is better: see `--config.augment`.
"""

import argparse
import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from data_pipelines import kit
from data_pipelines.corpora import UNKNOWN, Utterance
from lin_jax.audio import files
from lin_jax.errors import CorpusError

SUMMARY = "write varied copies of a corpus: noise, rooms, gain; classes balanced if asked"

SNR_DB = (5.0, 25.0)  # of the noise that is added
ROOM_SECONDS = (0.1, 0.6)  # reverberation times


def add_arguments(parser: argparse.ArgumentParser):
    """Flags of the command line."""
    parser.add_argument(
        "--copies",
        type=int,
        default=1,
        metavar="N",
        help="of each recording, beside itself (default 1)",
    )
    parser.add_argument(
        "--balance", metavar="LABEL", help="make more of the classes of this label that have few"
    )


def run(utterances: Sequence[Utterance], args: argparse.Namespace) -> dict[str, str]:
    """Write copies of a corpus beside copies of its recordings as they are."""
    out = kit.make_folder(args.out)
    planned = plan(utterances, args.copies, args.balance)

    def write(utterance: Utterance) -> Utterance:
        number = int(utterance.labels["copy"])
        path = kit.place(out, utterance, f"-{number}" if number else "")
        if not path.exists():
            samples, rate = files.read(utterance.path)
            files.check(samples, str(utterance.path))
            files.write(path, vary(samples, rate, utterance.id, number), rate)
        return dataclasses.replace(utterance, path=path)

    results, skipped = kit.each(write, planned, "written")
    written = [result for _, result in results]
    kit.write_table(out, written)
    print(f"{len(written)} clips, {len(utterances)} of them as they were, are in {out}")
    return skipped


def plan(utterances: Sequence[Utterance], copies: int, label: str | None) -> list[Utterance]:
    """Utterances with a label `copy`: 0 as they are, then 1, 2, …

    Args:
        utterances: of the corpus.
        copies: of each utterance.
        label: whose classes are to have as many utterances as the largest of them, if any.

    Raises:
        CorpusError: a negative number of copies, or a label that no utterance has.
    """
    if copies < 0:
        raise CorpusError(f"{copies} copies: choose 0 or more")
    counts = Counter(u.labels.get(label, UNKNOWN) for u in utterances) if label else Counter()
    if label and set(counts) <= {UNKNOWN}:
        raise CorpusError(f"no recording has a label {label!r}: choose another one to balance")
    largest, wanted, planned = max(counts.values(), default=0), Counter(), []
    for utterance in utterances:
        count = copies
        if label:
            kind = utterance.labels.get(label, UNKNOWN)
            share, seen = largest * (copies + 1) / counts[kind], wanted[kind]
            wanted[kind] += 1
            count = round(share * (seen + 1)) - round(share * seen) - 1
        planned += [
            dataclasses.replace(utterance, labels=utterance.labels | {"copy": str(copy)})
            for copy in range(count + 1)
        ]
    return planned


def vary(samples: np.ndarray, rate: int, id: str, number: int) -> np.ndarray:
    """A waveform [N] in a room, in noise, at another gain; the same for the same recording and copy."""
    if not number:
        return samples
    import jax

    from lin_jax.audio import augment, mixing

    entropy = [number, *id.encode()]
    rng = np.random.default_rng(entropy)
    room, noise = (jax.random.key(int(rng.integers(2**31))) for _ in range(2))
    size = mixing.fast_length(len(samples))
    x, length = np.zeros((1, size), np.float32), np.array([len(samples)])
    x[0, : len(samples)] = samples
    seconds = rng.uniform(*ROOM_SECONDS, 1).astype(np.float32)
    wet = np.asarray(augment.reverberate(room, x, length, seconds, rate))[0, : len(samples)]
    hiss = np.asarray(mixing.coloured_noise(noise, 1, size))[0, : len(samples)]
    noisy = mixing.add_noise(wet, hiss, rng.uniform(*SNR_DB)) * 10 ** (rng.uniform(-6, 0) / 20)
    return (noisy / max(1.0, float(np.abs(noisy).max()))).astype(np.float32)
