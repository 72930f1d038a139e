"""Where training runs: the only file that knows about devices.

Training is data-parallel: every device holds the whole state and its share of each batch. Under
"jit" the batch is one global array split over a mesh and the compiler adds the sums across devices,
so any number of devices and hosts computes what one device would, BatchNorm statistics included.
"pmap" maps the step over the devices of one host and averages gradients by name; it gives the same
parameters where nothing in the step is random and the network's BatchNorm has `axis_name=AXIS`. For
several hosts, call `jax.distributed.initialize()` first.
"""

import collections
import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lin_jax.errors import ConfigError, TrainingError

AXIS = "data"
MODES = ("jit", "pmap")


def make_mesh() -> Mesh:
    """A mesh of all devices along one axis, the data."""
    # Auto: with Explicit axes, Dropout, Embed and pairwise distances fail to trace.
    return jax.make_mesh((jax.device_count(),), (AXIS,), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Sharding of what every device holds whole: the state, keys, sums."""
    return NamedSharding(mesh, PartitionSpec())


def split(mesh: Mesh) -> NamedSharding:
    """Sharding of what is split over the devices along its first axis: batches."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def shard_batch(batch, mesh: Mesh):
    """Put a batch of NumPy arrays on the devices.

    Args:
        batch: this process's examples, arrays [B, ...]; B is a multiple of the process's devices.
        mesh: from `make_mesh`.

    Returns:
        Global arrays, split along the first axis.

    Raises:
        ConfigError: B cannot be split evenly.
    """
    B, num_devices = len(next(iter(batch.values()))), mesh.local_mesh.size
    if B % num_devices:
        raise ConfigError(
            f"{B} examples cannot be split over {num_devices} devices: choose a multiple as batch "
            "size"
        )
    put = functools.partial(jax.make_array_from_process_local_data, split(mesh))
    return jax.tree.map(put, dict(batch))


def init_state(create: Callable, key: jax.Array, mesh: Mesh):
    """Create the state where it will live, without a copy on the host or on one device first."""
    return jax.jit(create, out_shardings=replicated(mesh))(key)


def abstract_state(create: Callable, key: jax.Array, mesh: Mesh):
    """Shapes, types and places of the state that `init_state` would create.

    The target of a restore.
    """
    place = replicated(mesh)
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
        jax.eval_shape(create, key),
    )


def compile_step(step: Callable, mesh: Mesh, mode: str = "jit") -> Callable:
    """Compile a train step for the mesh.

    Args:
        step: from `make_train_step`; for "pmap", with `axis_name=AXIS`.
        mesh: from `make_mesh`.
        mode: "jit" or "pmap" (see the top of this file).

    Returns:
        The step over global arrays. Under "jit" it takes over the memory of the state it is given.
    """
    if mode not in MODES:
        raise ConfigError(f"unknown parallel mode {mode!r}: choose one of {', '.join(MODES)}")
    whole, parts = replicated(mesh), split(mesh)
    if mode == "jit":
        return jax.jit(
            step, in_shardings=(whole, parts, whole), out_shardings=(whole, whole), donate_argnums=0
        )
    if jax.process_count() > 1:
        raise ConfigError("pmap runs on one host: choose jit")
    mapped = jax.pmap(
        step, AXIS, in_axes=(None, 0, None), out_axes=None, devices=list(mesh.devices.flat)
    )

    def per_device(x):
        return x.reshape(mesh.size, -1, *x.shape[1:])

    return lambda state, batch, key: mapped(state, jax.tree.map(per_device, batch), key)


@functools.lru_cache(maxsize=8)  # jit alone would compile again for each access to the bound method
def compile_evaluate(evaluate: Callable, mesh: Mesh) -> Callable:
    """Compile `task.evaluate` for the mesh; each batch shape is compiled once."""
    whole = replicated(mesh)
    return jax.jit(evaluate, in_shardings=(whole, split(mesh)), out_shardings=whole)


class DeviceFeed:
    """Batches on the devices ahead of the step that needs them, and the loader's position as of the
    latest one used.

    The loader itself stands a few batches further on; saving its own position would skip them after
    a resume.

    Args:
        loader: endless Grain iterator of batches.
        mesh: from `make_mesh`.
        ahead: batches kept ready.
    """

    def __init__(self, loader: Any, mesh: Mesh, ahead: int = 2):
        self._loader, self._mesh, self._ahead = loader, mesh, ahead
        self._queue: collections.deque = collections.deque()
        self.position = loader.get_state()

    def __next__(self):
        while len(self._queue) < self._ahead:
            batch = next(self._loader, None)
            if batch is None:
                raise TrainingError(
                    "the training data ended before the last step: make the loader with epochs=None"
                )
            self._queue.append((shard_batch(batch, self._mesh), self._loader.get_state()))
        batch, self.position = self._queue.popleft()
        return batch

    def seek(self, position):
        """Go on after the batch at which `position` was read."""
        self._queue.clear()
        self._loader.set_state(position)
        self.position = position
