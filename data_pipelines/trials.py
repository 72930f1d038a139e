"""Trials: pairs of clips, of the same speaker or not, kept as a table that anyone can read.

N trials. A list is a TSV file with a header and one trial a line: the ids of both clips, 1 for the
same speaker or 0, and 1 for the same sex, 0 for different ones, or "unknown".
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipelines.corpora import UNKNOWN
from data_pipelines.feature_set import FeatureSet
from lin_jax.errors import CorpusError
from lin_jax.metrics.verification import Trials

COLUMNS = ("one", "other", "same_speaker", "same_sex")


def all_pairs(
    clips: FeatureSet, indices: Sequence[int], train_speakers: Sequence[str] = ()
) -> Trials:
    """Every clip against every other one.

    Args:
        clips: the feature set.
        indices: which of its clips.
        train_speakers: speakers that were trained on.

    Raises:
        CorpusError: a trial of a speaker that was trained on, or no pair of the same or of
            different speakers.
    """
    indices = np.asarray(indices)
    left, right = np.triu_indices(len(indices), 1)
    return _make(clips, np.stack([indices[left], indices[right]], axis=1), train_speakers)


def per_speaker(
    clips: FeatureSet,
    indices: Sequence[int],
    n: int,
    train_speakers: Sequence[str] = (),
    seed: int = 0,
) -> Trials:
    """Up to n pairs of the same speaker for each speaker, and up to n with other speakers.

    Otherwise as `all_pairs`.
    """
    everything = all_pairs(clips, indices, train_speakers)
    rng, chosen = np.random.default_rng(seed), []
    for speaker in np.unique(everything.speakers):
        for same in (True, False):
            of_speaker = np.flatnonzero(
                (everything.speakers[:, 0] == speaker) & (everything.same == same)
            )
            chosen.append(rng.permutation(of_speaker)[:n])
    return _make(clips, everything.pairs[np.sort(np.concatenate(chosen))], train_speakers)


def write(path: str | Path, trials: Trials, clips: FeatureSet) -> None:
    """Write a list to the disk."""
    sexes = _sexes(clips)
    lines = ["\t".join(COLUMNS)]
    for (first, second), same in zip(trials.pairs, trials.same, strict=True):
        known = UNKNOWN not in (sexes[first], sexes[second])
        sex = str(int(sexes[first] == sexes[second])) if known else UNKNOWN
        lines.append(
            "\t".join([clips.rows[first]["id"], clips.rows[second]["id"], str(int(same)), sex])
        )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read(path: str | Path, clips: FeatureSet, train_speakers: Sequence[str] = ()) -> Trials:
    """Read a list that `write` wrote, or any with its first two columns.

    Raises:
        CorpusError: no such list, a malformed line, a clip that is not in the feature set, a line
            that contradicts it, or a speaker that was trained on.
    """
    try:
        header, *lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise CorpusError(f"{path}: no list of trials ({error}): write one first") from error
    if tuple(header.split("\t"))[:2] != COLUMNS[:2]:
        raise CorpusError(
            f"{path}: starts with {header[:40]!r}: the columns must be {', '.join(COLUMNS)}"
        )
    place, pairs = {row["id"]: index for index, row in enumerate(clips.rows)}, []
    for number, line in enumerate(lines, 2):
        names = line.split("\t")
        if len(names) < 2:
            raise CorpusError(
                f"{path}, line {number}: not two clips with a tab between them: correct it"
            )
        for name in names[:2]:
            if name not in place:
                raise CorpusError(
                    f"{path}, line {number}: no clip {name!r} in {clips.folder}: name its feature "
                    "set"
                )
        pairs.append([place[name] for name in names[:2]])
        same = clips.speakers[pairs[-1][0]] == clips.speakers[pairs[-1][1]]
        if len(names) > 2 and names[2] != str(int(same)):
            raise CorpusError(
                f"{path}, line {number}: same_speaker is {names[2]} there, {int(same)} in "
                f"{clips.folder}"
            )
    return _make(clips, np.array(pairs, int).reshape(-1, 2), train_speakers)


def _make(clips: FeatureSet, pairs: np.ndarray, train_speakers: Sequence[str]) -> Trials:
    names = clips.speakers
    if leaked := sorted(set(names[pairs.ravel()]) & set(train_speakers)):
        few = ", ".join(leaked[:5]) + ("…" if len(leaked) > 5 else "")
        raise CorpusError(
            f"speakers {few} are in trials and in training: judge on speakers that were held out"
        )
    numbers, _ = clips.labels("speaker")
    speakers, sexes = numbers[pairs], _sexes(clips)
    same = speakers[:, 0] == speakers[:, 1]
    if same.all() or not same.any():
        kind = "of the same speaker" if not same.any() else "of different speakers"
        raise CorpusError(
            f"no trial {kind}: hold out two speakers or more, with two clips or more each"
        )
    same_sex = (sexes[pairs[:, 0]] == sexes[pairs[:, 1]]) & (sexes[pairs[:, 0]] != UNKNOWN)
    return Trials(pairs, same, same_sex, speakers)


def _sexes(clips: FeatureSet) -> np.ndarray:
    return np.array([row["labels"].get("sex", UNKNOWN) for row in clips.rows])
