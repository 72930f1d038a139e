"""One device, eight devices and pmap train the same parameters."""

import sys
import types

import jax
import numpy as np
import pytest
from helpers import tiny

from lin_jax.errors import ConfigError
from lin_jax.training import parallel

EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}


def train(path, mode, axis_name):
    """Six steps without dropout, which draws per device under pmap.

    The final state goes to `path`.
    """
    workdir = path.removesuffix(".npz")
    task = tiny.make_task(dropout=0.0, axis_name=axis_name)
    result = tiny.fit(workdir, task=task, num_steps=6, parallel=mode)
    leaves = jax.tree_util.tree_leaves_with_path((result.state, result.best))
    np.savez(path, **{jax.tree_util.keystr(key): leaf for key, leaf in leaves})


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """The state as one device trains it."""
    assert jax.device_count() == 1
    path = tmp_path_factory.mktemp("one") / "state.npz"
    train(str(path), "jit", None)
    return np.load(path)


@pytest.mark.parametrize("mode", parallel.MODES)
def test_eight_devices_equal_one(one_device, tmp_path, mode):
    """Parameters, batch statistics, optimiser, average and figures agree to rounding."""
    path = tmp_path / "state.npz"
    axis_name = parallel.AXIS if mode == "pmap" else ""
    run = tiny.run_alone(path, mode, axis_name, script=__file__, **EIGHT)
    assert run.returncode == 0, run.stderr
    state = np.load(path)
    assert set(state.files) == set(one_device.files)
    for name in one_device.files:
        np.testing.assert_allclose(
            state[name], one_device[name], rtol=1e-3, atol=1e-5, err_msg=name
        )


def test_feed_knows_the_position_of_the_batch_in_use():
    """However many batches are ahead, going back to the position gives the batches not yet used."""
    mesh = parallel.make_mesh()
    feed = parallel.DeviceFeed(tiny.train_loader(), mesh, ahead=3)
    for _ in range(4):
        feed.take()
    position, expected = feed.position, [feed.take()[1] for _ in range(5)]
    other = parallel.DeviceFeed(tiny.train_loader(), mesh, ahead=1)
    other.seek(position, 4)
    for batches in expected:
        jax.tree.map(np.testing.assert_array_equal, other.take()[1], batches)


class Lengths:
    """An endless loader of batches [2, length], of the lengths given in turn."""

    def __init__(self, *lengths):
        self.lengths, self.number = lengths, 0

    def __next__(self):
        self.number += 1
        return {"x": np.full((2, self.lengths[(self.number - 1) % len(self.lengths)]), self.number)}

    def get_state(self):
        return self.number

    def set_state(self, number):
        self.number = number


def test_feed_gives_the_batches_of_a_call_at_once():
    """Batches of other shapes go alone, the last call makes what is left, and none is skipped."""
    feed = parallel.DeviceFeed(Lengths(3, 3, 3, 3, 5), parallel.make_mesh(), 11, 3, ahead=1)
    calls, positions = [], []
    for _ in range(7):
        count, batches = feed.take()
        assert batches["x"].shape[:2] == (count, 2)
        calls.append(batches["x"][:, 0, 0].tolist())
        positions.append(feed.position)
    assert calls == [[1, 2, 3], [4], [5], [6, 7, 8], [9], [10], [11]]
    assert positions == [call[-1] for call in calls]


def test_batch_that_cannot_be_split():
    """The error says which sizes work."""
    mesh = types.SimpleNamespace(local_mesh=types.SimpleNamespace(size=3))
    with pytest.raises(
        ConfigError, match="16 examples cannot be split over 3 devices: choose a multiple"
    ):
        parallel.shard_batch(tiny.make_batch(16), mesh)


if __name__ == "__main__":
    train(sys.argv[1], sys.argv[2], sys.argv[3] or None)
