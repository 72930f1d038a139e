"""Checkpoints: what is saved comes back, and what cannot be written or read is told."""

import resource
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.damage import flipped_bits
from helpers.power import cuts

from lin_jax.errors import CheckpointError
from lin_jax.training.checkpoints import Checkpoints

STATE = {"w": jnp.arange(6.0).reshape(2, 3), "step": jnp.array(3)}
TARGET = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), STATE)


def test_save_is_a_snapshot_and_the_latest_and_best_are_kept(tmp_path):
    """Steps that reuse the state's memory right after a save do not reach the checkpoint."""
    advance = jax.jit(lambda x: x + 1.0, donate_argnums=0)
    w = jnp.zeros(200_000)
    with Checkpoints(tmp_path) as checkpoints:
        for step in range(1, 6):
            w = advance(w)
            checkpoints.save(step, {"w": w}, {"next": step}, {"best": step / 2}, best_step=2)
            for _ in range(3):
                w = advance(w)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2", "5"]
    target = {"w": jax.ShapeDtypeStruct(w.shape, w.dtype, sharding=w.sharding)}
    with Checkpoints(tmp_path) as checkpoints:
        for step in (2, 5):
            state, position, progress = checkpoints.restore(target, step)
            np.testing.assert_array_equal(state["w"], np.full(200_000, 4 * step - 3, np.float32))
            assert (position, progress) == ({"next": step}, {"best": step / 2})
        assert checkpoints.latest_step == 5


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_broken_checkpoint(tmp_path, damage):
    """It is named, with the mend."""
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, STATE, {}, {}, best_step=3)
    for path in (tmp_path / "3" / "state").rglob("*"):
        if path.is_file() and (damage == "missing" or path.stat().st_size > 100):
            path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:20])
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(CheckpointError, match=r"3 is broken .*: remove it"),
    ):
        checkpoints.restore(TARGET)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_every_flipped_bit_is_noticed(tmp_path, caplog):
    """Or it is a bit of which nothing depends, and what was saved comes back."""
    state = {"w": jax.random.normal(jax.random.key(0), (1000,))}
    target = {"w": jax.ShapeDtypeStruct((1000,), jnp.float32, sharding=state["w"].sharding)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(3, state, {"next": 7}, {"best": 0.5}, best_step=3)
    errors = []
    # Damage to Orbax' notes in array_metadatas is told, too, but leaves coroutines of Orbax behind,
    # of which pytest complains at its very end.
    paths = [path for path in sorted((tmp_path / "3").rglob("*")) if path.is_file()]
    for path in (path for path in paths if path.parent.name != "array_metadatas"):
        for bit in flipped_bits(path, 3):
            try:
                with Checkpoints(tmp_path) as checkpoints:
                    restored, position, progress = checkpoints.restore(target)
            except CheckpointError as error:
                errors.append(str(error))
            else:
                np.testing.assert_array_equal(restored["w"], state["w"])
                assert (position, progress) == ({"next": 7}, {"best": 0.5}), (path, bit)
    assert len(errors) > 12
    assert not any("\n" in error for error in errors)
    assert not caplog.records


def test_after_a_power_cut_the_latest_or_the_one_before_is_whole(tmp_path):
    def restored(folder) -> int:
        with Checkpoints(folder) as checkpoints:
            state, position, _ = checkpoints.restore(TARGET)
        np.testing.assert_array_equal(state["w"], STATE["w"] * position["next"])
        return position["next"]

    folder = tmp_path / "folder"
    with Checkpoints(folder) as checkpoints:
        checkpoints.save(1, STATE, {"next": 1}, {}, best_step=1)
        checkpoints.wait()
        with cuts(folder, tmp_path / "copies") as copies:
            state = STATE | {"w": STATE["w"] * 2}
            checkpoints.save(2, state, {"next": 2}, {}, best_step=2)
            checkpoints.wait()
    assert sorted(path.name for path in folder.iterdir()) == ["2"]
    steps = [restored(copy) for copy in copies]
    assert steps == sorted(steps)
    assert set(steps) == {1, 2}


def test_one_process_at_a_time(tmp_path):
    """Another would remove what the first is about to write."""
    with Checkpoints(tmp_path), pytest.raises(CheckpointError, match="in use by process"):
        Checkpoints(tmp_path)
    Checkpoints(tmp_path).close()


def test_no_checkpoint(tmp_path):
    """Nothing to restore is an error with the mend."""
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(CheckpointError, match=r"no checkpoint in .*: train first"),
    ):
        checkpoints.restore(TARGET)


def test_disk_without_room(tmp_path, monkeypatch):
    """It is told before anything is written."""
    with Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr("shutil.disk_usage", lambda path: types.SimpleNamespace(free=1))
        with pytest.raises(
            CheckpointError, match=r"cannot write to .* are needed, .* are free\): free some space"
        ):
            checkpoints.save(3, STATE, {}, {}, best_step=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_full_disk(tmp_path):
    """A checkpoint that cannot be written is told, and the one before it stays good."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, STATE, {}, {}, best_step=3)
    checkpoints.wait()
    large = {
        "w": jax.random.normal(jax.random.key(0), (100_000,))
    }  # One array: no write is left behind by the failed one.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:  # A limit on the size of files fails a write as a full disk does.
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
        checkpoints.save(4, large, {}, {}, best_step=3)
        with pytest.raises(
            CheckpointError, match=r"cannot write to .*too large.*: free some space"
        ):
            checkpoints.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step == 3
        jax.tree.map(np.testing.assert_array_equal, checkpoints.restore(TARGET)[0], STATE)
