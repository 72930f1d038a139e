"""Pieces: recordings are cut where their readers pause, and what is kept is whole."""

import numpy as np
import pytest

from data_pipelines import pieces
from lin_jax.text import END, SymbolTable

TABLE = SymbolTable.of(["ab cd, ef. gh"])
LIMITS = {"min_frames": 4, "max_frames": 20, "pause_frames": 5}


def clip(text, durations):
    symbols = np.concatenate([TABLE.encode_symbols(" " + text), [END]]).astype(np.int32)
    assert len(symbols) == len(durations)
    return symbols, np.array(durations), np.full(sum(durations), np.nan)


def spelt(piece):
    return "".join(TABLE.decode(piece.symbols))


def test_cuts_at_pauses():
    """A space that lasts is a pause: a comma where the text has none; frames add up."""
    symbols, durations, pitch = clip("ab cd ef", [6, 5, 5, 2, 4, 4, 9, 3, 3, 7])
    cut, dropped = pieces.cut(TABLE, 3, symbols, durations, pitch, punctuated=False, **LIMITS)
    assert [spelt(piece) for piece in cut] == [" ab cd,", " ef."]
    assert not dropped
    first, second = cut
    assert (first.clip, first.start) == (3, 2)
    assert first.durations[0] == pieces.LEAD
    assert first.num_frames == 4 + 20 + 8
    assert second.start + second.durations[0] == 6 + 20 + 9
    assert second.start + second.num_frames == durations.sum()


def test_pitch_of_symbols():
    """The median of the voiced frames of each, or between its neighbours, and how many they are."""
    symbols, durations, pitch = clip("ab", [4, 5, 4, 8])
    pitch[4:9] = 0.1, 0.2, 0.9, np.nan, np.nan
    pitch[9] = -0.3
    (piece,), _ = pieces.cut(TABLE, 0, symbols, durations, pitch, punctuated=False, **LIMITS)
    np.testing.assert_allclose(piece.pitch, [0.2, 0.2, -0.3, -0.3, -0.3])
    np.testing.assert_allclose(piece.voicing, [0, 0.6, 0.25, 0, 0])


def test_a_text_with_marks_keeps_them():
    symbols, durations, pitch = clip("ab, cd.", [3, 5, 5, 8, 1, 4, 4, 3, 3])
    limits = LIMITS | {"max_frames": 30}
    cut, _ = pieces.cut(TABLE, 0, symbols, durations, pitch, punctuated=True, **limits)
    assert [spelt(piece) for piece in cut] == [" ab, cd."]
    limits["max_frames"] = 12
    cut, _ = pieces.cut(TABLE, 0, symbols, durations, pitch, punctuated=True, **limits)
    assert [spelt(piece) for piece in cut] == [" ab,", " cd."]


def test_without_a_text_all_is_kept():
    """In equal pieces that no text belongs to, each no longer than allowed."""
    pitch = np.where(np.arange(47) % 2, 0.5, np.nan)
    cut = pieces.without_text(3, pitch, 20)
    assert [(piece.clip, piece.start, piece.num_frames) for piece in cut] == [
        (3, 0, 16),
        (3, 16, 16),
        (3, 32, 15),
    ]
    np.testing.assert_array_equal(np.concatenate([piece.frame_pitch for piece in cut]), pitch)
    assert all(len(piece.symbols) == piece.durations.sum() == 0 for piece in cut)


@pytest.mark.parametrize(
    ("durations", "reason"),
    [
        ([3, 40, 5, 6], "a symbol held for too long"),
        ([3, 15, 15, 6], "longer than max_seconds"),
        ([3, 1, 1, 6], "shorter than min_seconds"),
        ([3, 5, 5, 1], "no silence at its ends"),
    ],
)
def test_what_is_left_out_is_counted(durations, reason):
    symbols, durations, pitch = clip("ab", durations)
    limits = LIMITS | ({"max_frames": 99} if max(durations) > 30 else {})
    cut, dropped = pieces.cut(TABLE, 0, symbols, durations, pitch, punctuated=False, **limits)
    assert not cut
    assert [name.startswith(reason) for name in dropped] == [True]
