"""One device, eight devices and pmap train the same parameters."""

import functools
import socket
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
from helpers import tiny

from lin_jax.errors import ConfigError
from lin_jax.training import parallel

EIGHT = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}


def train(path, mode, axis_name, shard="data"):
    """Six steps without dropout, which draws per device under pmap.

    The final state goes to `path`.
    """
    workdir = path.removesuffix(".npz")
    task = tiny.make_task(dropout=0.0, axis_name=axis_name)
    result = tiny.fit(workdir, task=task, num_steps=6, parallel=mode, shard=shard)
    leaves = jax.tree_util.tree_leaves_with_path((result.state, result.best))
    states = {jax.tree_util.keystr(key): leaf for key, leaf in leaves}
    np.savez(path, share=share_of_state(shard), **states)


def share_of_state(shard):
    """Elements that a device holds of a state of 48, as it is created."""
    create, mesh = (lambda key: jax.random.normal(key, (16, 3))), parallel.make_mesh()
    state = parallel.init_state(create, jax.random.key(0), mesh, shard)
    return state.addressable_shards[0].data.size


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    """The state as one device trains it."""
    assert jax.device_count() == 1
    path = tmp_path_factory.mktemp("one") / "state.npz"
    train(str(path), "jit", None)
    return {name: leaf for name, leaf in np.load(path).items() if name != "share"}


WAYS = [("jit", "data"), ("jit", "fsdp"), ("pmap", "data")]


@pytest.fixture(scope="module")
def eight_devices(tmp_path_factory):
    """The states as eight devices train them, in each way, and the folder that they are in."""
    folder, states = tmp_path_factory.mktemp("eight"), {}
    for mode, shard in WAYS:
        path, axis_name = folder / f"{mode}-{shard}.npz", parallel.AXIS if mode == "pmap" else ""
        run = tiny.run_alone(path, mode, axis_name, shard, script=__file__, **EIGHT)
        assert run.returncode == 0, run.stderr
        states[mode, shard] = dict(np.load(path))
        assert states[mode, shard].pop("share") == (6 if shard == "fsdp" else 48)
    return folder, states


@pytest.mark.parametrize("way", WAYS)
def test_eight_devices_equal_one(one_device, eight_devices, way):
    """Parameters, batch statistics, optimiser, average and figures agree to rounding."""
    state = eight_devices[1][way]
    assert set(state) == set(one_device)
    for name, leaf in one_device.items():
        np.testing.assert_allclose(state[name], leaf, rtol=1e-3, atol=1e-5, err_msg=name)


def test_split_state_equals_whole(eight_devices):
    """Fully sharded, the parameters are those of data parallel to 1e-6; its checkpoint is read by
    one device as well.
    """
    folder, states = eight_devices
    whole, parts = states["jit", "data"], states["jit", "fsdp"]
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-6, atol=1e-6, err_msg=name)
    task = tiny.make_task(dropout=0.0)
    state = tiny.fit(folder / "jit-fsdp", task=task, num_steps=6).state
    for path, leaf in jax.tree_util.tree_leaves_with_path((state,)):
        np.testing.assert_array_equal(leaf, parts[jax.tree_util.keystr(path)])


def test_arrays_are_split_along_the_longest_axis_that_can_be():
    mesh = jax.sharding.AbstractMesh((8,), (parallel.AXIS,))
    shapes = {"square": (8, 16), "long": (24, 8), "odd": (7, 16), "small": (7,), "step": ()}
    state = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}
    places = parallel.state_sharding(state, mesh, "fsdp")
    assert {name: tuple(place.spec) for name, place in places.items()} == {
        "square": (None, "data"),
        "long": ("data",),
        "odd": (None, "data"),
        "small": (),
        "step": (),
    }
    whole = parallel.state_sharding(state, mesh)
    assert all(place.is_fully_replicated for place in whole.values())
    with pytest.raises(ConfigError, match="unknown shard 'zero': choose one of data, fsdp"):
        parallel.state_sharding(state, mesh, "zero")
    with pytest.raises(ConfigError, match="fsdp needs parallel=jit"):
        parallel.compile_steps(lambda *_: None, mesh, "pmap", places)


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


@pytest.fixture
def coordinator():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def train_share(path, coordinator="", num_processes=0, process_id=-1):
    """As one of several processes: four steps of a stream, and as many of a resident corpus, fully
    sharded.
    """
    runs = parallel.initialise(coordinator, num_processes, process_id)
    share = slice(jax.process_index(), None, jax.process_count())

    def evaluation():
        for batch in tiny.eval_loader():
            yield {name: value[share] for name, value in batch.items()}

    task, states = tiny.make_task(dropout=0.0), {"runs": runs}
    loaders = {"stream": Share(tiny.train_loader(), share), "resident": tiny.resident()}
    for name, loader in loaders.items():
        options = {"num_steps": 4, "checkpoint_every": 4, "eval_every": 4, "steps_per_call": 2}
        options["shard"] = "fsdp" if name == "resident" else "data"
        workdir = f"{path.removesuffix('.npz')}-{name}"
        result = tiny.fit(workdir, task=task, loader=loader, evaluation=evaluation, **options)
        leaves = jax.tree_util.tree_leaves_with_path((result.state, result.best))
        states |= {f"{name}{jax.tree_util.keystr(key)}": np.asarray(leaf) for key, leaf in leaves}
    if jax.process_index() == 0:
        np.savez(path, **states)


class Share(tiny.Interrupting):
    """A process's share of the batches of a loader."""

    def __init__(self, loader, share):
        super().__init__(loader, None, -1)
        self.share = share

    def __next__(self):
        return {name: value[self.share] for name, value in next(self.loader).items()}


def test_two_processes_equal_one(tmp_path, coordinator):
    """Streamed or resident: state and figures agree, and one of them says what runs."""
    path = tmp_path / "two.npz"
    start = functools.partial(tiny.run_alone, "share", path, coordinator, 2, script=__file__)
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda i: start(i, JAX_NUM_CPU_DEVICES="1"), range(2)))
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr + runs[1].stderr
    train_share(str(tmp_path / "one.npz"))
    single, shared = np.load(tmp_path / "one.npz"), np.load(path)
    assert (str(single["runs"]), str(shared["runs"])) == (
        "1 process × 1 device (cpu)",
        "2 processes × 1 device (cpu)",
    )
    assert set(single.files) == set(shared.files)
    for name in set(single.files) - {"runs"}:
        np.testing.assert_allclose(shared[name], single[name], rtol=1e-6, atol=1e-6, err_msg=name)


def test_processes_that_cannot_be_joined(monkeypatch):
    """Each is told in one line, with the mend."""
    with pytest.raises(ConfigError, match="num_processes and process_id: give all three"):
        parallel.initialise("localhost:1234", 2)

    def unreachable(*_):
        raise RuntimeError("deadline exceeded")

    monkeypatch.setattr(jax.distributed, "initialize", unreachable)
    with pytest.raises(
        ConfigError, match=r"find each other \(deadline exceeded\): check the coord"
    ):
        parallel.initialise("localhost:1234", 2, 1)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(ConfigError, match="find each other"):
        parallel.initialise()


@pytest.mark.parametrize(
    ("environ", "several"),
    [
        ({}, False),
        ({"SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_STEP_NUM_TASKS": "8"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "host-0,host-1"}, True),
    ],
)
def test_clusters(environ, several):
    assert parallel._in_cluster(environ) == several


def test_no_gpu_stands_idle_unnoticed(monkeypatch):
    """One of two visible GPUs does not train, unless that is what was asked for."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ConfigError, match="1 of 2 visible GPUs would train: start a process for"):
        parallel.initialise()
    assert parallel.initialise(idle_gpus=True) == "1 process × 1 device (cpu)"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert parallel.initialise() == "1 process × 1 device (cpu)"


if __name__ == "__main__" and sys.argv[1] == "share":
    train_share(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
elif __name__ == "__main__":
    train(sys.argv[1], sys.argv[2], sys.argv[3] or None, sys.argv[4])
