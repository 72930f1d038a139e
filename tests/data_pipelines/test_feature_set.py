"""Several feature sets as one, and pieces of clips as clips."""

import dataclasses

import numpy as np
import pytest
from helpers.noise_corpus import FRONTEND, make_corpus

from data_pipelines import features
from data_pipelines.corpora import UNKNOWN, speed_perturbed
from data_pipelines.feature_set import Segments, open_features
from data_pipelines.loaders import LoaderConfig, make_loader
from lin_jax.errors import FeatureError


@pytest.fixture(scope="module")
def folders(corpus, tmp_path_factory):
    """Two waveform sets in which the speakers have the same names, but other labels."""
    folder = tmp_path_factory.mktemp("joined")
    second = [dataclasses.replace(utterance, labels={"sex": "female"}) for utterance in corpus[8:]]
    for name, utterances in (("one", corpus[:8]), ("two", second)):
        features.prepare(utterances, folder / name, FRONTEND, store="waveform", progress=False)
    return folder


def test_who_is_played_at_another_speed_is_another_speaker_and_the_same_person(tmp_path):
    clips = speed_perturbed(make_corpus(tmp_path / "audio", 2), (0.8, 1.25))
    features.prepare(clips, tmp_path / "set", FRONTEND, progress=False)
    made = open_features(tmp_path / "set")
    assert sorted(made.speakers) == ["s0", "s0@0.8", "s0@1.25", "s1", "s1@0.8", "s1@1.25"]
    assert sorted(made.people) == ["s0"] * 3 + ["s1"] * 3
    assert sorted(made.speeds) == [0.8, 0.8, 1, 1, 1.25, 1.25]
    assert [speaker.split("@")[0] for speaker in made.speakers] == made.people.tolist()


def test_a_join_is_its_parts_in_order(folders):
    parts = [open_features(folders / name) for name in ("one", "two")]
    joined = open_features(f"{folders / 'one'},{folders / 'two'}")
    assert len(joined) == 22
    assert joined.corpora.tolist() == ["one"] * 8 + ["two"] * 14
    for index in (0, 7, 8, 21, -1):
        part, place = (
            (parts[0], index) if 0 <= index < 8 else (parts[1], index - 8 if index > 0 else index)
        )
        np.testing.assert_array_equal(joined[index]["waveform"], part[place]["waveform"])
        assert joined.rows[index]["id"] == f"{part.folder.name}/{part.rows[place]['id']}"
    assert (joined.speakers[0], joined.speakers[10]) == ("one/s0", "two/s0")
    assert len(joined.labels("speaker")[1]) == 10, "speakers of two sets never collide"
    assert joined.rows[0]["labels"] == {"emotion": "sad", "sex": UNKNOWN}
    assert joined.labels("sex")[1] == ("female", UNKNOWN)
    for ours, theirs in zip(joined.mean_std([1, 3]), parts[0].mean_std([1, 3]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not np.array_equal(joined.mean_std()[0], parts[0].mean_std()[0])
    (batch,) = make_loader(
        joined, [3, 20], None, LoaderConfig(batch_size=2, buckets=1), train=False
    )
    np.testing.assert_array_equal(batch["length"], joined.lengths[[3, 20]])


def test_only_the_clips_of_which_a_label_is_known(folders):
    joined = open_features(f"{folders / 'one'},{folders / 'two'}")
    known, second = joined.with_label("sex"), open_features(folders / "two")
    assert len(known) == 14
    assert known.labels("sex")[1] == ("female",)
    assert set(known.corpora) == {"two"}
    for index in (0, 5, -1):
        np.testing.assert_array_equal(known[index]["waveform"], second[index]["waveform"])
        assert known.rows[index]["id"] == f"two/{second.rows[index]['id']}"
    for ours, theirs in zip(known.mean_std([1, 3]), second.mean_std([1, 3]), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert second.with_label("sex") is second
    with pytest.raises(FeatureError, match="age is known of no clip"):
        joined.with_label("age")


def test_what_cannot_be_joined(folders, corpus, tmp_path):
    other = dataclasses.replace(FRONTEND, n_mels=21)
    features.prepare(corpus[:2], tmp_path / "other", other, store="waveform", progress=False)
    features.prepare(corpus[:2], tmp_path / "stored", FRONTEND, progress=False)
    for folder, message in (("other", "n_mels 21"), ("stored", "with the same --store")):
        with pytest.raises(FeatureError, match=message):
            open_features(f"{folders / 'one'},{tmp_path / folder}")
    with pytest.raises(FeatureError, match="two feature sets of one name"):
        open_features(f"{folders / 'one'},{folders / 'one'}")


def test_segments_are_pieces_of_clips(feature_set):
    pieces = Segments(feature_set, np.arange(3, 22), 0.2)
    key, size = (
        feature_set.store,
        3200 if feature_set.store == "waveform" else FRONTEND.num_frames(3200),
    )
    assert len(pieces) == sum(feature_set.lengths[3:] // size)
    np.testing.assert_array_equal(pieces.lengths, size)
    first = int(np.flatnonzero(feature_set.lengths[3:] >= 2 * size)[0]) + 3
    second = [row["id"] for row in pieces.rows].index(f"{feature_set.rows[first]['id']}@0.2-0.4")
    np.testing.assert_array_equal(pieces[second][key], feature_set[first][key][size : 2 * size])
    assert pieces.speakers[second] == feature_set.speakers[first]
    assert len(Segments(feature_set, [first], 0.2, max_per_clip=1)) == 1
    with pytest.raises(FeatureError, match="no clip of 22 is 2 s long"):
        Segments(feature_set, np.arange(22), 2.0)
    (batch,) = make_loader(
        pieces, [second], None, LoaderConfig(batch_size=1, buckets=1), train=False
    )
    np.testing.assert_array_equal(batch[key][0, :size], pieces[second][key])


def test_clips_read_at_once_are_those_read_one_by_one(folders, feature_set):
    """Of a set, of joined ones, of a subset and of segments; in the order asked for."""
    joined = open_features(f"{folders / 'one'},{folders / 'two'}")
    for clips in (
        feature_set,
        joined,
        joined.with_label("sex"),
        Segments(feature_set, [9, 3], 0.1),
    ):
        indices = [3, 0, -1, 3, 1]
        for index, clip in zip(indices, clips.read(indices), strict=True):
            assert clip.keys() == {clips.store}
            np.testing.assert_array_equal(clip[clips.store], clips[index][clips.store])
    assert feature_set.read([]) == []
