"""Splits: which clips are learnt from, which are chosen by, and which are judged on.

No speaker on two sides.
"""

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np

from lin_jax.errors import CorpusError

SPEAKER_DEPENDENT = "speaker-dependent"


@dataclasses.dataclass(frozen=True)
class Split:
    """Indices of the clips on each side, sorted, and the protocol to quote with every figure."""

    protocol: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def by_speaker(
    speakers: Sequence[str], fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> Split:
    """Divide the speakers, each with all their clips, among train, validation and test.

    Args:
        speakers: speaker of each clip.
        fractions: shares of the speakers for train, validation and test, summing to 1; a share
            above 0 gets a speaker.
        seed: of the shuffle of speakers.

    Raises:
        CorpusError: fractions that do not sum to 1, or fewer speakers than sides.
    """
    shares = np.asarray(fractions, float)
    if shares.shape != (3,) or (shares < 0).any() or not np.isclose(shares.sum(), 1):
        raise CorpusError(f"split fractions {tuple(fractions)}: give three shares that sum to 1")
    names = _shuffled(speakers, seed)
    sides = int((shares > 0).sum())
    if len(names) < sides:
        raise CorpusError(
            f"{len(names)} speakers cannot fill {sides} sides of a split: add speakers or set a "
            "share to 0"
        )
    sizes = np.maximum(np.round(shares * len(names)).astype(int), shares > 0)
    sizes[np.argmax(sizes)] += len(names) - sizes.sum()
    groups = np.split(names, np.cumsum(sizes)[:2])
    split = Split("speaker-disjoint", *(_of(speakers, group) for group in groups))
    check(split, speakers)
    return split


def hold_out(
    speakers: Sequence[str],
    corpora: Sequence[str],
    test: int,
    validation: int,
    seed: int = 0,
    *,
    extra: Sequence[str] = (),
) -> Split:
    """Take some speakers of each corpus for test and validation, and the rest for training.

    Args:
        speakers: speaker of each clip.
        corpora: corpus of each clip.
        test: speakers of a corpus to judge on; at most a fifth of them, so that a tiny corpus only
            trains.
        validation: speakers of a corpus to choose by; at most a tenth.
        seed: of the shuffle of speakers.
        extra: speaker of each further clip, numbered after these. They train, but for those who are
            held out here, in whatever set: what stands before a "/" in a name does not count.
    """
    speakers, corpora, sides = np.asarray(speakers), np.asarray(corpora), ([], [], [])
    for corpus in np.unique(corpora):
        names = _shuffled(speakers[corpora == corpus], seed)
        here = min(test, len(names) // 5), min(validation, len(names) // 10)
        for side, chosen in zip(
            sides, np.split(names, [len(names) - sum(here), len(names) - here[0]]), strict=True
        ):
            side.extend(chosen)
    split = Split("speaker-disjoint", *(_of(speakers, side) for side in sides))
    check(split, speakers)
    allowed = ~np.isin(plain_names(extra), plain_names([*sides[1], *sides[2]]))
    train = np.append(split.train, len(speakers) + np.flatnonzero(allowed))
    return dataclasses.replace(split, train=train)


def plain_names(speakers: Sequence[str]) -> np.ndarray:
    """Names [clips] str without that of their set, which stands before a "/"."""
    return np.array([str(name).rpartition("/")[2] for name in speakers], str)


def hold_out_sentences(
    people: Sequence[str],
    corpora: Sequence[str],
    words: Sequence[str],
    usable: Sequence[bool],
    natural: Sequence[bool],
    test: int,
    share: float,
    seed: int = 0,
) -> Split:
    """Hold out speakers and sentences: neither of the test is in training.

    A sentence is drawn by what is said in it, so that it is on the same side in every corpus and in
    every training.

    Args:
        people: who speaks each clip, at whatever speed.
        corpora: the corpus of each clip.
        words: what is said in each clip; "" where it is not known, so that it cannot be tested.
        usable: whether a clip may be on any side.
        natural: whether a clip is at its own speed; others are trained on only.
        test: speakers of each corpus that are not trained on; at most a fifth of them.
        share: of the different sentences that are not trained on; half of them, by speakers who
            are, are for validation. Of two sentences or more one is tested, unless it is zero.
        seed: of both choices.

    Raises:
        CorpusError: nothing is left to train on.
    """
    people, corpora, words = np.asarray(people), np.asarray(corpora), np.asarray(words)
    usable, natural, read = np.asarray(usable), np.asarray(natural), words != ""
    unseen = np.zeros(len(people), bool)
    for corpus in np.unique(corpora):
        names = np.unique(people[corpora == corpus])
        drawn = np.random.default_rng(seed).permutation(names)[: min(test, len(names) // 5)]
        unseen |= (corpora == corpus) & np.isin(people, drawn)
    lots = np.array([zlib.crc32(f"{seed} {sentence}".encode()) / 2**32 for sentence in words])
    first = np.unique(lots[usable & ~unseen & read])[:2]
    half = max(share / 2, np.mean(first)) if share and len(first) == 2 else share / 2
    share = max(share, half)
    train = np.flatnonzero(usable & ~unseen & ~(read & (lots < share)))
    if not len(train):
        raise CorpusError("nothing is left to train on: hold out fewer sentences or speakers")
    known = usable & ~unseen & read & (lots < share) & natural & np.isin(people, people[train])
    tested = known & (lots < half)
    return Split(
        "sentences that were not trained on, in voices that were (seen) or not (unseen)",
        train,
        np.flatnonzero(known & ~tested),
        np.flatnonzero(tested | (usable & unseen & natural & read & ~np.isin(words, words[train]))),
    )


def k_fold(
    speakers: Sequence[str], k: int, seed: int = 0, *, validation: bool = False
) -> list[Split]:
    """Divide the speakers into k groups, each the test side of one fold.

    Args:
        speakers: speaker of each clip.
        k: number of folds.
        seed: of the shuffle of speakers.
        validation: hold the next fold's speakers out of training to choose by; without it that side
            is empty and nothing may be chosen by looking at results.

    Raises:
        CorpusError: fewer speakers than folds (or than three when a validation side is asked for).
    """
    names = _shuffled(speakers, seed)
    min_folds = 3 if validation else 2
    if k < min_folds or len(names) < k:
        raise CorpusError(
            f"{k} folds of {len(names)} speakers: give {min_folds} or more folds and a speaker for "
            "each"
        )
    return _folds(speakers, np.array_split(names, k), f"speaker-disjoint {k}-fold", validation)


def published_folds(
    speakers: Sequence[str], groups: Sequence[Sequence[str]], source: str
) -> list[Split]:
    """One fold for each group of speakers that was published, tested on it alone.

    Args:
        speakers: speaker of each clip.
        groups: the names in each fold.
        source: where they were published, for the protocol to quote.

    Raises:
        CorpusError: the speakers are not those of the groups.
    """
    others = np.setxor1d(np.unique(speakers), np.concatenate(groups))
    if others.size:
        raise CorpusError(
            f"folds of {source}: {_few(others)} are missing or in none of them: the protocol takes "
            "all its speakers and no others"
        )
    protocol = f"speaker-disjoint {len(groups)}-fold of {source}"
    return _folds(speakers, list(map(np.asarray, groups)), protocol, validation=False)


def leave_one_speaker_out(speakers: Sequence[str], *, validation: bool = False) -> list[Split]:
    """One fold for each speaker, in sorted order, tested on that speaker alone.

    `validation` as in `k_fold`.
    """
    names = np.unique(speakers)
    if len(names) < (3 if validation else 2):
        raise CorpusError(f"{len(names)} speakers: leaving one out needs more")
    return _folds(speakers, np.split(names, len(names)), "leave-one-speaker-out", validation)


def random_k_fold(labels: Sequence, k: int, seed: int = 0) -> list[Split]:
    """Divide the clips themselves into k folds with equal shares of every label.

    The same speakers are learnt from and judged on, so figures are far above those for a new
    speaker: the protocol says "speaker-dependent", and so must whoever quotes them.
    """
    labels = np.asarray(labels)
    if not 2 <= k <= len(labels):
        raise CorpusError(
            f"{k} folds of {len(labels)} clips: give 2 or more folds and a clip for each"
        )
    rng = np.random.default_rng(seed)
    by_label = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    )
    fold = np.empty(len(labels), int)
    fold[by_label] = np.arange(len(labels)) % k
    none = np.empty(0, int)
    return [
        Split(
            f"{SPEAKER_DEPENDENT} {k}-fold",
            np.flatnonzero(fold != i),
            none,
            np.flatnonzero(fold == i),
        )
        for i in range(k)
    ]


def check(split: Split, speakers: Sequence[str]) -> None:
    """Refuse a split with a clip or a speaker on two sides.

    Raises:
        CorpusError: names the sides and who is on both, unless the protocol says
            "speaker-dependent"; a clip on two sides is refused always.
    """
    speakers = np.asarray(speakers)
    sides = {"train": split.train, "validation": split.validation, "test": split.test}
    names = list(sides)
    for i, side in enumerate(names):
        for other_side in names[i + 1 :]:
            clips = np.intersect1d(sides[side], sides[other_side])
            if clips.size:
                raise CorpusError(
                    f"clips {_few(clips)} are in both {side} and {other_side}: take them out of one"
                )
            both = np.intersect1d(speakers[sides[side]], speakers[sides[other_side]])
            if both.size and not split.protocol.startswith(SPEAKER_DEPENDENT):
                raise CorpusError(
                    f"speakers {_few(both)} are in both {side} and {other_side}: "
                    "split by speaker, or use random_k_fold, which says that it is "
                    "speaker-dependent"
                )


def _shuffled(speakers: Sequence[str], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(np.unique(speakers))


def _of(speakers: Sequence[str], names: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.isin(speakers, names))


def _folds(
    speakers: Sequence[str], groups: list[np.ndarray], protocol: str, validation: bool
) -> list[Split]:
    splits = []
    for i, test in enumerate(groups):
        held = groups[(i + 1) % len(groups)] if validation else test[:0]
        train = np.setdiff1d(np.unique(speakers), np.concatenate([test, held]))
        splits.append(Split(protocol, *(_of(speakers, names) for names in (train, held, test))))
        check(splits[-1], speakers)
    return splits


def _few(names: np.ndarray) -> str:
    return ", ".join(map(str, names[:5])) + ("…" if len(names) > 5 else "")
