"""Loaders: every clip as often as promised, whole or rightly cropped, whatever the threads,
processes and stops.
"""

import dataclasses
import itertools
import types

import jax
import numpy as np
import pytest
from helpers.noise_corpus import FRONTEND

from data_pipelines import features, loaders, resident
from data_pipelines.loaders import LoaderConfig, make_loader, make_synthesis_loader
from lin_jax.errors import ConfigError, FeatureError

CROP = LoaderConfig(batch_size=4, crop_seconds=0.5, seed=3)
SIZE = {"features": "num_frames", "waveform": "length"}


def batches(feature_set, config=CROP, indices=None, **options):
    labels, _ = feature_set.labels("emotion")
    indices = np.arange(len(feature_set)) if indices is None else indices
    iterator = make_loader(feature_set, indices, labels, config, **options)
    try:
        yield from iterator
    finally:
        iterator.close()


def assert_equal(batches, expected):
    assert len(batches) == len(expected)
    for first, second in zip(batches, expected, strict=True):
        assert first.keys() == second.keys()
        for key in first:
            np.testing.assert_array_equal(first[key], second[key])


def test_training_batches(feature_set):
    key, T = (
        feature_set.store,
        FRONTEND.num_frames(8000) if feature_set.store == "features" else 8000,
    )
    labels, _ = feature_set.labels("emotion")
    speakers, _ = feature_set.labels("speaker")
    seen = []
    for batch in batches(feature_set, train=True, epochs=2):
        assert batch[key].shape[:2] == (4, T)
        assert batch[key].dtype == np.float32
        for row, index in enumerate(batch["index"]):
            whole, valid = feature_set[index][key], batch[SIZE[key]][row]
            assert valid == min(len(whole), T)
            starts = [
                s
                for s in range(len(whole) - valid + 1)
                if np.array_equal(whole[s], batch[key][row, 0])
            ]
            assert any(
                np.array_equal(whole[s : s + valid], batch[key][row, :valid]) for s in starts
            )
            assert not batch[key][row, valid:].any()
        np.testing.assert_array_equal(batch["label"], labels[batch["index"]])
        np.testing.assert_array_equal(batch["speaker"], speakers[batch["index"]])
        np.testing.assert_array_equal(batch["weight"], 1)
        seen.append(batch["index"])
    seen = np.concatenate(seen)
    assert sorted(seen[:22]) == sorted(seen[22:]) == list(range(22))
    assert seen[:22].tolist() != seen[22:].tolist()


def test_crops_differ_from_epoch_to_epoch(feature_set):
    longest = [int(feature_set.lengths.argmax())]
    config = LoaderConfig(batch_size=1, crop_seconds=0.2)
    crops = [
        batch[feature_set.store]
        for batch in batches(feature_set, config, longest, train=True, epochs=8)
    ]
    assert len({crop.tobytes() for crop in crops}) > 4


def test_depends_on_the_seed_alone(feature_set):
    first = list(batches(feature_set, train=True, epochs=2))
    one_thread = LoaderConfig(batch_size=4, crop_seconds=0.5, seed=3, read_threads=1)
    assert_equal(first, list(batches(feature_set, one_thread, train=True, epochs=2)))
    other = next(
        batches(feature_set, LoaderConfig(batch_size=4, crop_seconds=0.5, seed=4), train=True)
    )
    assert other["index"].tolist() != first[0]["index"].tolist()


@pytest.mark.parametrize("train", [True, False])
def test_processes_share_each_batch(feature_set, train):
    alone = list(batches(feature_set, train=train, epochs=1))
    shares = [
        list(batches(feature_set, train=train, epochs=1, process_index=i, process_count=2))
        for i in range(2)
    ]
    merged = [
        {
            key: np.stack([first[key], second[key]], 1).reshape(4, *first[key].shape[1:])
            for key in first
        }
        for first, second in zip(*shares, strict=True)
    ]
    assert_equal(alone, merged)


@pytest.mark.parametrize("train", [True, False])
def test_goes_on_from_a_saved_position(feature_set, train):
    iterator = make_loader(
        feature_set, np.arange(22), None, CROP, train=train, epochs=3 if train else None
    )
    next(iterator), next(iterator)
    state = iterator.get_state()
    rest = list(iterator)
    iterator.close()
    again = make_loader(
        feature_set, np.arange(22), None, CROP, train=train, epochs=3 if train else None
    )
    again.set_state(state)
    assert_equal(rest, list(again))
    again.close()
    np.testing.assert_array_equal(rest[0]["label"], -1)


def test_evaluation_gives_each_clip_whole_and_once(feature_set):
    key, chosen, seen, shapes = feature_set.store, np.arange(3, 20), [], set()
    for batch in batches(feature_set, indices=chosen, train=False):
        shapes.add(batch[key].shape)
        for row, index in enumerate(batch["index"]):
            whole, valid = feature_set[index][key], batch[SIZE[key]][row]
            np.testing.assert_array_equal(batch[key][row, :valid], whole)
            assert not batch[key][row, valid:].any()
            if batch["weight"][row]:
                seen.append(index)
    assert sorted(seen) == chosen.tolist()
    assert len(shapes) <= CROP.buckets


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_buckets_have_the_least_padding(count):
    lengths = np.random.default_rng(1).geometric(0.03, 60)
    possible = range(8, int(lengths.max()) + 8, 8)

    def padded(sizes):
        return np.array(sizes)[np.searchsorted(sizes, lengths)].sum()

    chosen = loaders.bucket_lengths(lengths, count, 8)
    assert len(chosen) <= count
    assert not (chosen % 8).any()
    others = itertools.combinations(possible[:-1], min(count, 3) - 1)
    assert padded(chosen) <= min(padded([*other, possible[-1]]) for other in others)
    if count == 9:
        assert padded(chosen) < padded(loaders.bucket_lengths(lengths, 3, 8))


def test_buckets_of_clips_of_one_length():
    np.testing.assert_array_equal(loaders.bucket_lengths(np.array([5, 7, 8]), 4, 8), [8])
    hours = loaders.bucket_lengths(np.array([10**9, 100]), 4, 16)
    assert hours[-1] >= 10**9


def test_sizes_that_cannot_work(feature_set):
    wrong = [
        ([], LoaderConfig(), {"train": True}),
        (np.arange(3), CROP, {"train": True, "epochs": 1}),
        (np.arange(9), CROP, {"train": True, "process_count": 3}),
        (np.arange(9), LoaderConfig(batch_size=0), {"train": False}),
    ]
    for indices, config, options in wrong:
        with pytest.raises(ConfigError, match=": "):
            make_loader(feature_set, indices, None, config, **options)


def test_few_clips_train_without_end(feature_set):
    stream = batches(feature_set, indices=[1, 2, 5], train=True)
    assert set(np.concatenate([next(stream)["index"] for _ in range(5)])) == {1, 2, 5}
    stream.close()


def test_corrupt_record_reaches_the_caller(tmp_path, corpus):
    features.prepare(corpus[:6], tmp_path / "out", FRONTEND, progress=False)
    (path,) = (tmp_path / "out/records").glob("*array_record*")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(FeatureError, match=r"is corrupt|cannot be opened"):
        list(batches(features.open_features(tmp_path / "out"), train=False))


PAIRS = LoaderConfig(batch_size=8, clips_per_speaker=2, crop_seconds=0.3, seed=3)


def test_batches_of_speakers(feature_set):
    """Four of the five speakers with two clips each.

    Over the epochs all speakers and clips come as often.
    """
    stream = batches(feature_set, PAIRS, train=True, epochs=60)
    seen, clips = np.zeros(5, int), np.zeros(22, int)
    for batch in stream:
        speakers = batch["speaker"].reshape(4, 2)
        np.testing.assert_array_equal(speakers[:, 0], speakers[:, 1])
        assert len(set(speakers[:, 0])) == 4
        assert len(set(batch["index"])) == 8
        seen += np.bincount(speakers[:, 0], minlength=5)
        clips += np.bincount(batch["index"], minlength=22)
    assert seen.sum() == 60 * 4
    assert seen.min() > 36
    assert clips.min() > 8


def test_batches_of_speakers_go_on_and_are_shared(feature_set):
    iterator = make_loader(feature_set, np.arange(22), None, PAIRS, train=True)
    next(iterator)
    state = iterator.get_state()
    expected = [next(iterator) for _ in range(3)]
    again = make_loader(feature_set, np.arange(22), None, PAIRS, train=True)
    again.set_state(state)
    assert_equal(expected, [next(again) for _ in range(3)])
    iterator.close(), again.close()
    alone = list(batches(feature_set, PAIRS, train=True, epochs=2))
    shares = [
        list(batches(feature_set, PAIRS, train=True, epochs=2, process_index=i, process_count=2))
        for i in (0, 1)
    ]
    for whole, *parts in zip(alone, *shares, strict=True):
        merged = np.stack([part["index"] for part in parts], 1).ravel()
        np.testing.assert_array_equal(merged, whole["index"])


def test_a_speaker_with_one_clip_gives_several_crops(feature_set, capsys):
    loaders._note.cache_clear()
    indices = [0, 1, 6, 11]  # speaker s0 has one clip, s1 three
    for _ in range(2):
        stream = batches(feature_set, LoaderConfig(4, 2, crop_seconds=0.2), indices, train=True)
        crops = [
            crop
            for batch in (next(stream) for _ in range(4))
            for crop in batch[feature_set.store][batch["index"] == 0]
        ]
        stream.close()
        assert len(crops) == 8
        assert len({crop.tobytes() for crop in crops}) > 2
    assert capsys.readouterr().err.count("1 of 2 speakers have a single clip") == 1


@pytest.mark.parametrize(
    ("indices", "sizes", "message"),
    [
        ([0, 5, 10], (4, 2), "one speaker only, s0"),
        (np.arange(22), (12, 2), "choose batch_size from 4 to 10"),
        (np.arange(22), (2, 2), "choose batch_size from 4 to 10"),
        (np.arange(22), (7, 2), "is a multiple"),
        (np.arange(22), (4, 1), "at least 2"),
    ],
)
def test_batches_of_speakers_that_cannot_be(feature_set, indices, sizes, message):
    with pytest.raises(ConfigError, match=message):
        make_loader(feature_set, indices, None, LoaderConfig(*sizes), train=True)


def pairs(feature_set, train=True, silent=(), **options):
    rng = np.random.default_rng(0)
    symbols = [
        rng.integers(1, 9, 0 if index in silent else length // 4).astype(np.int32)
        for index, length in enumerate(feature_set.lengths)
    ]
    voices = np.arange(3 * len(feature_set), dtype=np.float32).reshape(-1, 3)
    config = LoaderConfig(batch_size=4, buckets=3, seed=5)
    return (
        symbols,
        voices,
        make_synthesis_loader(
            feature_set, np.arange(2, 20), symbols, voices, config, train=train, **options
        ),
    )


def test_pairs_are_whole_and_together(feature_set):
    """In each epoch every clip comes once, with its own text and voice, in batches that differ from
    epoch to epoch.
    """
    if feature_set.store == "waveform":
        with pytest.raises(ConfigError, match="--store features"):
            pairs(feature_set)
        return
    symbols, voices, stream = pairs(feature_set, epochs=2)
    seen, shapes = [], set()
    for batch in stream:
        shapes.add((batch["features"].shape, batch["symbols"].shape))
        for row, index in enumerate(batch["index"]):
            np.testing.assert_array_equal(
                batch["features"][row, : batch["num_frames"][row]], feature_set[index]["features"]
            )
            assert not batch["features"][row, batch["num_frames"][row] :].any()
            np.testing.assert_array_equal(
                batch["symbols"][row, : batch["num_symbols"][row]], symbols[index]
            )
            assert not batch["symbols"][row, batch["num_symbols"][row] :].any()
            np.testing.assert_array_equal(batch["voice"][row], voices[index])
        seen.append(batch["index"][batch["weight"] > 0].tolist())
    assert len(shapes) <= 3
    half = len(seen) // 2
    epochs = [seen[:half], seen[half:]]
    assert [sorted(itertools.chain(*epoch)) for epoch in epochs] == [list(range(2, 20))] * 2
    assert epochs[0] != epochs[1]


def test_pairs_may_have_a_recording_for_a_text(feature_set):
    """A share of the batches has, for each clip, one of its partners, whole."""
    if feature_set.store == "waveform":
        return
    partners = [
        np.array([index, (index + 5) % len(feature_set)]) for index in range(len(feature_set))
    ]
    kinds, chosen = [], set()
    for batch in pairs(feature_set, epochs=6, speech=0.5, partners=partners)[2]:
        kinds.append("source" in batch)
        assert ("symbols" in batch) != ("source" in batch)
        if "source" not in batch:
            continue
        for row, index in enumerate(batch["index"].tolist()):
            source = batch["source"][row, : batch["num_source_frames"][row]]
            assert not batch["source"][row, len(source) :].any()
            (match,) = [
                p
                for p in partners[index]
                if np.array_equal(feature_set[int(p)]["features"], source)
            ]
            chosen.add(int(match - index))
    assert 0.2 < np.mean(kinds) < 0.8
    assert {0, 5} <= chosen
    for batch in pairs(feature_set, train=False, speech=1)[2]:
        np.testing.assert_array_equal(batch["num_source_frames"], batch["num_frames"])


def test_pairs_without_a_text_have_a_recording(feature_set):
    """In batches of their own; the others go on as before."""
    if feature_set.store == "waveform":
        return
    silent, kinds = {3, 4, 9, 15, 16, 17}, set()
    for train in (True, False):
        seen = []
        for batch in pairs(feature_set, train=train, epochs=3, silent=silent)[2]:
            without = set(batch["index"].tolist()) & silent
            assert without in (set(), set(batch["index"].tolist()))
            assert ("source" in batch) == bool(without)
            seen += batch["index"][batch["weight"] > 0].tolist()
        assert sorted(seen) == sorted([*range(2, 20)] * (3 if train else 1))
    for batch in pairs(feature_set, epochs=4, silent=silent, speech=0.5)[2]:
        kinds.add(("source" in batch, int(batch["index"][0]) in silent))
    assert kinds == {(True, True), (True, False), (False, False)}


def test_a_voice_is_heard_in_one_clip_or_another(feature_set):
    if feature_set.store == "waveform":
        return
    references = [
        np.array([index, (index + 7) % len(feature_set)]) for index in range(len(feature_set))
    ]
    _, voices, stream = pairs(feature_set, epochs=4, references=references)
    offsets = set()
    for batch in stream:
        for voice, index in zip(batch["voice"], batch["index"], strict=True):
            (match,) = [r for r in references[index] if np.array_equal(voices[r], voice)]
            offsets.add(int(match - index))
    assert {0, 7} <= offsets


def test_pairs_go_on_and_are_shared(feature_set):
    if feature_set.store == "waveform":
        return
    *_, stream = pairs(feature_set)
    next(stream)
    state = stream.get_state()
    expected = [next(stream) for _ in range(7)]
    *_, again = pairs(feature_set)
    again.set_state(state)
    assert_equal(expected, [next(again) for _ in range(7)])
    stream.close(), again.close()
    alone = list(pairs(feature_set, train=False)[2])
    shares = [
        list(pairs(feature_set, train=False, process_index=i, process_count=2)[2]) for i in (0, 1)
    ]
    for whole, *parts in zip(alone, *shares, strict=True):
        merged = np.stack([part["index"] for part in parts], 1).ravel()
        np.testing.assert_array_equal(merged, whole["index"])
    with pytest.raises(ConfigError, match="no clips"):
        make_synthesis_loader(feature_set, [], [], np.zeros(0), CROP, train=True)


def test_crops_are_the_same_every_time(feature_set):
    first, again = (list(loaders.crops(feature_set, np.arange(9), CROP, 3)) for _ in range(2))
    assert_equal(first, again)
    assert len(first) == 3
    few = next(loaders.crops(feature_set, [4, 5], CROP, 1))
    assert sorted(few["index"]) == [4, 5]


def test_speakers_take_turns(feature_set):
    if feature_set.store != "waveform":
        pytest.skip("pieces are of waveforms")
    speakers = feature_set.speakers
    pieces, clips = loaders.equal_segments(feature_set, np.arange(len(feature_set)), 4000, 7)
    assert pieces.shape == (7, 4000)
    names = np.unique(speakers).tolist()
    assert [*speakers[clips]][: len(names)] == names
    chosen = np.flatnonzero(speakers == names[0])
    joined = np.concatenate([feature_set[int(index)]["waveform"] for index in chosen])
    first = pieces[speakers[clips] == names[0]]
    np.testing.assert_array_equal(np.concatenate(first), joined[: first.size])
    nothing, _ = loaders.equal_segments(feature_set, np.arange(3), 10**7, 7)
    assert not len(nothing)


RESIDENT = LoaderConfig(batch_size=4, crop_seconds=0.5, seed=3, resident="always")


def resident_batches(feature_set, config, steps, indices=None):
    """Batches of the first steps, as a compiled step draws them."""
    labels, _ = feature_set.labels("emotion")
    indices = np.arange(len(feature_set)) if indices is None else indices
    source = make_loader(feature_set, indices, labels, config, train=True)
    batch_of = jax.jit(source.batch, static_argnums=2)
    for step in range(steps):
        yield batch_of(source.arrays, np.int32(step), source.sampler.layout(step))


def test_resident_clips_are_those_of_the_feature_set(feature_set, capsys):
    """Cropped likewise, with the same columns, twice as often where they are named twice."""
    key, indices = feature_set.store, np.array([2, 5, 5, 9])
    labels, _ = feature_set.labels("emotion")
    speakers, _ = feature_set.labels("speaker")
    (streamed,) = itertools.islice(batches(feature_set, indices=indices, train=True), 1)
    tolerance = 1e-6 if key == "waveform" else 2e-3  # int16 as stored, and float16
    for batch in resident_batches(feature_set, RESIDENT, 3, indices):
        assert {n: (v.shape, v.dtype) for n, v in batch.items()} == {
            n: (v.shape, v.dtype) for n, v in streamed.items()
        }
        assert sorted(batch["index"].tolist()) == indices.tolist()
        np.testing.assert_array_equal(batch["label"], labels[batch["index"]])
        np.testing.assert_array_equal(batch["speaker"], speakers[batch["index"]])
        for row, index in enumerate(batch["index"].tolist()):
            whole, valid = feature_set[index][key], int(batch[SIZE[key]][row])
            crop = np.asarray(batch[key][row, :valid])
            starts = range(len(whole) - valid + 1)
            scale = np.abs(whole).max()
            assert any(
                np.allclose(whole[s : s + valid], crop, 0, tolerance * scale) for s in starts
            )
    assert "note: 3 clips lie on each device, " in capsys.readouterr().err


def test_resident_batches_by_speaker_and_by_length(feature_set):
    """The samplers get the speakers and lengths of the clips chosen."""
    config = dataclasses.replace(RESIDENT, clips_per_speaker=2)
    for batch in resident_batches(feature_set, config, 2):
        first, second = np.asarray(batch["speaker"]).reshape(2, 2)
        assert first[0] == first[1] != second[0] == second[1]
    config = dataclasses.replace(RESIDENT, crop_seconds=0.0)
    seen = []
    for batch in resident_batches(feature_set, config, 8):
        lengths = feature_set.lengths[np.asarray(batch["index"])]
        np.testing.assert_array_equal(batch[SIZE[feature_set.store]], lengths)
        seen += np.asarray(batch["index"])[np.asarray(batch["weight"]) > 0].tolist()
    assert len(set(seen)) > 15


def test_auto_is_resident_on_accelerators_with_the_memory(feature_set, monkeypatch, capsys):
    device = types.SimpleNamespace(memory_stats=lambda: {"bytes_limit": 4e9})
    assert not resident.wanted("auto", feature_set, np.arange(9))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    assert resident.wanted("auto", feature_set, np.arange(9))
    device.memory_stats = lambda: {"bytes_limit": 4e4}
    assert not resident.wanted("auto", feature_set, np.arange(9))
    assert "GB of clips are streamed" in capsys.readouterr().err
    device.memory_stats = lambda: None
    assert not resident.wanted("auto", feature_set, np.arange(9))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resident": "yes"}, "unknown resident 'yes': choose one of auto, always, never"),
        ({"resident": "never", "crop_seconds": 0}, "whole clips are not streamed: set crop_sec"),
        ({"crop_seconds": 0, "clips_per_speaker": 2}, "batched by length, not by speaker"),
    ],
)
def test_impossible_residents(feature_set, options, message):
    config = dataclasses.replace(RESIDENT, **options)
    with pytest.raises(ConfigError, match=message):
        make_loader(feature_set, np.arange(9), None, config, train=True)
