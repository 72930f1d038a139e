"""Long recordings of known texts, cut where their readers pause, by the durations of their symbols.

Shape letters: L symbols, T frames.
"""

import collections
import dataclasses
import functools
import itertools
from collections.abc import Sequence

import grain
import numpy as np

from data_pipelines.feature_set import FeatureSet
from data_pipelines.loaders import GRAIN, LoaderConfig, bucket_lengths
from lin_jax.audio.chunking import zero_padded
from lin_jax.text import END, SymbolTable
from lin_jax.text.normalisation import PAUSES

MAX_HOLD = 32  # frames of a symbol that is no pause; more is a slip of the alignment
LEAD, TAIL = 4, 8  # frames of silence that a piece keeps at its ends, at most


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of a recording, between two pauses if its text is known.

    Attributes:
        clip: which recording.
        start: its first frame there.
        frame_pitch: of each frame [T] in octaves above 100 Hz, NaN where none is voiced.
        symbols: what is said, int [L]; none without a text.
        durations: frames of each symbol, int [L].
    """

    clip: int
    start: int
    frame_pitch: np.ndarray
    symbols: np.ndarray
    durations: np.ndarray

    @property
    def num_frames(self) -> int:
        """Its length T."""
        return len(self.frame_pitch)

    @property
    def pitch(self) -> np.ndarray:
        """Of each symbol [L] in octaves above 100 Hz, the median of its voiced frames.

        Without any, on the line between its neighbours, and zero where nothing is voiced at all.
        """
        return self._pitch_and_voicing[0]

    @property
    def voicing(self) -> np.ndarray:
        """Share of the frames of each symbol that are voiced [L]."""
        return self._pitch_and_voicing[1]

    @functools.cached_property
    def _pitch_and_voicing(self) -> np.ndarray:
        medians, shares = both = np.zeros((2, len(self.durations)), np.float32)
        ends = np.cumsum(self.durations)
        for number, (start, end) in enumerate(itertools.pairwise([0, *ends])):
            frames = self.frame_pitch[start:end]
            voiced = frames[~np.isnan(frames)]
            if len(voiced):
                medians[number], shares[number] = np.median(voiced), len(voiced) / len(frames)
        if shares.any():
            known = np.flatnonzero(shares)
            medians[:] = np.interp(np.arange(len(medians)), known, medians[known])
        return both


def with_silence(table: SymbolTable, symbols: np.ndarray) -> np.ndarray:
    """Symbols of a text as they are aligned: with a space for the silence before the first word."""
    return np.concatenate([table.encode_symbols(" "), symbols]).astype(np.int32)


def cut(
    table: SymbolTable,
    clip: int,
    symbols: np.ndarray,
    durations: np.ndarray,
    pitch: np.ndarray,
    *,
    punctuated: bool,
    min_frames: int,
    max_frames: int,
    pause_frames: int,
) -> tuple[list[Piece], collections.Counter]:
    """Cut one recording.

    Args:
        table: of the symbols.
        clip: number of the recording.
        symbols: `with_silence` [L].
        durations: of each [L].
        pitch: of each frame [T] in octaves above 100 Hz, NaN where none is voiced.
        punctuated: whether the text has its punctuation; else a pause becomes a comma.
        min_frames: of what is said in a piece.
        max_frames: likewise.
        pause_frames: from which on a pause may be cut at.

    Returns:
        The pieces, and how many were left out, by reason.
    """
    space, comma, dot = (int(table.encode_symbols(c)[0]) for c in " ,.")
    silent = {int(number) for c in f" {PAUSES}" for number in table.encode_symbols(c)} | {END}
    ends = np.cumsum(durations)
    starts = ends - durations
    pauses = _runs(np.isin(symbols, list(silent)))
    last = len(symbols) - 1
    cuts = [
        (first, final)
        for first, final in pauses
        if first == 0 or final == last or ends[final] - starts[first] >= pause_frames
    ]
    pieces, dropped, here = [], collections.Counter(), 0
    while here < len(cuts) - 1:
        there = here + 1
        while (
            there + 1 < len(cuts)
            and ends[cuts[there + 1][0] - 1] - starts[cuts[here][1] + 1] <= max_frames
        ):
            there += 1
        (before, first), (final, after) = cuts[here], cuts[there]
        first, final, here = first + 1, final - 1, there
        spoken_frames = int(ends[final] - starts[first])
        lead = min(LEAD, int(starts[first] - starts[before]))
        tail = min(TAIL, int(ends[after] - ends[final]))
        spoken = ~np.isin(symbols[first : final + 1], list(silent))
        if spoken_frames > max_frames:
            dropped["longer than max_seconds without a pause"] += 1
        elif spoken_frames < min_frames:
            dropped["shorter than min_seconds"] += 1
        elif lead < 1 or tail < 2:
            dropped["no silence at its ends"] += 1
        elif (durations[first : final + 1][spoken] > MAX_HOLD).any():
            dropped["a symbol held for too long: text and recording differ"] += 1
        else:
            inner = _inner(
                symbols,
                durations,
                first,
                final,
                silent,
                None if punctuated else comma,
                space,
                pause_frames,
            )
            marks = [int(s) for s in symbols[final + 1 : after + 1] if s not in (space, END)]
            ending = (marks or [dot if after == last else comma])[0]
            start = int(starts[first]) - lead
            held = np.array([lead, *inner[1], tail - 1, 1], np.int32)
            read = np.array([space, *inner[0], ending, END], np.int32)
            pieces.append(Piece(clip, start, pitch[start : start + held.sum()], read, held))
    return pieces, dropped


def without_text(clip: int, pitch: np.ndarray, max_frames: int) -> list[Piece]:
    """The whole of a recording, in as few equal pieces as are no longer than `max_frames`.

    Args:
        clip: number of the recording.
        pitch: of each frame [T] in octaves above 100 Hz, NaN where none is voiced.
        max_frames: of a piece.
    """
    parts = np.array_split(pitch, -(-len(pitch) // max_frames))
    starts = np.cumsum([0, *map(len, parts[:-1])])
    none = np.zeros(0, np.int32)
    return [
        Piece(clip, int(start), part, none, none) for start, part in zip(starts, parts, strict=True)
    ]


def _inner(symbols, durations, first, final, silent, comma, space, pause_frames):
    """Symbols and durations of what is said, where long silent runs without a mark get a comma."""
    out_symbols: list[int] = []
    out_durations: list[int] = []
    at = first
    while at <= final:
        stop = at
        if int(symbols[at]) in silent:
            while int(symbols[stop + 1]) in silent:
                stop += 1
            length = int(durations[at : stop + 1].sum())
            if comma is not None and length >= pause_frames:
                out_symbols += [comma, space]
                out_durations += [length - 1, 1]
                at = stop + 1
                continue
        out_symbols += symbols[at : stop + 1].tolist()
        out_durations += durations[at : stop + 1].tolist()
        at = stop + 1
    return out_symbols, out_durations


def _runs(mask: Sequence[bool]) -> list[tuple[int, int]]:
    """First and last index of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def make_loader(
    feature_set: FeatureSet,
    pieces: Sequence[Piece],
    voices: np.ndarray | FeatureSet,
    references: Sequence[np.ndarray],
    config: LoaderConfig,
    *,
    train: bool,
) -> grain.DatasetIterator:
    """Iterate over batches of pieces of nearly equal length, with a voice for each.

    Args:
        feature_set: of the "features" store, of which they are pieces.
        pieces: at least one.
        voices: embedding of every clip of the set [clips, E] float32; or recordings, a set of the
            "waveform" store.
        references: for every clip of the set the embeddings, or recordings, from which its voice is
            taken; of up to three embeddings the mean, of the recordings a crop, drawn anew in
            training.
        config: batch size, buckets, seed and threads, and the crops of recordings; speakers do not
            count.
        train: endless and shuffled, or once through.

    Returns:
        An iterator over "features" [B, T, M], "frame_pitch" [B, T], "num_frames" [B], "symbols"
        [B, L], "num_symbols" [B], "durations", "pitch" and "voicing" [B, L], "weight" [B] and
        "voice" [B, E]; or for that, of recordings, "waveform" [B, N], "length" [B] and "index" [B],
        the numbers of the pieces.
    """
    batches = _Batches(feature_set, pieces, voices, references, config, train)
    options = grain.ReadOptions(
        num_threads=config.read_threads, prefetch_buffer_size=2 * config.read_threads
    )
    return iter(grain.MapDataset.source(batches).to_iter_dataset(options))


class _Batches:
    """Batches by the seed and their number alone, so that the position in the data is a number."""

    def __init__(self, feature_set, pieces, voices, references, config, train):
        self._set, self._pieces, self._voices = feature_set, list(pieces), voices
        self._references, self._config, self._train = references, config, train
        frames = np.array([piece.num_frames for piece in pieces])
        sizes = bucket_lengths(frames, config.buckets, GRAIN)
        bucket = np.searchsorted(sizes, frames)
        counts = np.array([len(piece.symbols) for piece in pieces])
        self._buckets = [
            (
                np.flatnonzero(bucket == b),
                int(sizes[b]),
                -(-max(counts[bucket == b].max(), 1) // GRAIN) * GRAIN,
            )
            for b in np.unique(bucket)
        ]
        self._plan = functools.lru_cache(maxsize=2)(self._shuffle_epoch)

    def __len__(self) -> int:
        return len(self._plan(0)) * (10**9 if self._train else 1)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        epoch, place = divmod(number, len(self._plan(0)))
        chosen, weight, T, L = self._plan(epoch)[place]
        rng, B = np.random.default_rng((self._config.seed, number)), len(chosen)
        batch = {
            "features": np.zeros((B, T, self._set.frontend.num_features), np.float32),
            "frame_pitch": np.full((B, T), np.nan, np.float32),
            "num_frames": np.zeros(B, np.int32),
            "symbols": np.zeros((B, L), np.int32),
            "num_symbols": np.zeros(B, np.int32),
            "durations": np.zeros((B, L), np.int32),
            "pitch": np.zeros((B, L), np.float32),
            "voicing": np.zeros((B, L), np.float32),
            "weight": weight,
        }
        taken = []
        for b, index in enumerate(chosen):
            piece = self._pieces[index]
            count, symbols = piece.num_frames, len(piece.symbols)
            frames = self._set[piece.clip]["features"][piece.start : piece.start + count]
            batch["features"][b, :count], batch["num_frames"][b] = frames, count
            batch["frame_pitch"][b, :count] = piece.frame_pitch
            batch["symbols"][b, :symbols], batch["num_symbols"][b] = piece.symbols, symbols
            for name in ("durations", "pitch", "voicing"):
                batch[name][b, :symbols] = getattr(piece, name)
            taken.append(self._voice(self._references[piece.clip], rng))
        if isinstance(self._voices, np.ndarray):
            return batch | {"voice": np.stack(taken)}
        size = round(self._config.crop_seconds * self._voices.frontend.sample_rate)
        batch["waveform"] = np.stack([zero_padded(crop, size) for crop in taken])
        batch["length"] = np.array([*map(len, taken)], np.int32)
        return batch | {"index": np.asarray(chosen, np.int32)}

    def _voice(self, clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The mean direction [E] of some clips, in training of more than one; or a crop [N] of one."""
        if not isinstance(self._voices, np.ndarray):
            samples = self._voices[int(rng.choice(clips) if self._train else clips[0])]["waveform"]
            size = round(self._config.crop_seconds * self._voices.frontend.sample_rate)
            start = rng.integers(max(len(samples) - size, 0) + 1) if self._train else 0
            return samples[start : start + size]
        if not self._train:
            mean = self._voices[clips].mean(axis=0)
        else:
            share = rng.uniform(size=3) ** 3
            mean = share @ self._voices[rng.choice(clips, 3)]
        return mean / max(np.linalg.norm(mean), 1e-9)

    def _shuffle_epoch(self, epoch: int) -> list[tuple[np.ndarray, np.ndarray, int, int]]:
        """Pieces, weights, frames and symbols of each batch of an epoch."""
        rng, plan, B = (
            np.random.default_rng((self._config.seed, epoch)),
            [],
            self._config.batch_size,
        )
        for members, T, L in self._buckets:
            order = rng.permutation(members) if self._train else members
            for start in range(0, len(order), B):
                chosen = order[start : start + B]
                weight = (np.arange(B) < len(chosen)).astype(np.float32)
                plan.append((np.resize(chosen, B), weight, T, L))
        return [plan[i] for i in rng.permutation(len(plan))] if self._train else plan
