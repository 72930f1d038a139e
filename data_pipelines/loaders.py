"""Loaders: some clips of a feature set become batches of static shape.

B batch, T frames, N samples, D features, P speakers, K clips a speaker, L symbols, E embedding.
"""

import contextlib
import dataclasses
import functools
import itertools
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import jax
import numpy as np

from data_pipelines import resident, transforms
from data_pipelines.feature_set import FeatureSet
from lin_jax.errors import ConfigError
from lin_jax.training.resident import AllAlike, ByLength, BySpeaker, Resident, Sampler

# Frames: bucket lengths are its multiples, so that nearly equal sets share compiled shapes.
GRAIN = 16
MAX_LENGTHS = 512  # from which those of the buckets are chosen
ENDLESS = 10**9  # epochs
CROPS = 10**9  # keeps what draws the crops of a step apart from what shuffles an epoch


@dataclasses.dataclass
class LoaderConfig:
    """How clips become batches.

    Attributes:
        batch_size: clips in a batch over all processes together.
        clips_per_speaker: K; a training batch holds K clips of each of batch_size / K speakers, who
            come equally often however many clips they have. 0 draws from all clips alike.
        crop_seconds: training clips are cut (at random) or padded to this length; 0 takes whole
            clips from a resident corpus, in batches of nearly equal length.
        resident: whether training clips lie on the devices, where the step draws its batches:
            "always", "never", or "auto", on an accelerator that has the memory.
        buckets: whole clips are padded to one of this many lengths, those with the least padding.
        seed: of the order and the crops.
        read_threads: more than two only pays where reading is slow.
    """

    batch_size: int = 32
    clips_per_speaker: int = 0
    crop_seconds: float = 3.0
    resident: str = "auto"
    buckets: int = 4
    seed: int = 0
    read_threads: int = 2


def make_loader(
    feature_set: FeatureSet,
    indices: Sequence[int],
    labels: Sequence[int] | None,
    config: LoaderConfig,
    *,
    train: bool,
    epochs: int | None = None,
    process_index: int | None = None,
    process_count: int | None = None,
) -> grain.DatasetIterator | Resident:
    """Iterate over batches of the chosen clips, or put them where the training step draws its own.

    Training: shuffled anew each epoch, cropped at random, batches always full (the last clips of
    the last epoch, too few for a batch, are left out). With `clips_per_speaker`, an epoch has every
    speaker once, up to what does not fill a batch; a speaker with fewer than K clips gives several
    crops of one. Evaluation: each clip once, whole, in batches of nearly equal length; the last
    batch of a length is filled up with repeated clips of weight 0. All of it depends on the seed
    alone, not on threads, and the clips of a step not on the number of processes.

    With `config.resident`, and where `epochs` is None, the training clips become a corpus that
    `loop.fit` puts on the devices; the batches of its steps keep the same promises, but are others.

    Args:
        feature_set: where the clips are.
        indices: which of them.
        labels: [len(feature_set)] class of every clip; None gives -1.
        config: the rest.
        train: training or evaluation.
        epochs: passes over the clips when training; None never ends.
        process_index: this process among `process_count`, each of which gets its share of every
            batch; those of JAX when None.
        process_count: number of processes.

    Returns:
        A Grain iterator with `get_state`, `set_state` and `close`, for `grain.checkpoint`, over
        dicts of NumPy arrays: "features" [B, T, D] float32 and "num_frames" [B], or "waveform" [B,
        N] float32 and "length" [B]; "label", "speaker" (as `feature_set.labels("speaker")` numbers
        them) and "index" [B] int32; "weight" [B] float32. A `Resident` with the same batches, of
        all processes together, for training from the devices.

    Raises:
        ConfigError: no clips, too few speakers, or sizes that do not go together.
    """
    indices = np.asarray(indices, np.int64)
    if not len(indices):
        raise ConfigError("a loader of no clips: check the split")
    process_index, process_count = _processes(process_index, process_count)
    if config.batch_size < 1 or config.batch_size % process_count:
        raise ConfigError(
            f"batch_size {config.batch_size} is not a multiple of {process_count} processes: "
            "change it"
        )
    if not config.crop_seconds >= 0 or config.buckets < 1:
        raise ConfigError(
            f"crop_seconds {config.crop_seconds:g}, buckets {config.buckets}: must be positive"
        )
    if train and epochs is None and resident.wanted(config.resident, feature_set, indices):
        sampler = _sampler(feature_set, indices, config)
        return resident.pack(feature_set, indices, labels, sampler)
    clips = _Clips(feature_set, indices, labels)
    share = slice(process_index, None, process_count)
    if train:
        if not config.crop_seconds:
            raise ConfigError("whole clips are not streamed: set crop_seconds, or resident=always")
        if config.clips_per_speaker:
            order: Any = _SpeakerOrder(feature_set.speakers[indices], config, epochs)
        else:
            order = _Shuffled(len(indices), config.seed, epochs)
        if len(order) < config.batch_size:
            raise ConfigError(
                f"{len(order)} clips do not fill one batch of {config.batch_size}: lower batch_size"
            )
        size = _crop_size(feature_set, config)
        batches: Any = _Crops(clips, order, size, config, share)
    else:
        sizes = bucket_lengths(feature_set.lengths, config.buckets, _unit(feature_set))
        plan = _bucket_batches(feature_set.lengths[indices], sizes, config.batch_size)
        plan = [(positions[share], weights[share], size) for positions, weights, size in plan]
        batches = _Batches(clips, plan)
    options = grain.ReadOptions(
        num_threads=config.read_threads, prefetch_buffer_size=2 * config.read_threads
    )
    return iter(grain.MapDataset.source(batches).to_iter_dataset(options))


def make_synthesis_loader(
    feature_set: FeatureSet,
    indices: Sequence[int],
    symbols: Sequence[np.ndarray],
    voices: np.ndarray,
    config: LoaderConfig,
    *,
    train: bool,
    speech: float = 0.0,
    partners: Sequence[np.ndarray] = (),
    references: Sequence[np.ndarray] = (),
    epochs: int | None = None,
    process_index: int | None = None,
    process_count: int | None = None,
) -> grain.DatasetIterator:
    """Iterate over batches of whole clips with their texts and voices, for learning to speak.

    The clips of a batch are of nearly equal length, so that little of it is padding;
    `config.buckets` lengths are compiled. Training: clips are dealt anew to the batches of their
    length in each epoch, and the batches shuffled. Clips without a text have batches of their own,
    and always a recording to say again.

    Args:
        feature_set: where the clips are, of the "features" store.
        indices: which of them.
        symbols: of every clip of the set, int32 [L]; none of a clip without a text.
        voices: of every clip of the set, [clips, E] float32 or [clips] int32.
        config: the rest; crops and speakers do not count.
        train: training or evaluation.
        speech: share of the batches that have a recording to say again in place of a text.
        partners: for every clip of the set the clips of the same text; without them, a clip is
            its partner.
        references: for every clip of the set the clips of its voice, of which one is drawn; without
            them, it is itself.
        epochs: passes over the clips when training; None never ends.
        process_index: this process among `process_count`; those of JAX when None.
        process_count: number of processes.

    Returns:
        An iterator as that of `make_loader`, with "voice" besides, and "symbols" [B, L] int32 and
        "num_symbols" [B], or "source" [B, T', D] float32 and "num_source_frames" [B].

    Raises:
        ConfigError: no clips, waveforms instead of features, or sizes that do not go together.
    """
    indices = np.asarray(indices, np.int64)
    if not len(indices):
        raise ConfigError("a loader of no clips: check the split and the transcripts")
    process_index, process_count = _processes(process_index, process_count)
    if feature_set.store != "features":
        raise ConfigError(
            f"{feature_set.folder}: holds waveforms: prepare it with --store features"
        )
    if config.batch_size < 1 or config.batch_size % process_count or config.buckets < 1:
        raise ConfigError(
            f"batch_size {config.batch_size}, buckets {config.buckets}: give one bucket or more, "
            f"and a multiple of {process_count} processes"
        )
    batches = _SynthesisBatches(
        feature_set,
        indices,
        symbols,
        voices,
        config,
        train,
        epochs if train else 1,
        speech,
        partners,
        references,
    )
    dataset = grain.MapDataset.source(batches)
    if process_count > 1:
        share = slice(process_index, None, process_count)
        dataset = dataset.map(lambda batch: {name: value[share] for name, value in batch.items()})
    options = grain.ReadOptions(
        num_threads=config.read_threads, prefetch_buffer_size=2 * config.read_threads
    )
    return iter(dataset.to_iter_dataset(options))


def crops(
    feature_set: FeatureSet, indices: Sequence[int], config: LoaderConfig, batches: int
) -> Iterator[dict[str, np.ndarray]]:
    """Batches of training crops of some clips, the same every time, to watch a training by.

    See `make_loader`.
    """
    size = min(config.batch_size, -(-len(indices) // jax.device_count()) * jax.device_count())
    settings = LoaderConfig(size, crop_seconds=config.crop_seconds or LoaderConfig.crop_seconds)
    settings.resident = "never"
    stream = make_loader(feature_set, indices, None, settings, train=True)
    with contextlib.closing(stream):
        yield from itertools.islice(stream, batches)


def equal_segments(
    feature_set: FeatureSet, indices: Sequence[int], size: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Segments of speech of equal length to evaluate on.

    Each is joined from several clips of a speaker.

    Args:
        feature_set: of the "waveform" store.
        indices: of the clips.
        size: samples of a segment, N.
        count: segments of each corpus; its speakers take turns until there are so many, or none has
            more.

    Returns:
        Segments [B, N], and a clip of the speaker of each [B] int.
    """
    indices = np.asarray(indices, np.int64)
    speakers, corpora = feature_set.speakers[indices], feature_set.corpora[indices]
    segments, clips = [], []
    for corpus in np.unique(corpora):
        by_speaker = []
        for name in np.unique(speakers[corpora == corpus]):
            clips_of_speaker = indices[(speakers == name) & (corpora == corpus)]
            joined = np.concatenate(
                [feature_set[int(index)]["waveform"] for index in clips_of_speaker]
            )
            by_speaker.append(
                [
                    (clips_of_speaker[0], segment)
                    for segment in joined[: len(joined) // size * size].reshape(-1, size)
                ]
            )
        turns = itertools.chain.from_iterable(itertools.zip_longest(*by_speaker))
        for clip, segment in itertools.islice(filter(None, turns), count):
            segments.append(segment)
            clips.append(clip)
    return np.array(segments), np.array(clips, np.int64)


def _processes(index: int | None, count: int | None) -> tuple[int, int]:
    """The share of this process, as given or as JAX counts."""
    return (
        jax.process_index() if index is None else index,
        jax.process_count() if count is None else count,
    )


def _sampler(feature_set: FeatureSet, indices: np.ndarray, config: LoaderConfig) -> Sampler:
    """How training batches are drawn from a corpus on the devices."""
    if not config.crop_seconds:
        if config.clips_per_speaker:
            raise ConfigError("whole clips are batched by length, not by speaker: set crop_seconds")
        lengths = feature_set.lengths[indices]
        sizes = bucket_lengths(lengths, config.buckets, _unit(feature_set))
        return ByLength(lengths, sizes, config.batch_size, config.seed)
    size = _crop_size(feature_set, config)
    if not config.clips_per_speaker:
        return AllAlike(len(indices), config.batch_size, size, config.seed)
    members = _speaker_members(feature_set.speakers[indices], config)
    K = config.clips_per_speaker
    return BySpeaker(members, config.batch_size, K, size, config.seed)


def _crop_size(feature_set: FeatureSet, config: LoaderConfig) -> int:
    """Frames or samples of a training crop."""
    samples = round(config.crop_seconds * feature_set.frontend.sample_rate)
    return samples if feature_set.store == "waveform" else feature_set.frontend.num_frames(samples)


def _unit(feature_set: FeatureSet) -> int:
    """Frames or samples of which the lengths of buckets are multiples."""
    return GRAIN * (feature_set.frontend.hop_length if feature_set.store == "waveform" else 1)


def _speaker_members(speakers: np.ndarray, config: LoaderConfig) -> list[np.ndarray]:
    """Positions of the clips of each speaker; ConfigError where no batch can be made of them."""
    K = config.clips_per_speaker
    P, rest = divmod(config.batch_size, K)
    members = [np.flatnonzero(speakers == name) for name in np.unique(speakers)]
    S, single = len(members), sum(len(clips) == 1 for clips in members)
    if K < 2 or rest:
        raise ConfigError(
            f"clips_per_speaker {K}: choose at least 2, of which batch_size "
            f"{config.batch_size} is a multiple"
        )
    if S < 2:
        raise ConfigError(
            f"one speaker only, {speakers[0]}: speakers are learnt by comparing; add some"
        )
    if not 2 <= P <= S:
        raise ConfigError(
            f"batch_size {config.batch_size} asks for {P} speakers with {K} clips of {S} "
            "speakers: "
            f"choose batch_size from {2 * K} to {S * K}"
        )
    if single:
        _note(
            f"{single} of {S} speakers have a single clip: what is the same in two crops of it "
            "may be the room"
        )
    return members


class _SynthesisBatches:
    """Whole batches of clips with texts and voices, dealt by the seed and the epoch alone."""

    def __init__(
        self,
        feature_set,
        indices,
        symbols,
        voices,
        config,
        train,
        epochs,
        speech,
        partners,
        references,
    ):
        self._set, self._symbols, self._voices = feature_set, symbols, np.asarray(voices)
        self._clips, self._speech = _Clips(feature_set, indices, None), speech
        self._config, self._train, self._epochs = (
            config,
            train,
            ENDLESS if epochs is None else epochs,
        )
        self._lengths = feature_set.lengths[indices]
        self._sizes = bucket_lengths(self._lengths, config.buckets, GRAIN)
        self._partners, self._references = (
            {
                index: others[index] if len(others) else np.array([index])
                for index in indices.tolist()
            }
            for others in (partners, references)
        )
        counts = np.array([len(symbols[index]) for index in indices])
        # With a text, and without.
        self._kinds = (np.flatnonzero(counts), np.flatnonzero(counts == 0))
        longest = np.array(
            [feature_set.lengths[others].max() for others in self._partners.values()]
        )
        bucket = np.searchsorted(self._sizes, self._lengths)
        self._max_lengths = {  # of each bucket, symbols and frames of a recording
            int(self._sizes[b]): (
                int(counts[bucket == b].max()),
                int(-(-longest[bucket == b].max() // GRAIN) * GRAIN),
            )
            for b in np.unique(bucket)
        }
        self._plan_of = functools.lru_cache(maxsize=2)(self._shuffle_epoch)
        self._per_epoch = len(self._plan_of(0))

    def __len__(self) -> int:
        return self._epochs * self._per_epoch

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        epoch, place = divmod(number, self._per_epoch)
        positions, weights, size = self._plan_of(epoch)[place]
        batch = self._clips.batch(positions, size)
        rng, (max_symbols, max_frames) = (
            np.random.default_rng((self._config.seed, number)),
            self._max_lengths[size],
        )
        speaks = rng.random() < self._speech or not len(self._symbols[batch["index"][0]])
        source = (
            self._recordings(batch["index"], max_frames, rng)
            if speaks
            else self._texts(batch["index"], max_symbols)
        )
        references = [int(rng.choice(self._references[index])) for index in batch["index"].tolist()]
        return batch | source | {"voice": self._voices[references], "weight": weights}

    def _texts(self, indices: np.ndarray, max_symbols: int) -> dict[str, np.ndarray]:
        """The texts of some clips as symbols."""
        texts = [self._symbols[index] for index in indices]
        padded = np.zeros((len(texts), max_symbols), np.int32)
        for row, ids in zip(padded, texts, strict=True):
            row[: len(ids)] = ids
        return {"symbols": padded, "num_symbols": np.array([len(ids) for ids in texts], np.int32)}

    def _recordings(
        self, indices: np.ndarray, max_frames: int, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Clips of the same texts as some others."""
        chosen = [int(rng.choice(self._partners[index])) for index in indices.tolist()]
        clips = [clip["features"] for clip in self._set.read(chosen)]
        source, num_frames = transforms.fit(clips, max_frames)
        return {"source": source, "num_source_frames": num_frames}

    def _shuffle_epoch(self, epoch: int) -> list[tuple[np.ndarray, np.ndarray, int]]:
        """The batches of an epoch."""
        rng, plan = np.random.default_rng((self._config.seed, epoch)), []
        for kind in self._kinds:
            order = rng.permutation(kind) if self._train else kind
            dealt = _bucket_batches(self._lengths[order], self._sizes, self._config.batch_size)
            plan += [(order[positions], weights, size) for positions, weights, size in dealt]
        return [plan[i] for i in rng.permutation(len(plan))] if self._train else plan


class _Clips:
    """Examples, by their positions among the chosen clips."""

    def __init__(self, feature_set: FeatureSet, indices: np.ndarray, labels: Sequence[int] | None):
        self._set, self._indices = feature_set, indices
        self._labels = np.full(len(feature_set), -1) if labels is None else np.asarray(labels)
        self._speakers, _ = feature_set.labels("speaker")

    def batch(
        self, positions: Sequence[int], size: int, places: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Some of them, cut or padded to one size; see `transforms.fit`."""
        indices, key = self._indices[np.asarray(positions)], self._set.store
        clips = [clip[key] for clip in self._set.read(indices.tolist())]
        values, lengths = transforms.fit(clips, size, places)
        return {
            key: values,
            transforms.LENGTH_KEY[key]: lengths,
            "label": self._labels[indices].astype(np.int32),
            "speaker": self._speakers[indices].astype(np.int32),
            "index": indices.astype(np.int32),
            "weight": np.ones(len(indices), np.float32),
        }


@functools.lru_cache(maxsize=4)
def _permutation(seed: tuple[int, ...], count: int) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count)


class _Shuffled:
    """Positions of N clips, shuffled anew each epoch: which one comes follows from the seed alone."""

    def __init__(self, count: int, seed: int, epochs: int | None):
        self._count, self._seed = count, seed
        self._epochs = ENDLESS if epochs is None else epochs

    def __len__(self) -> int:
        return self._epochs * self._count

    def __getitem__(self, number: int) -> int:
        epoch, place = divmod(number, self._count)
        return int(_permutation((self._seed, epoch), self._count)[place])


class _SpeakerOrder:
    """Positions of clips in an order in which every batch holds K clips of each of P speakers.

    Which clip comes follows from the seed alone.
    """

    def __init__(self, speakers: np.ndarray, config: LoaderConfig, epochs: int | None):
        K = config.clips_per_speaker
        P = config.batch_size // K
        self._members = _speaker_members(speakers, config)
        self._seed, self._P, self._K = config.seed, P, K
        self._epochs = ENDLESS if epochs is None else epochs

    def __len__(self) -> int:
        return self._epochs * (len(self._members) // self._P) * self._P * self._K

    def __getitem__(self, number: int) -> int:
        S, slot = len(self._members), number // self._K
        epoch, place = divmod(slot, S // self._P * self._P)
        speaker = int(_permutation((self._seed, epoch), S)[place])
        members = self._members[speaker]
        drawn = np.random.default_rng((self._seed, epoch, speaker)).permutation(members)
        return int(drawn[number % self._K % len(drawn)])


class _Crops:
    """Batches of clips cut at random, each read at once by one thread.

    Where a clip is cut follows from the seed, the step, and its place in the batch of all processes.
    """

    def __init__(self, clips: _Clips, order: Any, size: int, config: LoaderConfig, share: slice):
        self._clips, self._order, self._size, self._share = clips, order, size, share
        self._batch_size, self._seed = config.batch_size, config.seed

    def __len__(self) -> int:
        return len(self._order) // self._batch_size

    def __getitem__(self, step: int) -> dict[str, np.ndarray]:
        B = self._batch_size
        numbers = range(step * B, (step + 1) * B)[self._share]
        places = np.random.default_rng((self._seed, CROPS, step)).random(B)[self._share]
        return self._clips.batch([self._order[number] for number in numbers], self._size, places)


class _Batches:
    """Whole clips in batches as planned, each read at once by one thread."""

    def __init__(self, clips: _Clips, plan: list[tuple[np.ndarray, np.ndarray, int]]):
        self._clips, self._plan = clips, plan

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        positions, weights, size = self._plan[number]
        return self._clips.batch(positions, size) | {"weight": weights}


def _bucket_batches(
    lengths: np.ndarray, sizes: np.ndarray, B: int
) -> list[tuple[np.ndarray, np.ndarray, int]]:
    """Batches of clips by length.

    Positions [B], weights [B] and the length that all are padded to.
    """
    plan = []
    bucket = np.searchsorted(sizes, lengths)
    for number, size in enumerate(sizes):
        members = np.flatnonzero(bucket == number)
        for start in range(0, len(members), B):
            positions = members[start : start + B]
            weights = (np.arange(B) < len(positions)).astype(np.float32)
            plan.append((np.resize(positions, B), weights, int(size)))
    return plan


def bucket_lengths(lengths: np.ndarray, count: int, unit: int) -> np.ndarray:
    """The lengths that clips are padded to so that there is the least padding in all.

    Args:
        lengths: of the clips.
        count: how many to choose at most.
        unit: of which all are multiples.

    Returns:
        Sorted, the last one not below the longest clip.
    """
    unit *= -(-int(lengths.max()) // (unit * MAX_LENGTHS))
    sizes, clips = np.unique(-(-np.asarray(lengths) // unit) * unit, return_counts=True)
    before = np.concatenate([[0], np.cumsum(clips)])  # clips of the sizes before each
    # By dynamic programming: the least that all clips before a size come to in so many buckets, and
    # where the last one of these begins.
    begin, end = np.ogrid[: len(before), : len(sizes)]
    bucket = np.where(begin <= end, (before[1:] - before[:, None]) * sizes, np.inf)
    total, begins = np.where(before > 0, np.inf, 0.0), []
    for _ in range(min(count, len(sizes))):
        through = total[:, None] + bucket
        begins.append(through.argmin(axis=0))
        total = np.concatenate([[np.inf], through.min(axis=0)])
    chosen, end = [], len(sizes)
    for begin in reversed(begins):
        chosen.append(sizes[end - 1])
        end = begin[end - 1]
    return np.array(chosen[::-1])


@functools.cache
def _note(text: str) -> None:
    """Say something once."""
    print(f"note: {text}", file=sys.stderr)
