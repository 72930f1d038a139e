"""Trials: every pair once, as promised on the disk, and no speaker that was trained on."""

import numpy as np
import pytest

from data_pipelines import trials
from data_pipelines.feature_set import FeatureSet
from lin_jax.audio.frontend import FrontendConfig
from lin_jax.errors import CorpusError

SEX = {"a": "female", "b": "female", "c": "male", "d": "unknown"}


def row(name, speaker):
    return {
        "id": name,
        "speaker": speaker,
        "labels": {"sex": SEX[speaker]},
        "length": 9,
        "frames": 9,
    }


@pytest.fixture
def clips(tmp_path):
    rows = [row(f"{speaker}{i}", speaker) for speaker in "abcd" for i in range(4)]
    return FeatureSet(tmp_path / "set", FrontendConfig(), "features", rows, {})


def test_all_pairs(clips):
    listed = trials.all_pairs(clips, [0, 1, 4, 9, 12])  # a0 a1 b0 c1 d0
    assert listed.pairs.tolist()[:4] == [[0, 1], [0, 4], [0, 9], [0, 12]]
    assert len(listed.pairs) == 10
    assert listed.same.tolist() == [True] + [False] * 9
    assert np.flatnonzero(listed.same_sex).tolist() == [
        0,
        1,
        4,
    ]  # a0 with a1 and b0, a1 with b0; d is unknown
    assert listed.speakers[2].tolist() == [0, 2]


def test_some_for_each_speaker(clips):
    listed = trials.per_speaker(clips, np.arange(16), 3)
    for speaker in range(4):
        trials_of = (listed.speakers == speaker).any(axis=1)
        assert (trials_of & listed.same).sum() == 3
        assert 3 <= (trials_of & ~listed.same).sum() <= 12
    assert len(np.unique(listed.pairs, axis=0)) == len(listed.pairs)
    np.testing.assert_array_equal(listed.pairs, trials.per_speaker(clips, np.arange(16), 3).pairs)
    assert not np.array_equal(
        listed.pairs, trials.per_speaker(clips, np.arange(16), 3, seed=1).pairs
    )


def test_what_was_written_is_read(clips, tmp_path):
    listed = trials.all_pairs(clips, [0, 1, 4, 9, 12])
    trials.write(tmp_path / "lists/trials.tsv", listed, clips)
    lines = (tmp_path / "lists/trials.tsv").read_text().splitlines()
    assert lines[:3] == ["one\tother\tsame_speaker\tsame_sex", "a0\ta1\t1\t1", "a0\tb0\t0\t1"]
    assert lines[4] == "a0\td0\t0\tunknown"
    again = trials.read(tmp_path / "lists/trials.tsv", clips)
    for name in ("pairs", "same", "same_sex", "speakers"):
        np.testing.assert_array_equal(getattr(again, name), getattr(listed, name))


def test_a_leak_is_refused(clips, tmp_path):
    trials.write(tmp_path / "trials.tsv", trials.all_pairs(clips, [0, 1, 4]), clips)
    for make in (
        lambda: trials.all_pairs(clips, [0, 1, 4], ["b", "d"]),
        lambda: trials.per_speaker(clips, [0, 1, 4], 2, ["b", "d"]),
        lambda: trials.read(tmp_path / "trials.tsv", clips, ["b", "d"]),
    ):
        with pytest.raises(CorpusError, match="speakers b are in trials and in training"):
            make()


@pytest.mark.parametrize(
    ("indices", "kind"), [([0, 1], "of different speakers"), ([0, 4], "of the same speaker")]
)
def test_one_kind_of_trial_is_none(clips, indices, kind):
    with pytest.raises(CorpusError, match=f"no trial {kind}"):
        trials.all_pairs(clips, indices)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no list of trials"),
        ("a0\ta1\t1\t1\n", "columns must be"),
        ("one\tother\na0 a1\n", "line 2: not two clips"),
        ("one\tother\na0\ta1\na0\tz9\n", "line 3: no clip 'z9'"),
        ("one\tother\tsame_speaker\na0\ta1\t0\n", "line 2: same_speaker is 0 there, 1 in"),
    ],
)
def test_a_malformed_list(clips, tmp_path, text, message):
    (tmp_path / "trials.tsv").write_text(text)
    with pytest.raises(CorpusError, match=message):
        trials.read(tmp_path / "trials.tsv", clips)
