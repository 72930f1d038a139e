"""Splits: every clip once on a test side, no speaker on two, and a leak refused."""

import dataclasses

import numpy as np
import pytest

from data_pipelines import splits
from lin_jax.errors import CorpusError

SPEAKERS = [f"s{i % 10}" for i in range(97)]


def names(indices):
    return set(np.asarray(SPEAKERS)[indices])


def test_by_speaker_covers_all_and_honours_the_shares():
    split = splits.by_speaker(SPEAKERS, (0.6, 0.2, 0.2), seed=1)
    sides = (split.train, split.validation, split.test)
    assert [len(names(side)) for side in sides] == [6, 2, 2]
    assert sorted(np.concatenate(sides)) == list(range(97))
    again = splits.by_speaker(SPEAKERS, (0.6, 0.2, 0.2), seed=1)
    np.testing.assert_array_equal(split.test, again.test)
    assert names(split.test) != names(splits.by_speaker(SPEAKERS, (0.6, 0.2, 0.2), seed=2).test)


@pytest.mark.parametrize(
    "fractions", [(0.8, 0.1, 0.1), (0.98, 0.01, 0.01), (0.34, 0.33, 0.33), (0.5, 0.0, 0.5)]
)
def test_by_speaker_gives_every_share_a_speaker(fractions):
    split = splits.by_speaker(["a", "b", "c"], fractions)
    assert [len(side) > 0 for side in (split.train, split.validation, split.test)] == [
        f > 0 for f in fractions
    ]


@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize("k", [4, 10])
def test_folds_test_every_clip_once(k, validation):
    folds = splits.k_fold(SPEAKERS, k, validation=validation)
    if k == 10:
        folds += splits.leave_one_speaker_out(SPEAKERS, validation=validation)
    assert sorted(np.concatenate([fold.test for fold in folds[:k]])) == list(range(97))
    for fold in folds:
        assert len(fold.train) + len(fold.validation) + len(fold.test) == 97
        assert (len(fold.validation) > 0) == validation
        assert not names(fold.train) & names(fold.test)
        assert not names(fold.validation) & (names(fold.train) | names(fold.test))


def test_published_folds_test_their_groups_and_take_nobody_else():
    groups = [["s0", "s1", "s2"], ["s3", "s4", "s5", "s6"], ["s7", "s8", "s9"]]
    folds = splits.published_folds(SPEAKERS, groups, "a paper")
    assert [names(fold.test) for fold in folds] == list(map(set, groups))
    assert names(folds[0].train) == {"s3", "s4", "s5", "s6", "s7", "s8", "s9"}
    assert folds[0].protocol == "speaker-disjoint 3-fold of a paper"
    for wrong, who in ((groups[:2], "s7, s8, s9"), ([*groups, ["s10"]], "s10")):
        with pytest.raises(CorpusError, match=f"folds of a paper: {who} are missing or in none"):
            splits.published_folds(SPEAKERS, wrong, "a paper")


def test_leave_one_speaker_out_is_in_order():
    assert [names(fold.test) for fold in splits.leave_one_speaker_out(SPEAKERS)] == [
        {f"s{i}"} for i in range(10)
    ]


def test_random_k_fold_is_stratified_and_says_what_it_is():
    labels = ["a"] * 40 + ["b"] * 10
    folds = splits.random_k_fold(labels, 5)
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(50))
    for fold in folds:
        assert np.sum(fold.test < 40) == 8
        assert fold.protocol == "speaker-dependent 5-fold"
        splits.check(fold, ["one"] * 50)


def test_a_leak_is_refused():
    split = splits.by_speaker(SPEAKERS)
    speaker = dataclasses.replace(
        split, train=np.append(split.train, split.test[0]), test=split.test[1:]
    )
    with pytest.raises(
        CorpusError, match=r"speakers s. are in both train and test: split by speaker"
    ):
        splits.check(speaker, SPEAKERS)
    clip = dataclasses.replace(split, protocol=splits.SPEAKER_DEPENDENT, validation=split.test)
    with pytest.raises(CorpusError, match=r"clips .* are in both validation and test"):
        splits.check(clip, SPEAKERS)


@pytest.mark.parametrize(
    "call",
    [
        lambda: splits.by_speaker(["a", "b"]),
        lambda: splits.by_speaker(SPEAKERS, (0.5, 0.5, 0.5)),
        lambda: splits.by_speaker(SPEAKERS, (1.0, 0.0)),
        lambda: splits.k_fold(["a", "b"], 3),
        lambda: splits.k_fold(["a", "b"], 2, validation=True),
        lambda: splits.leave_one_speaker_out(["a", "a"]),
        lambda: splits.random_k_fold(["a", "a"], 3),
    ],
)
def test_too_little_to_split(call):
    with pytest.raises(CorpusError, match=r": |needs"):
        call()


def test_extra_clips_only_train():
    """Those of whom another set holds out do not."""
    speakers, corpora = [f"a/s{i}" for i in range(10)], ["a"] * 10
    alone = splits.hold_out(speakers, corpora, 2, 1)
    extra = [f"b/s{i}" for i in range(12)]
    split = splits.hold_out(speakers, corpora, 2, 1, extra=extra)
    np.testing.assert_array_equal(split.test, alone.test)
    np.testing.assert_array_equal(split.validation, alone.validation)
    held_out = {*split.test, *split.validation}
    allowed = [10 + i for i in range(12) if i not in held_out]
    np.testing.assert_array_equal(split.train, [*alone.train, *allowed])


def test_hold_out_takes_from_each_corpus():
    corpora = ["many" if int(name[1:]) < 7 else "few" for name in SPEAKERS]
    split = splits.hold_out(SPEAKERS, corpora, 1, 1)
    assert names(split.test) <= {f"s{i}" for i in range(7)}, "a fifth of three speakers is none"
    assert [len(names(side)) for side in (split.train, split.validation, split.test)] == [9, 0, 1]
    more = splits.hold_out(np.arange(100), ["one"] * 100, 30, 5)
    assert [len(side) for side in (more.train, more.validation, more.test)] == [75, 5, 20]
    assert set(splits.hold_out(np.arange(100), ["one"] * 100, 30, 5, seed=1).test) != set(more.test)


def test_of_few_sentences_one_is_held_out():
    """Whatever the lots: a minute of recordings has a dozen sentences, of which 15 % could be none."""
    for seed in range(20):
        words, everyone = ["a b", "c d", "c d", "e f"], [True] * 4
        given = ["anna"] * 4, ["clips"] * 4, words, everyone, everyone, 0
        split = splits.hold_out_sentences(*given, 0.01, seed=seed)
        held_out = {words[i] for i in split.test}
        assert held_out
        assert held_out.isdisjoint(words[i] for i in split.train)
        assert len(splits.hold_out_sentences(*given, 0.0, seed=seed).test) == 0
    alone = ["anna"], ["clips"], ["a b"], [True], [True], 0
    assert splits.hold_out_sentences(*alone, 1e-9).train.tolist() == [0]
