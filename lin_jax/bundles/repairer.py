"""A trained repair network in use: recordings of any rate, length and number of channels come back restored.

The network is given a recording at its own rate, in windows, each channel for itself. What it changes
is brought to the recording's rate and added there, so that what it leaves alone comes back as it
was. Above the network's band, the recording is turned down by as much as the network turned down
the top of its band, and otherwise left alone.

Shape letters: B windows, W samples of a window, N samples, C channels, n samples of a block.
"""

import contextlib
import dataclasses
import functools
import itertools
import numbers
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from lin_jax.audio import files
from lin_jax.audio.chunking import Crossfader, Overlap, Queue, zero_padded
from lin_jax.audio.diagnosis import Diagnosis, Meter
from lin_jax.bundles.base import BATCHES, WAVEFORM, Bundle, Function, on_device, padded
from lin_jax.errors import AudioError, ConfigError

# A recording is repaired whole if it is no longer than the last of these lengths in seconds, padded
# to one of them, and in windows of the last one if it is longer. They are few, as compiling takes
# longer than repairing some minutes.
LENGTHS = (2.0, 4.0, 8.0, 16.0)
BATCH_SECONDS = 32.0  # that go through the network at once, at most
BLOCK_SECONDS = 1.0  # in which recordings are read
FADE_SECONDS = 0.02  # from one window to the next
GRID_SECONDS = 0.16  # a multiple of every usual hop
TOP_HZ = 5000.0  # what lies above, in the network's band, says how the band above it is treated
FRAME_SECONDS = 0.01


@dataclasses.dataclass(frozen=True)
class RepairResult:
    """A recording that was repaired and written.

    Attributes:
        source: path of what was damaged.
        out: path of what was written.
        seconds: length of both.
        format: container and encoding that were written, such as "WAV PCM_16".
        lossy: whether that encoding loses something, as MP3 does.
        before: what was wrong with it.
        after: the same of what was written.
        cut: share of the samples that went beyond full scale and were cut, as integers must be.
    """

    source: str
    out: str
    seconds: float
    format: str
    lossy: bool
    before: Diagnosis
    after: Diagnosis
    cut: float


@dataclasses.dataclass(frozen=True)
class AdaptiveMix:
    """How much of a change is made: all of a large one, less of a slight one; see `audio.adaptive_mix`."""

    slight_db: float
    large_db: float
    min_gain: float


@dataclasses.dataclass(eq=False, repr=False)
class Repairer(Bundle):
    """A trained repair network with all it takes to use it.

    The network maps waveforms [B, W], of which `length` [B] samples are valid, to waveforms [B, W];
    its `context_seconds` is how far from a sample of its output its input still matters. Recordings
    are brought to the front end's level, if that has one, for the network alone: they come back as
    loud as they were.

    Attributes:
        adaptive_mix: how much of its changes is made; None makes all of every change.
    """

    adaptive_mix: AdaptiveMix | None = None

    task: ClassVar[str] = "repair"
    concurrent: ClassVar[bool] = True

    def settings(self) -> dict:
        """See `Bundle`."""
        return {"adaptive_mix": self.adaptive_mix and dataclasses.asdict(self.adaptive_mix)}

    @classmethod
    def from_settings(cls, settings: dict, **common) -> "Repairer":
        """See `Bundle`."""
        return cls(
            **common,
            adaptive_mix=settings["adaptive_mix"] and AdaptiveMix(**settings["adaptive_mix"]),
        )

    def functions(self) -> dict[str, Function]:
        """See `Bundle`."""

        def repair(waveform, length):
            repaired, _ = self._forward(self._variables, waveform, length)
            return {"repaired": repaired}

        teach = (
            "waveforms, not trimmed but without offset, each channel for itself, to `repaired` "
            "[b, n]. Scale back what comes out by what was scaled before."
        )
        return {"repair": Function(repair, WAVEFORM, teach)}

    def repair(self, samples, sample_rate: int, strength: float = 1.0) -> np.ndarray:
        """Repair a waveform.

        Args:
            samples: [N] or [N, C], floats in ±1 (or louder) or 16- or 32-bit integers; silence
                comes back as it is.
            sample_rate: in Hz.
            strength: how much of the repair is mixed in, 0 to 1.

        Returns:
            float32 of the same shape, rate and level.

        Raises:
            AudioError: it is not audio or holds NaN.
        """
        samples = np.asarray(samples)
        job = _ArrayJob(self, samples, self.rate(samples, sample_rate), checked(strength))
        for _ in self._run([job] if samples.size else []):
            if job.error:
                raise job.error
        return job.out.reshape(samples.shape)

    def repair_file(self, source, out, strength: float = 1.0) -> RepairResult:
        """Repair an audio file of any length in constant memory.

        Args:
            source: path of an audio file.
            out: path to write to, whole or not at all; it may be the same. Its suffix names the
                container, in which the encoding stays what it was if it can (see `files.encoding`).
            strength: how much of the repair is mixed in, 0 to 1.

        Returns:
            A `RepairResult`.

        Raises:
            AudioError: the one cannot be read or the other not be written.
        """
        (done,) = self.repair_files([(source, out)], strength)
        if isinstance(done, AudioError):
            raise done
        return done

    def repair_files(
        self,
        pairs: Iterable[tuple],
        strength: float = 1.0,
        progress: Callable[[float], None] = lambda seconds: None,
    ) -> Iterator[RepairResult | AudioError]:
        """Repair many files; windows of several of them go through the network together.

        Args:
            pairs: paths to read and to write, as for `repair_file`.
            strength: how much of the repair is mixed in, 0 to 1.
            progress: called with every few seconds of sound that are written.

        Yields:
            For each pair, as soon as it is finished, its `RepairResult`, or the AudioError that
            says why nothing was.
        """
        strength = checked(strength)
        jobs = (_FileJob(self, source, out, strength, progress) for source, out in pairs)
        for job in self._run(jobs):
            yield job.error or job.repaired()

    def scale(self, before: Diagnosis) -> float:
        """What the network's input is multiplied by: to the front end's level, or at least within ±1."""
        frontend = self.frontend
        if frontend.level == "none":
            return min(1.0, 1.0 / before.peak)
        level = before.rms if frontend.level == "rms" else before.peak
        return 10 ** (frontend.level_db / 20) / level

    def _run(self, jobs: "Iterable[_Job]") -> "Iterator[_Job]":
        """Repair recordings, and yield each as soon as it has ended, well or not."""
        active, computing = [], None
        try:
            for group in itertools.chain(self._groups(jobs, active), [None]):
                # JAX returns at once, so that the next group is read while the network is busy with
                # this one.
                started = group and (group, self._start(*group))
                if computing:
                    (_, members), results = computing
                    for (job, window), *result in zip(
                        members, *map(np.asarray, results), strict=False
                    ):
                        job.accept(window, *result)
                computing = started
                for job in [job for job in active if job.ended]:
                    active.remove(job)
                    yield job
        finally:
            for job in active:
                job.fail(AudioError("stopped"))

    def _groups(self, jobs, active) -> "Iterator[tuple[int, list[tuple[_Job, np.ndarray]]]]":
        """As many windows as go through the network at once, and the size that all are padded to."""
        waiting = {size: [] for size in self.sizes}
        for job in jobs:
            active.append(job)
            for window in job.windows():
                size = next(size for size in self.sizes if size >= len(window))
                waiting[size].append((job, window))
                if len(waiting[size]) == self._most(size):
                    yield size, waiting[size]
                    waiting[size] = []
        rest = []
        for size in self.sizes:
            rest += waiting.pop(size)
            # Where nothing is compiled for it yet, a few windows go with longer ones if there are
            # some.
            if any(known == size for known, _ in self._compiled) or not any(waiting.values()):
                for start in range(0, len(rest), self._most(size)):
                    yield size, rest[start : start + self._most(size)]
                rest = []

    def _start(self, size, members):
        compiled = [B for known, B in self._compiled if known == size and len(members) <= B]
        waveform, length = padded([window for _, window in members], size, min(compiled, default=0))
        self._compiled.add((size, len(waveform)))
        with self.weights_fit():
            return self._forward(self._variables, waveform, length)

    def _most(self, size) -> int:
        """How many windows of a size go through the network at once."""
        return max(
            B for B in BATCHES if B == 1 or B * size <= BATCH_SECONDS * self.frontend.sample_rate
        )

    @functools.cached_property
    def _compiled(self) -> set[tuple[int, int]]:
        """Sizes and numbers of windows for which the network was compiled."""
        return set()

    @property
    def context(self) -> int:
        """Samples at the network's rate that the end of a window spoils."""
        from lin_jax.audio import adaptive_mix

        seconds = self.model.context_seconds + (adaptive_mix.SECONDS if self.adaptive_mix else 0.0)
        return round(seconds * self.frontend.sample_rate)

    @property
    def sizes(self) -> list[int]:
        """Lengths W of the windows, at the network's rate."""
        rate = self.frontend.sample_rate
        return [round(seconds * rate) for seconds in LENGTHS[:-1]] + [
            max(round(LENGTHS[-1] * rate), 4 * self.context)
        ]

    @functools.cached_property
    def _variables(self) -> Any:
        return on_device(self.variables)

    @functools.cached_property
    def _forward(self):
        import jax

        from lin_jax.audio.adaptive_mix import adaptive_mix

        @jax.jit
        def forward(variables, waveform, length):  # [B, W], [B] -> [B, W], [B, W]
            repaired = self.model.apply(variables, waveform, length, train=False)
            if self.adaptive_mix:
                settings, change = dataclasses.asdict(self.adaptive_mix), repaired - waveform
                repaired = waveform + adaptive_mix(
                    waveform, change, length, self.frontend.sample_rate, **settings
                )
            return repaired, _top_gain(waveform, repaired, self.frontend.sample_rate)

        return forward


def _top_gain(before, after, sample_rate):
    """By how much the network turned down the top of its band, 0 to 1: waveforms [B, W] to [B, W]."""
    import jax.numpy as jnp

    from lin_jax.audio.frontend import stft

    hop = round(FRAME_SECONDS * sample_rate)
    lowest = round(TOP_HZ / sample_rate * 2 * hop)

    def power(x):  # of each frame and what is around it [B, T]
        spectrum = stft(x, 2 * hop, hop, 2 * hop)[..., lowest:]
        frames = jnp.pad(
            (spectrum.real**2 + spectrum.imag**2).sum(axis=-1), ((0, 0), (2, 2)), mode="edge"
        )
        T = frames.shape[1] - 4
        return sum(weight * frames[:, i : i + T] for i, weight in enumerate((1, 2, 3, 2, 1)))

    was, is_now = power(before), power(after)
    gain = jnp.sqrt(jnp.where(was > 1e-12, jnp.minimum(is_now / jnp.maximum(was, 1e-12), 1.0), 1.0))
    return _interpolated(gain, hop)[:, : before.shape[1]]


def _interpolated(x, hop):
    """Values [B, T] of every `hop` samples, at each sample [B, T * hop]."""
    import jax.numpy as jnp

    x = jnp.pad(x, ((0, 0), (0, 1)), mode="edge")
    rising = np.arange(hop, dtype=np.float32) / hop
    return (x[:, :-1, None] + (x[:, 1:] - x[:, :-1])[..., None] * rising).reshape(x.shape[0], -1)


class _Job:
    """A recording on its way: it is read in windows, which come back repaired, and is written.

    Attributes:
        ended: whether nothing more is to be done.
        error: why it ended, if not well.
        before: what was wrong with it; `after` meters what becomes of it.
    """

    def __init__(
        self, bundle: Repairer, source, strength: float, progress: Callable[[float], None]
    ):
        """Begin with a path or samples, as for `files.blocks`."""
        self._bundle, self._source, self._strength, self._progress = (
            bundle,
            source,
            strength,
            progress,
        )
        self._stack = contextlib.ExitStack()
        self.ended, self.error = False, None

    def open(self) -> tuple[files.Info, contextlib.AbstractContextManager]:
        """What the recording is, and the context in which it is written to whatever has a `write` and a `cut`."""
        raise NotImplementedError

    def windows(self) -> Iterator[np.ndarray]:
        """Windows [at most W] for the network, each to be given to `accept`; those of the channels in turn."""
        try:
            yield from self._windows()
        except AudioError as error:
            self.fail(error)

    def accept(self, window: np.ndarray, repaired: np.ndarray, top_gain: np.ndarray):
        """Take back a window with what the network made of it [W] and how it treated the top of its band [W]."""
        if self.ended:
            return
        W = len(window)
        changed = (repaired[:W] - window) / self._scale
        self._channels.append(
            [changed, window / self._scale, 1 - top_gain[:W]] if self._upper else [changed]
        )
        if len(self._channels) == self._distinct:
            signals = np.concatenate(np.stack(self._channels, axis=-1), axis=-1)  # [W, C or 3 C]
            self._channels = []
            piece = self._joiner.push(signals)
            step = round(BLOCK_SECONDS * self._bundle.frontend.sample_rate)
            try:
                for start in range(0, len(piece), step):
                    last = self._joiner.done and start + step >= len(piece)
                    self._settle(piece[start : start + step], last)
            except AudioError as error:
                self.fail(error)

    def fail(self, error: AudioError):
        """End, and leave nothing written."""
        if not self.ended:
            self.ended, self.error = True, error
            self._stack.__exit__(type(error), error, None)

    def _windows(self):
        bundle = self._bundle
        self.info, opened = self.open()
        N, rate = self.info.num_samples, self.info.sample_rate
        before, alike = Meter(rate), True
        for block in self._blocks():
            before.update(block)
            alike = alike and bool((block == block[:, :1]).all())
        self.before, self.after = before.diagnosis(), Meter(rate)
        self._sink = self._stack.enter_context(opened)
        if self.before.silent:
            for block in self._blocks():
                self._write(block)
            self._finish()
            return

        network_rate = bundle.frontend.sample_rate
        self._offset = before.offset
        self._scale = bundle.scale(self.before)
        # Channels that are the same are repaired once.
        self._distinct = 1 if alike else self.info.channels
        self._upper = rate > network_rate
        self._native, self._channels = Queue(), []
        self._up = resampler(network_rate, rate, self._distinct * (3 if self._upper else 1))
        overlap = Overlap(
            -(-N * network_rate // rate),
            bundle.sizes[-1],
            bundle.context,
            round(FADE_SECONDS * network_rate),
            round(GRID_SECONDS * network_rate),
        )
        self._joiner = Crossfader(overlap)
        for window in overlap.cut(self._at_network_rate(network_rate)):  # [W, C]
            for channel in window.T:
                yield np.ascontiguousarray(channel)
                if self.ended:
                    return

    def _at_network_rate(self, network_rate) -> Iterator[np.ndarray]:
        """What the network is given [n, C]; the recording is kept until the repair is ready."""
        down, done = resampler(self.info.sample_rate, network_rate, self._distinct), 0
        for block in self._blocks():
            done += len(block)
            self._native.push(block)
            samples = (block - self._offset)[:, : self._distinct].astype(np.float32)
            yield down(samples * self._scale, done == self.info.num_samples)

    def _settle(self, piece, last):
        """Write as much as a piece [n, signals] at the network's rate settles."""
        piece = self._up(np.ascontiguousarray(piece), last)
        n = len(self._native) if last else min(len(piece), len(self._native))
        block = self._native.pop(n)
        if block is not None:
            piece = zero_padded(piece, n)[:n]
            change, *upper = np.split(
                piece, piece.shape[1] // self._distinct, axis=1
            )  # [n, C] each
            if self._upper:
                low, loss = upper
                change = change - np.clip(loss, 0, 1) * (block - self._offset - low)
            self._write((block + self._strength * (change - self._offset)).astype(np.float32))
        if last:
            self._finish()

    def _blocks(self):
        return files.blocks(self._source, self.info.sample_rate, block_seconds=BLOCK_SECONDS)

    def _write(self, block):
        self.after.update(block)
        self._sink.write(block)
        self._progress(len(block) / self.info.sample_rate)

    def _finish(self):
        self._stack.close()
        self.ended = True


class _ArrayJob(_Job):
    """Samples that are repaired into `self.out` [N, C]."""

    def __init__(self, bundle, samples, sample_rate, strength):
        super().__init__(bundle, samples, strength, lambda seconds: None)
        self.out = np.zeros((len(samples), samples[:1].size), np.float32)
        self._rate, self._end, self.cut = sample_rate, 0, 0

    def open(self):
        N, C = self.out.shape
        return files.Info(self._rate, C, N, "", ""), contextlib.nullcontext(self)

    def write(self, block):
        self.out[self._end : self._end + len(block)] = block
        self._end += len(block)


class _FileJob(_Job):
    """A file that is repaired into another."""

    def __init__(self, bundle, source, out, strength, progress):
        super().__init__(bundle, source, strength, progress)
        self._out = out

    def open(self):
        info = files.describe(self._source)
        self._written = files.encoding(self._out, info)
        return info, files.writing(self._out, self._written)

    def repaired(self) -> RepairResult:
        """The end."""
        info = self._written
        return RepairResult(
            source=str(self._source),
            out=str(self._out),
            seconds=info.seconds,
            format=f"{info.format} {info.subtype}",
            lossy=info.subtype in files.LOSSY,
            before=self.before,
            after=self.after.diagnosis(),
            cut=self._sink.cut / (info.num_samples * info.channels),
        )


def resampler(source_rate: int, target_rate: int, channels: int):
    """A function of a block [n, channels] and whether it is the last, which brings a signal to another rate."""
    import soxr

    if source_rate == target_rate:
        return lambda block, last: block
    return soxr.ResampleStream(source_rate, target_rate, channels, dtype="float32").resample_chunk


def checked(strength: float) -> float:
    """A strength; ConfigError unless it is from 0 to 1."""
    if not isinstance(strength, numbers.Real) or not 0 <= strength <= 1:
        raise ConfigError(
            f"strength {repr(strength)[:40]}: it is how much of the repair is mixed in; choose one from 0 to 1"
        )
    return strength
