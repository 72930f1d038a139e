"""Transcripts: the texts of clips as symbols, and which cannot be what is said in their clip."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lin_jax.errors import TextError
from lin_jax.text import SymbolTable

MIN_CLIPS = 8  # by which the pace of one speaker is known; of fewer, the pace of all is taken
# Smallest and largest deviation of a pace, as a share of it, that speakers are granted.
SPREAD = (0.1, 0.35)


def table_of(
    rows: Sequence[dict], languages: Sequence[str] = (), known: SymbolTable | None = None
) -> SymbolTable:
    """The phonemes of all texts of a feature set, with the marks by which pauses are written.

    Args:
        rows: of the feature set, each with "text".
        languages: of the texts, each of another script, as espeak-ng names them; en-us if none.
        known: the table of a bundle that is trained on, whose symbols keep their numbers; as it is
            where it reads all the languages.
    """
    if known and set(languages) <= set(known.languages):
        return known
    first, *others = dict.fromkeys((*(known.languages if known else ()), *languages)) or ["en-us"]
    table = SymbolTable.of((row["text"] for row in rows), first, "phonemes", tuple(others))
    symbols = known.symbols if known else ()
    new = sorted({*table.symbols, *" ,."} - set(symbols))
    return dataclasses.replace(table, symbols=(*symbols, *new))


def read(
    rows: Sequence[dict], table: SymbolTable, *, max_deviations: float = 4.0
) -> tuple[list[np.ndarray], dict[int, str]]:
    """Read the text of every clip of a feature set.

    A text is judged by its symbols a second, against the median of its speaker: one that is too
    long or too short for its recording belongs to another one, or is cut.

    Args:
        rows: of the feature set, each with "text", "seconds" and "speaker".
        table: the symbols.
        max_deviations: deviations from the median pace, by the median absolute deviation, that a
            clip may have.

    Returns:
        Symbols of each clip, int32 [L], none where there is no text, and the clips that are no use
        for learning to speak, each with the reason.
    """
    symbols, problems = [np.zeros(0, np.int32)] * len(rows), {}
    for index, row in enumerate(rows):
        try:
            if row["text"]:
                symbols[index] = table.encode(row["text"])
        except TextError as error:
            problems[index] = str(error)
    good = np.array([index for index, ids in enumerate(symbols) if len(ids)], int)
    if not len(good):
        return symbols, problems
    seconds = np.array([rows[index]["seconds"] for index in good])
    pace = np.array([len(symbols[index]) for index in good]) / seconds
    speakers = np.array([rows[index]["speaker"] for index in good])
    for speaker in np.unique(speakers):
        of_speaker = speakers == speaker
        known = pace[of_speaker] if of_speaker.sum() >= MIN_CLIPS else pace
        usual = np.median(known)
        spread = np.clip(1.4826 * np.median(np.abs(np.log(known / usual))), *SPREAD)
        for place in np.flatnonzero(
            of_speaker & (np.abs(np.log(pace / usual)) > max_deviations * spread)
        ):
            count = len(symbols[good[place]])
            problems[int(good[place])] = (
                f"{count} symbols in {seconds[place]:.1f} s, where about "
                f"{usual * seconds[place]:.0f} are usual: "
                "check the text"
            )
    return symbols, dict(sorted(problems.items()))
