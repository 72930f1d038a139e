"""Where training runs: the only file that knows about devices.

Training is data-parallel: every device has its share of each batch, and holds the state whole, or
under "fsdp" its share of each array (fully sharded data parallel; Rajbhandari et al., "ZeRO: memory
optimizations toward training trillion parameter models", SC 2020). Under "jit" the batch is one
global array split over a mesh and the compiler adds the sums across devices, so any number of
devices and hosts computes what one device would, BatchNorm statistics included. "pmap" maps the
step over the devices and averages gradients by name; it gives the same parameters where nothing in
the step is random and the network's BatchNorm has `axis_name=AXIS`. `initialise` joins several
processes, on one host or on many.
"""

import collections
import functools
import math
import os
import pathlib
import socket
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from lin_jax.errors import ConfigError, TrainingError
from lin_jax.training.resident import Draws, Resident
from lin_jax.training.step import repeat_steps

AXIS = "data"
RESIDENT = {"resident": True}  # position in the data where the number of the step says it all
MODES = ("jit", "pmap")
SHARDS = ("data", "fsdp")


def initialise(
    coordinator: str = "",
    num_processes: int = 0,
    process_id: int = -1,
    *,
    idle_gpus: bool = False,
) -> str:
    """Join the processes of a training; to be called once, before JAX is asked for anything.

    What is not given comes from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or
    else from SLURM (`srun`), Open MPI (`mpirun`) or a TPU pod; without any of these the process is
    alone.

    Args:
        coordinator: address and port of the first process.
        num_processes: how many there are.
        process_id: which of them this one is, from 0.
        idle_gpus: whether GPUs that are visible may stand idle.

    Returns:
        What runs where, such as "2 processes × 4 devices (NVIDIA H100)".

    Raises:
        ConfigError: some of the three are missing, the other processes cannot be reached, or GPUs
            would stand idle.
    """
    coordinator = coordinator or os.environ.get("JAX_COORDINATOR_ADDRESS", "")
    num_processes = num_processes or int(os.environ.get("JAX_NUM_PROCESSES", 0))
    process_id = process_id if process_id >= 0 else int(os.environ.get("JAX_PROCESS_ID", -1))
    given = (bool(coordinator), num_processes > 0, process_id >= 0)
    if any(given) and not all(given):
        raise ConfigError(
            "several processes need a coordinator (ADDRESS:PORT), num_processes and process_id: "
            "give all three"
        )
    try:
        if all(given):
            jax.distributed.initialize(coordinator, num_processes, process_id)
        elif _in_cluster(os.environ):
            jax.distributed.initialize()
    except (RuntimeError, ValueError) as error:
        line = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"the processes did not find each other ({line}): check the coordinator's address and "
            "that all of them were started"
        ) from error
    if not idle_gpus and jax.default_backend() == "gpu":
        _refuse_idle(jax.local_device_count() * _processes_on_this_host(), _visible_gpus())
    return (
        f"{_counted(jax.process_count(), 'process')} × "
        f"{_counted(jax.local_device_count(), 'device')} ({jax.local_devices()[0].device_kind})"
    )


def simulate_devices(count: int):
    """Let the CPU stand for several devices, unless `count` is 0.

    To be called before JAX is asked for anything.
    """
    if count:
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", count)


def _in_cluster(environ):
    """Whether the environment is one of several processes that JAX can find."""
    sizes = (environ.get(name, "1") for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))
    return any(int(size) > 1 for size in sizes) or "," in environ.get("TPU_WORKER_HOSTNAMES", "")


def _processes_on_this_host():
    from jax.experimental import multihost_utils

    host = np.uint32(zlib.crc32(socket.gethostname().encode()))
    return int(np.sum(multihost_utils.process_allgather(host) == host))


def _visible_gpus():
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return len([name for name in listed.split(",") if name.strip()])
    return len(list(pathlib.Path("/dev").glob("nvidia[0-9]*")))


def _refuse_idle(used, visible):
    if used < visible:
        raise ConfigError(
            f"{used} of {visible} visible GPUs would train: start a process for each, hide the "
            "others with CUDA_VISIBLE_DEVICES, or allow idle GPUs"
        )


def _counted(number, noun):
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural if number != 1 else ''}"


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
        batch: this process's examples, arrays [B, …]; B is a multiple of the process's devices.
        mesh: from `make_mesh`.

    Returns:
        Global arrays, split along the first axis.

    Raises:
        ConfigError: B cannot be split evenly.
    """
    return _put(batch, mesh, PartitionSpec(AXIS))


def shard_batches(batches: Sequence[Mapping], mesh: Mesh):
    """Put stacked batches [steps, B, …] on the devices, split along B; see `shard_batch`."""
    stacked = {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}
    return _put(stacked, mesh, PartitionSpec(None, AXIS))


def _put(arrays, mesh, spec):
    examples = next(iter(arrays.values())).shape[list(spec).index(AXIS)]
    _check_split(examples, mesh.local_mesh.size)
    put = functools.partial(jax.make_array_from_process_local_data, NamedSharding(mesh, spec))
    return jax.tree.map(put, dict(arrays))


def state_sharding(state: Any, mesh: Mesh, shard: str = "data"):
    """Where each array of a state lives.

    Args:
        state: pytree of arrays, or of their shapes.
        mesh: from `make_mesh`.
        shard: "data" lays every array whole on each device; "fsdp" splits it over them along its
            longest axis that can be split evenly, if any.

    Returns:
        A pytree of `NamedSharding` like the state.

    Raises:
        ConfigError: another `shard`.
    """
    if shard not in SHARDS:
        raise ConfigError(f"unknown shard {shard!r}: choose one of {', '.join(SHARDS)}")

    def place(leaf):
        axes = [axis for axis, size in enumerate(leaf.shape) if size % mesh.size == 0]
        if shard == "data" or not axes:
            return replicated(mesh)
        longest = max(axes, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, AXIS))

    return jax.tree.map(place, state)


def init_state(create: Callable, key: jax.Array, mesh: Mesh, shard: str = "data"):
    """Create the state where it will live, without a copy on the host or on one device first."""
    places = state_sharding(jax.eval_shape(create, key), mesh, shard)
    return jax.jit(create, out_shardings=places)(key)


def replicate(value, mesh: Mesh):
    """A pytree that every process has alike, laid on every device."""
    return _compile_replicate(mesh)(value)


@functools.lru_cache(maxsize=8)
def _compile_replicate(mesh: Mesh) -> Callable:
    return jax.jit(lambda value: value, out_shardings=replicated(mesh))


def abstract_state(create: Callable, key: jax.Array, mesh: Mesh, shard: str = "data"):
    """Shapes, types and places of the state that `init_state` would create.

    The target of a restore.
    """
    shapes = jax.eval_shape(create, key)
    return jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
        shapes,
        state_sharding(shapes, mesh, shard),
    )


def compile_steps(step: Callable, mesh: Mesh, mode: str = "jit", places: Any = None) -> Any:
    """Compile several updates as one launch.

    Args:
        step: from `make_train_step`, with `axis_name=AXIS` for pmap.
        mesh: from `make_mesh`.
        mode: "jit" or "pmap".
        places: of the state, from `state_sharding`; None is whole on each device.

    Returns:
        (state, batches, key) → (state, sums) as `repeat_steps` has them, with batches from a feed;
        each shape is compiled once. The state given to it is used up.

    Raises:
        ConfigError: an unknown mode, or pmap of a state that is split.
    """
    if mode not in MODES:
        raise ConfigError(f"unknown parallel mode {mode!r}: choose one of {', '.join(MODES)}")
    whole, parts = replicated(mesh), split(mesh)
    if mode == "pmap":
        if any(place != whole for place in jax.tree.leaves(places)):
            raise ConfigError("pmap holds the state whole on each device: fsdp needs parallel=jit")
        specs = (PartitionSpec(), PartitionSpec(AXIS), PartitionSpec())
        step = jax.shard_map(
            step, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(), check_vma=False
        )
    places = whole if places is None else places

    def split_step(state, batch, key):
        return step(state, jax.lax.with_sharding_constraint(batch, parts), key)

    return jax.jit(
        repeat_steps(split_step),
        in_shardings=(places, None, whole),
        out_shardings=(places, whole),
        donate_argnums=0,
    )


@functools.lru_cache(maxsize=8)  # jit alone would compile again for each access to the bound method
def compile_evaluate(evaluate: Callable, mesh: Mesh) -> Callable:
    """Compile `task.evaluate` for the mesh; each batch shape is compiled once."""
    places = None, split(mesh)  # variables are taken as they lie
    return jax.jit(evaluate, in_shardings=places, out_shardings=replicated(mesh))


class DeviceFeed:
    """Batches that lie on the devices before they are needed, and the loader's position.

    The position is that of the latest batch used.

    The loader itself stands a few batches further on; saving its own position would skip them after
    a resume.

    Args:
        loader: endless Grain iterator of batches.
        mesh: from `make_mesh`.
        num_steps: batches to give in all; None is no end.
        steps_per_call: batches to give at once.
        ahead: calls whose batches are kept ready.
    """

    def __init__(
        self,
        loader: Any,
        mesh: Mesh,
        num_steps: int | None = None,
        steps_per_call: int = 1,
        ahead: int = 2,
    ):
        self._loader, self._mesh, self._ahead = loader, mesh, ahead
        self._num_steps, self._steps_per_call = num_steps, steps_per_call
        self.seek(loader.get_state())

    def seek(self, position, step: int = 0):
        """Go on after the batch at which `position` was read, that of the `step`-th step.

        Raises:
            ConfigError: the position is in a resident corpus.
        """
        if position == RESIDENT:
            raise ConfigError(
                "the run drew from a resident corpus until now: go on with loader.resident=always"
            )
        self._loader.set_state(position)
        self.position = position
        self._left = math.inf if self._num_steps is None else self._num_steps - step
        self._read: list = []  # batches with the position after each, not yet on the devices
        self._ready: collections.deque = collections.deque()

    def take(self) -> tuple[int, Any]:
        """The next batches, [steps, B, …]: as many as a call makes, or one where shapes differ.

        Returns:
            How many, and the batches on the devices.

        Raises:
            TrainingError: the data ended.
            ConfigError: a batch cannot be split over the devices.
        """
        while len(self._ready) < self._ahead and self._left:
            self._prepare()
        count, batches, self.position = self._ready.popleft()
        return count, batches

    def _prepare(self):
        count = int(min(self._steps_per_call, self._left))
        while len(self._read) < count:
            batch = next(self._loader, None)
            if batch is None:
                raise TrainingError(
                    "the training data ended before the last step: make the loader with epochs=None"
                )
            self._read.append((batch, self._loader.get_state()))
        shapes = [jax.tree.map(np.shape, batch) for batch, _ in self._read[:count]]
        count = count if all(shape == shapes[0] for shape in shapes) else 1
        taken, self._read = self._read[:count], self._read[count:]
        batches = shard_batches([batch for batch, _ in taken], self._mesh)
        self._ready.append((count, batches, taken[-1][1]))
        self._left -= count


class ResidentFeed:
    """A corpus on the devices, whole on each, and the steps that are to draw from it.

    Args:
        source: the corpus on the host.
        mesh: from `make_mesh`.
        num_steps: steps to give in all.
        steps_per_call: steps to give at once.

    Raises:
        ConfigError: a batch cannot be split over the devices.
    """

    position: ClassVar = RESIDENT

    def __init__(self, source: Resident, mesh: Mesh, num_steps: int, steps_per_call: int = 1):
        _check_split(source.sampler.batch_size, mesh.size)
        self._source, self._num_steps, self._steps_per_call = source, num_steps, steps_per_call
        put = functools.partial(jax.make_array_from_process_local_data, replicated(mesh))
        self._arrays, self._step = jax.tree.map(put, source.arrays), 0

    def seek(self, position, step: int):
        """Go on after `step` steps.

        Raises:
            ConfigError: the position is in a stream.
        """
        if position != RESIDENT:
            raise ConfigError(
                "the run read a stream of clips until now: go on with loader.resident=never"
            )
        self._step = step

    def take(self) -> tuple[int, Draws]:
        """The next steps: as many as a call makes, or one where their layouts differ."""
        layout = self._source.sampler.layout
        steps = range(self._step, min(self._step + self._steps_per_call, self._num_steps))
        alike = len({layout(step) for step in steps}) == 1
        draws = Draws(self._arrays, self._source, layout(self._step), len(steps) if alike else 1)
        self._step += draws.steps
        return draws.steps, draws


def make_feed(loader: Any, mesh: Mesh, num_steps: int, steps_per_call: int):
    """A `ResidentFeed` or a `DeviceFeed`, as the loader is."""
    kind = ResidentFeed if isinstance(loader, Resident) else DeviceFeed
    return kind(loader, mesh, num_steps, steps_per_call)


def _check_split(batch_size, num_devices):
    if batch_size % num_devices:
        raise ConfigError(
            f"{batch_size} examples cannot be split over {num_devices} devices: choose a multiple "
            "as batch size"
        )
