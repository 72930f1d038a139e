"""Many members at once: each is what it would be alone, and a stop changes nothing."""

import dataclasses

import jax
import numpy as np
import pytest
from helpers.tiny import make_batch, make_task

from lin_jax.errors import CheckpointError, ConfigError, TrainingError
from lin_jax.training import folds
from lin_jax.training.folds import FoldsConfig, Member, fit_ensemble
from lin_jax.training.optim import OptimConfig

CLIPS = make_batch(36)
CLIPS.pop("weight")
OPTIM = OptimConfig(learning_rate=1e-2, warmup_steps=2, ema_decay=0.9)
CONFIG = FoldsConfig(num_steps=12, batch_size=8, crop_frames=9, checkpoint_every=4)


def members(count=4):
    """Leave every fourth clip out, each member with a mean of its own.

    The last is asked about fewer clips.
    """
    everything = np.arange(36)
    return [
        Member(
            everything[everything % 4 != i],
            everything[everything % 4 == i][: 5 if i == 3 else None],
            seed=i,
            constants=np.float32(i / 10),
        )
        for i in range(count)
    ]


def fit(workdir, group=None, config=CONFIG, learning_rate=1e-2):
    return fit_ensemble(
        lambda mean: dataclasses.replace(make_task(), mean=mean),
        CLIPS,
        members() if group is None else group,
        config,
        dataclasses.replace(OPTIM, learning_rate=learning_rate),
        workdir,
    )


def assert_same(actual, expected, tolerance=0.0):
    def same(x, y):
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance)

    for a, b in zip(actual, expected, strict=True):
        jax.tree.map(same, (a.variables, a.outputs), (b.variables, b.outputs))


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("together"))


@pytest.mark.parametrize("width", [2, 4])
def test_side_by_side_is_one_after_another(together, width, tmp_path):
    config = dataclasses.replace(CONFIG, vmap_width=width)
    assert_same(fit(tmp_path, config=config), together, tolerance=1e-5)


def test_a_member_is_what_it_is_alone(together, tmp_path):
    assert_same(fit(tmp_path, members()[2:3]), together[2:3])


def test_members_differ(together):
    kernels = [jax.tree.leaves(member.variables["params"])[-1] for member in together]
    assert len({kernel.tobytes() for kernel in kernels}) == len(kernels)
    assert [member.outputs["probabilities"].shape for member in together] == [
        (9, 3),
        (9, 3),
        (9, 3),
        (5, 3),
    ]


@pytest.mark.parametrize("saves", [0, 1, 5])
def test_stopped_and_called_again_is_never_stopped(together, tmp_path, monkeypatch, saves):
    save, left = folds.Checkpoints.save, [saves]

    def stop(self, *arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        save(self, *arguments)

    monkeypatch.setattr(folds.Checkpoints, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path)
    monkeypatch.setattr(folds.Checkpoints, "save", save)
    assert_same(fit(tmp_path), together)


def test_every_epoch_hears_every_clip_once():
    member = Member(np.arange(5, 17), np.arange(5))
    order = folds._order(member, FoldsConfig(num_steps=6, batch_size=4)).reshape(2, 12)
    np.testing.assert_array_equal(np.sort(order, axis=1), [np.arange(5, 17)] * 2)
    assert not np.array_equal(*order)


def test_crops_are_windows_of_the_clip():
    frames = np.arange(20, dtype=np.float32)[None, :, None].repeat(64, 0)
    clips = {"features": jax.numpy.asarray(frames), "num_frames": jax.numpy.full((64,), 15)}
    batch = folds._take(clips, np.arange(64), 6, jax.random.key(0))
    np.testing.assert_array_equal(np.diff(batch["features"][..., 0], axis=1), 1)
    assert set(np.asarray(batch["features"][:, 0, 0], int)) == set(range(10))
    np.testing.assert_array_equal(batch["num_frames"], 6)
    short = folds._take(
        clips | {"num_frames": jax.numpy.full((64,), 4)}, np.arange(64), 6, jax.random.key(0)
    )
    np.testing.assert_array_equal(short["features"][:, 0, 0], 0)
    np.testing.assert_array_equal(short["num_frames"], 4)


def test_what_cannot_work(tmp_path, together):
    with pytest.raises(ConfigError, match="4 members cannot train 3 side by side"):
        fit(tmp_path / "a", config=dataclasses.replace(CONFIG, vmap_width=3))
    with pytest.raises(ConfigError, match="no clips to train on"):
        fit(tmp_path / "b", [Member(np.arange(0), np.arange(3), constants=np.float32(0))])
    with pytest.raises(TrainingError, match=r"loss not finite by step 4 .* lower learning_rate"):
        fit(tmp_path / "c", [dataclasses.replace(members()[0], constants=np.float32(np.nan))])
    fit(tmp_path / "d", members()[:1])
    with pytest.raises(CheckpointError, match="of another model"):
        fit_ensemble(
            lambda mean: dataclasses.replace(make_task(num_units=8), mean=mean),
            CLIPS,
            members()[:1],
            dataclasses.replace(CONFIG, num_steps=16),
            OPTIM,
            tmp_path / "d",
        )
