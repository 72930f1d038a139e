"""A corpus that lies on the devices, from which a compiled step draws its batches.

What a step draws follows from the seed and the number of the step alone, so that the position in
the data is that number, and nothing is read, copied or waited for between two steps.

N clips, F frames or samples of all clips together, B clips in a batch, T frames or samples of a
crop, S speakers, M batches in an epoch.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from lin_jax.errors import ConfigError
from lin_jax.tasks.base import Batch

ROUNDS = 32  # of the shuffle


@struct.dataclass
class Ragged:
    """Arrays of different lengths, one after the other.

    Attributes:
        values: [F + longest, …], filled up so that every slice lies within.
        starts: of each clip in `values` [N] int32.
        lengths: of each clip [N] int32.
        scale: what the values of each clip are multiplied by [N] float32, or None.
        longest: the largest of the lengths.
    """

    values: Any
    starts: Any
    lengths: Any
    scale: Any
    longest: int = struct.field(pytree_node=False)

    @classmethod
    def allocate(cls, lengths: np.ndarray, shape: Sequence[int], dtype: Any) -> "Ragged":
        """Room on the host for arrays [length, *shape], to be filled through `view`.

        Raises:
            ConfigError: more values than a device can number.
        """
        lengths = np.asarray(lengths, np.int32)
        ends, longest = np.cumsum(lengths, dtype=np.int64), int(lengths.max())
        total = int(ends[-1]) + longest
        if total > np.iinfo(np.int32).max:
            raise ConfigError(
                f"{total} frames or samples are too many for a device: stream them, with "
                "loader.resident=never"
            )
        starts = (ends - lengths).astype(np.int32)
        return cls(np.zeros((total, *shape), dtype), starts, lengths, None, longest)

    def view(self, row: int) -> np.ndarray:
        """One clip [length, …] in the values on the host."""
        return self.values[self.starts[row] : self.starts[row] + self.lengths[row]]

    def take(self, rows: jax.Array, size: int, start: Any = 0) -> tuple[jax.Array, jax.Array]:
        """Slices of some clips, cut or padded with zeros to one length.

        Args:
            rows: which clips [B] int.
            size: T.
            start: of each slice within its clip [B] int.

        Returns:
            Slices [B, T, …], of whole numbers or else of float32, and how much of each is not
            padding [B] int32.
        """
        width = min(size, self.longest)
        cut = functools.partial(jax.lax.dynamic_slice_in_dim, self.values, slice_size=width)
        slices = jax.vmap(cut)(self.starts[rows] + start)  # [B, width, …]
        over = [1] * (slices.ndim - 2)
        if self.scale is not None:
            slices = slices.astype(jnp.float32) * self.scale[rows].reshape(-1, 1, *over)
        elif jnp.issubdtype(slices.dtype, jnp.floating):
            slices = slices.astype(jnp.float32)
        valid = jnp.minimum(self.lengths[rows] - start, size)
        inside = jnp.arange(width) < valid[:, None]
        slices = jnp.where(inside.reshape(*inside.shape, *over), slices, 0)
        return jnp.pad(slices, [(0, 0), (0, size - width)] + [(0, 0)] * len(over)), valid


class Sampler(Protocol):
    """Which clips a step trains on.

    Attributes:
        batch_size: B.
    """

    batch_size: int

    def layout(self, step: int) -> int:
        """T, the length that the clips of a step are cut or padded to; asked on the host."""

    def draw(self, step: jax.Array, layout: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The clips of a step [B] int, how much each counts [B] float32, and random bits [B] uint32.

        The bits place the crop.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class Resident:
    """Training batches that a step draws from arrays on the devices.

    Attributes:
        clips: arrays of different lengths by the name that they have in a batch; of the first one
            random crops are taken where it is longer than T, the others are padded to the longest
            clip.
        lengths: of each of them, the name of its lengths in a batch.
        columns: arrays [N, …] by name, one entry a clip.
        sampler: which clips a step trains on.
    """

    clips: Mapping[str, Ragged]
    lengths: Mapping[str, str]
    columns: Mapping[str, Any]
    sampler: Sampler

    @property
    def arrays(self) -> Any:
        """All arrays, as `batch` takes them once they are on the devices."""
        return dict(self.clips), dict(self.columns)

    @property
    def nbytes(self) -> int:
        """Bytes on each device."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self.arrays))

    def batch(self, arrays: Any, step: jax.Array, layout: int) -> Batch:
        """The batch of a step; pure, to be traced.

        Args:
            arrays: `self.arrays` on the devices.
            step: updates made before it [] int.
            layout: what the sampler says of that step.

        Returns:
            The columns and slices of the clips drawn, and "weight" [B] float32.
        """
        clips, columns = arrays
        rows, weight, number = self.sampler.draw(step, layout)
        batch = {name: column[rows] for name, column in columns.items()} | {"weight": weight}
        for i, (name, ragged) in enumerate(clips.items()):
            size, start = (ragged.longest, 0) if i else (layout, 0)
            if not i:
                room = jnp.maximum(ragged.lengths[rows] - size, 0) + 1
                start = (number % room.astype(jnp.uint32)).astype(jnp.int32)
            batch[name], batch[self.lengths[name]] = ragged.take(rows, size, start)
        return batch


@struct.dataclass
class Draws:
    """The steps of one call, to be drawn from a corpus on the devices.

    Attributes:
        arrays: of `source`, on the devices.
        source: the corpus.
        layout: of all these steps.
        steps: how many there are.
    """

    arrays: Any
    source: Resident = struct.field(pytree_node=False)
    layout: int = struct.field(pytree_node=False)
    steps: int = struct.field(pytree_node=False)


@dataclasses.dataclass(frozen=True)
class AllAlike:
    """Every clip equally often: shuffled anew each epoch, epochs joined without a gap.

    Attributes:
        num_clips: N.
        batch_size: B.
        size: T.
        seed: of the order and the crops.
    """

    num_clips: int
    batch_size: int
    size: int
    seed: int

    def layout(self, step):
        """See `Sampler`."""
        return self.size

    def draw(self, step, layout):
        """See `Sampler`."""
        position = _positions(step, self.batch_size)
        epoch, place = position // self.num_clips, position % self.num_clips
        rows = shuffle(place, self.num_clips, fold(self.seed, epoch))
        return rows, jnp.ones(self.batch_size), fold(self.seed, position, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class BySpeaker:
    """K clips of each of B / K speakers, who come equally often however many clips they have.

    An epoch has every speaker once, up to what does not fill a batch; who has fewer than K clips
    gives several crops of one.

    Attributes:
        members: clips of every speaker [S][…].
        batch_size: B.
        clips_per_speaker: K.
        size: T.
        seed: of the order and the crops.
    """

    members: Sequence[np.ndarray]
    batch_size: int
    clips_per_speaker: int
    size: int
    seed: int

    def layout(self, step):
        """See `Sampler`."""
        return self.size

    def draw(self, step, layout):
        """See `Sampler`."""
        K, S = self.clips_per_speaker, len(self.members)
        counts = np.array([len(clips) for clips in self.members], np.int32)
        starts = jnp.asarray(np.cumsum(counts) - counts)
        position = _positions(step, self.batch_size)
        P = self.batch_size // K
        slot, per_epoch = position // K, S // P * P
        epoch, place = slot // per_epoch, slot % per_epoch
        speaker = shuffle(place, S, fold(self.seed, epoch))
        count = jnp.asarray(counts)[speaker]
        nth = (position % K).astype(jnp.int32) % count
        clip = shuffle(nth, count, fold(self.seed, epoch, speaker))
        rows = jnp.asarray(np.concatenate(self.members))[starts[speaker] + clip]
        return rows, jnp.ones(self.batch_size), fold(self.seed, position, 1)


@dataclasses.dataclass(frozen=True, eq=False)
class ByLength:
    """Whole clips of nearly equal length, so that little of a batch is padding.

    In each epoch clips are dealt anew to the batches of their length, and the batches shuffled; the
    last batch of a length is filled up with repeated clips of weight 0.

    Attributes:
        lengths: of the clips [N] int.
        sizes: the lengths they are padded to, sorted.
        batch_size: B.
        seed: of the order.
    """

    lengths: np.ndarray
    sizes: np.ndarray
    batch_size: int
    seed: int

    @functools.cached_property
    def _members(self) -> dict[int, np.ndarray]:
        bucket = np.searchsorted(self.sizes, self.lengths)
        members = {int(size): np.flatnonzero(bucket == b) for b, size in enumerate(self.sizes)}
        return {size: clips for size, clips in members.items() if len(clips)}

    @functools.cached_property
    def _batches(self) -> list[tuple[int, int]]:
        """Length and number among those of its length of every batch of an epoch [M]."""
        return [
            (size, number)
            for size, clips in self._members.items()
            for number in range(-(-len(clips) // self.batch_size))
        ]

    @functools.cached_property
    def _order(self):
        M = len(self._batches)
        order = jax.jit(lambda epoch: shuffle(jnp.arange(M), M, fold(self.seed, epoch)))
        return functools.lru_cache(maxsize=2)(lambda epoch: np.asarray(order(epoch)))

    def layout(self, step):
        """See `Sampler`."""
        epoch, place = divmod(step, len(self._batches))
        return self._batches[self._order(epoch)[place]][0]

    def draw(self, step, layout):
        """See `Sampler`."""
        M, members = len(self._batches), self._members[layout]
        epoch, place = step.astype(jnp.uint32) // M, step.astype(jnp.uint32) % M
        chosen = shuffle(place, M, fold(self.seed, epoch))
        number = jnp.array([number for _, number in self._batches])[chosen]
        position = number * self.batch_size + jnp.arange(self.batch_size)
        place = position % len(members)
        rows = jnp.asarray(members)[shuffle(place, len(members), fold(self.seed, epoch, layout))]
        weight = (position < len(members)).astype(jnp.float32)
        return rows, weight, jnp.zeros(self.batch_size, jnp.uint32)


def shuffle(place: Any, size: Any, seed: Any) -> jax.Array:
    """What stands at a place of a random order of 0 … size − 1, without the rest of the order.

    A swap-or-not shuffle (Hoang, Morris & Rogaway, 2012): every round pairs what it shuffles at
    random and swaps each pair or does not; all of it is one fused kernel over the places asked for.

    Args:
        place: in the order, int below `size`; any shape.
        size: of the order, below 2³¹; broadcast against `place`.
        seed: uint32 that gives the order, as from `fold`; broadcast likewise.

    Returns:
        int32, of the broadcast shape.
    """
    place, size, seed = (jnp.asarray(value).astype(jnp.uint32) for value in (place, size, seed))
    x, size, seed = jnp.broadcast_arrays(place, size, seed)

    def swap_or_not(number, x):
        key = _mix(seed + number.astype(jnp.uint32) * jnp.uint32(0x9E3779B9))
        partner = (key % size + size - x) % size
        return jnp.where(_mix(key ^ jnp.maximum(x, partner)) >> 31 == 1, partner, x)

    return jax.lax.fori_loop(0, ROUNDS, swap_or_not, x, unroll=8).astype(jnp.int32)


def fold(seed: Any, *numbers: Any) -> jax.Array:
    """Random bits uint32 that follow from a seed and numbers, all broadcast."""
    bits = _mix(jnp.asarray(seed).astype(jnp.uint32))
    for number in numbers:
        bits = _mix(bits + jnp.asarray(number).astype(jnp.uint32))
    return bits


def _mix(bits):
    """Random bits from others, one to one: the constants are Wellons's (hash prospector, 2018)."""
    bits = bits + jnp.uint32(0x9E3779B9)
    bits = (bits ^ (bits >> 16)) * jnp.uint32(0x7FEB352D)
    bits = (bits ^ (bits >> 15)) * jnp.uint32(0x846CA68B)
    return bits ^ (bits >> 16)


def _positions(step, batch_size):
    """Of the clips of a step among all that are drawn [B] uint32."""
    return step.astype(jnp.uint32) * batch_size + jnp.arange(batch_size, dtype=jnp.uint32)
