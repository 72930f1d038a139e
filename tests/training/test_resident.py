"""A corpus on the devices: every clip as often as promised, rightly cropped, from the step alone."""

import collections
import dataclasses
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import tiny

from lin_jax.errors import ConfigError
from lin_jax.training import parallel, resident
from lin_jax.training.resident import AllAlike, ByLength, BySpeaker, Ragged, Resident


def drawn(sampler, steps):
    """Clips, weights and layout of the first steps, as a compiled step draws them."""
    draw = jax.jit(sampler.draw, static_argnums=1)
    for step in range(steps):
        layout = sampler.layout(step)
        rows, weight, _ = draw(jnp.int32(step), layout)
        yield np.asarray(rows), np.asarray(weight), layout


def test_shuffle_gives_every_order_equally_often():
    """Of four, all 24; of many, each place has each value equally often, whatever its neighbour."""
    order = jax.jit(lambda seeds, n: resident.shuffle(n, len(n), seeds[:, None]))
    seeds = resident.fold(7, jnp.arange(12000))
    orders = np.asarray(order(seeds, jnp.arange(4)))
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 24
    assert np.sum((counts - 500) ** 2 / 500) < 60  # 23 degrees of freedom: p = 3e-5
    orders = np.asarray(order(seeds, jnp.arange(50)))
    assert (np.sort(orders) == np.arange(50)).all()
    for values in (orders[:, 0], orders[:, 31], (orders[:, 1] - orders[:, 0] - 1) % 50 * 50 // 49):
        counts = np.bincount(values, minlength=50)[:49]
        assert np.sum((counts - counts.mean()) ** 2 / counts.mean()) < 110  # p < 1e-6


def test_every_clip_once_an_epoch():
    """Epochs join without a gap, are shuffled anew, and follow from the seed."""
    seen = np.concatenate([rows for rows, _, _ in drawn(AllAlike(10, 4, 5, seed=1), 10)])
    epochs = seen.reshape(4, 10)
    assert (np.sort(epochs) == np.arange(10)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 4
    other = np.concatenate([rows for rows, _, _ in drawn(AllAlike(10, 4, 5, seed=2), 10)])
    assert (seen != other).any()


def test_speakers_come_equally_often():
    """K different clips of each speaker in a batch, or all of them over again where there are fewer."""
    members = [np.array([0]), np.array([1, 2]), np.arange(3, 13), np.array([13, 14, 15])]
    speaker_of = {clip: number for number, clips in enumerate(members) for clip in clips.tolist()}
    sampler = BySpeaker(members, batch_size=6, clips_per_speaker=3, size=5, seed=0)
    speakers, orders = [], set()
    for rows, weight, _ in drawn(sampler, 40):
        groups = rows.reshape(2, 3)
        batch = [{speaker_of[clip] for clip in group.tolist()} for group in groups]
        assert all(len(group) == 1 for group in batch)
        speakers += [group.pop() for group in batch]
        for group, speaker in zip(groups, speakers[-2:], strict=True):
            assert len(set(group.tolist())) == min(3, len(members[speaker]))
        assert (weight == 1).all()
        orders.add(tuple(speakers[-2:]))
    assert (np.sort(np.reshape(speakers, (20, 4))) == np.arange(4)).all()
    assert len(orders) > 6
    assert len({tuple(rows) for rows, _, _ in drawn(sampler, 40)}) > 30


def test_whole_clips_by_length():
    """Each clip counts once an epoch, at the smallest size that holds it; batches are shuffled."""
    lengths = np.array([3, 9, 4, 5, 9, 2, 7, 5, 4, 1, 8])
    sampler = ByLength(lengths, np.array([4, 6, 9]), batch_size=2, seed=0)
    epochs = []
    steps = list(drawn(sampler, 12))
    for part in (steps[:6], steps[6:]):  # 5, 2 and 4 clips in 3, 1 and 2 batches
        counted = collections.Counter()
        for rows, weight, layout in part:
            assert (lengths[rows] <= layout).all()
            assert (np.searchsorted(sampler.sizes, lengths[rows]) == [4, 6, 9].index(layout)).all()
            counted.update(rows[weight > 0].tolist())
        assert counted == dict.fromkeys(range(11), 1)
        epochs.append([layout for _, _, layout in part])
    assert epochs[0] != epochs[1]


CLIPS = [np.arange(1.0, n + 1)[:, None] * np.array([1, -1]) for n in (3, 8, 5)]


def make_resident(size, batch_size=2, scale=None):
    ragged = Ragged.allocate([len(clip) for clip in CLIPS], (2,), np.float16)
    for row, clip in enumerate(CLIPS):
        ragged.view(row)[:] = clip
    columns = {"label": np.arange(3, dtype=np.int32)}
    sampler = AllAlike(3, batch_size, size, seed=4)
    ragged = ragged.replace(scale=scale)
    return Resident({"features": ragged}, {"features": "num_frames"}, columns, sampler)


@pytest.mark.parametrize("size", [1, 4, 8, 11])
def test_crops_lie_within_their_clip(size):
    """All places of a crop come, a shorter clip is padded with zeros, and the rest follows along."""
    source, places = make_resident(size), collections.defaultdict(set)
    batch_of = jax.jit(source.batch, static_argnums=2)
    for step in range(60):
        batch = batch_of(source.arrays, jnp.int32(step), source.sampler.layout(step))
        assert batch["features"].dtype == jnp.float32
        for features, valid, label in zip(
            batch["features"], batch["num_frames"], batch["label"], strict=True
        ):
            clip, start = CLIPS[label], int(features[0, 0]) - 1
            assert valid == min(size, len(clip))
            np.testing.assert_array_equal(features[:valid], clip[start : start + valid])
            assert not features[valid:].any()
            places[int(label)].add(start)
    assert {k: len(v) for k, v in places.items()} == {
        k: max(1, len(clip) - size + 1) for k, clip in enumerate(CLIPS)
    }


def test_scales_belong_to_clips():
    source = make_resident(3, scale=np.array([1, 10, 100], np.float32))
    batch = source.batch(source.arrays, jnp.int32(0), 3)
    np.testing.assert_array_equal(
        batch["features"][:, 1, 0] - batch["features"][:, 0, 0], 10.0 ** np.array(batch["label"])
    )


def test_training_goes_on_where_it_stopped(tmp_path):
    """In calls of several steps or of one, stopped or not: the same bits."""
    options = {"loader": tiny.resident(), "eval_every": 12, "checkpoint_every": 24}
    whole = tiny.fit(tmp_path / "whole", **options)
    assert whole.best["uar"] > 0.8

    def stop_here():
        os.kill(os.getpid(), signal.SIGTERM)
        return tiny.eval_loader()

    with pytest.raises(SystemExit):
        tiny.fit(tmp_path / "calls", **options, steps_per_call=4, evaluation=stop_here)
    calls = tiny.fit(tmp_path / "calls", **options, steps_per_call=4)
    jax.tree.map(np.testing.assert_array_equal, calls.state, whole.state)
    with pytest.raises(
        ConfigError, match=r"resident corpus until now: go on with loader\.resident"
    ):
        tiny.fit(tmp_path / "whole", num_steps=30)


def test_a_stream_is_not_taken_for_a_resident_corpus(tmp_path):
    tiny.fit(tmp_path, num_steps=3, evaluation=None)
    with pytest.raises(ConfigError, match=r"a stream .* until now: go on with loader\.resident"):
        tiny.fit(tmp_path, loader=tiny.resident())


def test_a_call_has_one_layout():
    """Steps of another length are a call of their own, and compiled for it."""
    sampler = ByLength(np.array([1, 1, 1, 1, 1, 1, 9, 9]), np.array([1, 9]), 2, seed=0)
    source = dataclasses.replace(tiny.resident(), sampler=sampler)
    feed = parallel.ResidentFeed(source, parallel.make_mesh(), 7, steps_per_call=2)
    calls = []
    while sum(steps for steps, _ in calls) < 7:
        steps, draws = feed.take()
        calls.append((steps, draws.layout))
    layouts = [layout for steps, layout in calls for _ in range(steps)]
    assert layouts == [sampler.layout(step) for step in range(7)]
    assert {steps for steps, _ in calls} == {1, 2}


def test_too_long_for_a_device():
    with pytest.raises(ConfigError, match="too many for a device: stream them"):
        Ragged.allocate(np.full(3, 10**9), (), np.int16)
