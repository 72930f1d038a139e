"""From utterances to a feature set.

Extracted on all cores, resumed where it was stopped, what was skipped reported.

N samples, T frames, D features. While it runs, `<out>.partial` holds shards of finished utterances,
each written whole or not at all; `<out>` itself appears in one rename when everything is in it.
Reading, resampling and the compiled front end release Python's lock, so threads use every core
without the seconds that new processes would take to start; they read while the first thread imports
JAX and TFDS, and compiles.
"""

import collections
import dataclasses
import functools
import hashlib
import importlib
import itertools
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile  # noqa: F401  here, so that the threads that read import nothing while JAX and TFDS are imported
import soxr  # noqa: F401

from data_pipelines import engines, shards
from data_pipelines.corpora import Utterance
from data_pipelines.engines import Engine
from data_pipelines.feature_set import check_head, mean_std, open_features, read_json, write_head
from lin_jax import durable, locks
from lin_jax.audio import files
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.errors import AudioError, ConfigError, CorpusError, FeatureError

__all__ = ["Report", "open_features", "prepare"]

STORES = ("features", "waveform")
SHARD = 64  # utterances: the most that a kill can lose
# Bytes of recordings read before their features are asked for: they bridge imports and compilation.
READ_AHEAD = 2**27
MAX_AHEAD = 512  # recordings, however small
# A recording beyond this is no utterance, and as one array would not fit in memory.
MAX_SECONDS = 600

_IMPORTING = threading.Lock()  # a worker of many may make several shards at once


@dataclasses.dataclass(frozen=True)
class Report:
    """What `prepare` did.

    Attributes:
        written: clips.
        skipped: [path, reason] of each clip that is not.
        audio_seconds: of the clips.
        seconds: that it took.
    """

    written: int
    skipped: list[list[str]]
    audio_seconds: float
    seconds: float


def prepare(
    utterances: list[Utterance],
    out: str | Path,
    frontend: FrontendConfig,
    *,
    store: str = "features",
    licence: str = "",
    workers: int | None = None,
    beam: Sequence[str] | None = None,
    progress: bool = True,
) -> Report:
    """Extract the features of a corpus into a feature set.

    Run again after a stop, even a kill, it goes on from the last finished shard; run again when all
    is done, it returns at once; run again when recordings came or changed, it makes the set anew.
    Recordings that cannot be used are skipped and reported.

    Args:
        utterances: what to extract, with distinct ids.
        out: folder of the feature set, laid out as `data_pipelines.feature_set` says.
        frontend: the front end.
        store: "features", or "waveform" to keep the waveforms that the front end takes, so that
            training can augment them: 16 bits a sample relative to the clip's peak, which rounds
            at -98 dB of it.
        licence: of the corpus, kept with each clip; "" where it is unknown.
        workers: threads, of each machine; as many as there are cores when None.
        beam: options of a pipeline of Apache Beam, such as --runner=FlinkRunner, that does the
            work where every machine sees `out` and the recordings by these paths; None does it
            here. The set is the same to the byte.
        progress: show a progress bar on a terminal.

    Returns:
        The report, which is also in report.json.

    Raises:
        FeatureError: `out` holds something else or features of another front end, no recording was
            usable, another process is at it, or the disk is full (what was finished is kept).
        ConfigError: an unknown store, no workers, a front end that cannot work, Beam that is not
            installed, or an option that it does not know.
        CorpusError: utterances that do not all have the same labels.
    """
    started, out = time.perf_counter(), Path(out)
    if store not in STORES:
        raise ConfigError(f"unknown store {store!r}: choose {' or '.join(STORES)}")
    if workers is not None and workers < 1:
        raise ConfigError(f"{workers} workers: give 1 or more, or none for one on each core")
    if len({tuple(utterance.labels) for utterance in utterances}) > 1:
        raise CorpusError("utterances with different labels: give each the same ones")
    sources = {utterance.id: shards.source(utterance) for utterance in utterances}
    head = {
        "fingerprint": frontend.fingerprint(),
        "store": store,
        "corpus": _digest([vars(utterance) for utterance in utterances] + list(sources.values())),
        "frontend": frontend.to_dict(),
    }
    if check_head(out, head):
        return Report(**read_json(out / "report.json"))

    partial = out.with_name(out.name + ".partial")
    engine = engines.in_turn if beam is None else engines.beam(beam, partial / "items")
    try:
        with locks.hold(out, FeatureError):
            left = shards.open_folder(partial, head)
            entries = shards.read_current(left, sources)
            waiting = [utterance for utterance in utterances if utterance.id not in entries]
            # One process reads ahead through all of them; others take a shard each.
            size = SHARD if beam is not None else len(waiting) or 1
            first = int(left[-1].stem) + 1 if left else 0
            groups = [waiting[start : start + size] for start in range(0, len(waiting), size)]
            work = functools.partial(
                _write_shards, partial, frontend, store, workers, progress and beam is None
            )
            engine(
                work,
                [
                    (first + number, [(utterance, sources[utterance.id]) for utterance in group])
                    for number, group in enumerate(groups)
                ],
            )
            entries = shards.read_current(shards.finished(partial), sources)
            report = _write_set(
                partial / "set", entries, utterances, head, licence, engine, started
            )
            _put_in_place(partial, out)
    except OSError as error:
        raise FeatureError(
            f"cannot write {out} ({error.strerror or error}): free space or permissions, then run "
            "again: "
            "what is finished is kept"
        ) from error
    return report


def needed_by(name: str) -> tuple[FrontendConfig, str, list[float]]:
    """What a bundle, by name or folder, was trained from: front end, store, and further speeds.

    The speeds are those at which it hears each recording besides; other bundles vary them in training.
    """
    from lin_jax import bundles

    known, (first, _, rest) = bundles.shipped(), name.partition("/")
    described = bundles.describe(known[first] / rest if first in known else name)
    store = described.get("provenance", {}).get("store", STORES[0])
    speeds = [speed for speed in described.get("tta", {}).get("speeds", []) if speed != 1.0]
    return FrontendConfig.from_dict(described["frontend"]), store, speeds


def compiled(frontend: FrontendConfig) -> Callable[[int], Callable[[np.ndarray], np.ndarray]]:
    """The front end for clips of a given number of samples N, a function of [N] to [T, D].

    It is compiled once for each power of two of a quarter second, in the thread that asks for it.
    """
    import jax

    from lin_jax.audio.frontend import extract

    run = jax.jit(functools.partial(extract, frontend))
    unit = frontend.sample_rate // 4

    @functools.cache
    def padded_to(size: int) -> Callable[[np.ndarray], np.ndarray]:
        run(np.zeros(size, np.float32), size)

        def features(waveform: np.ndarray) -> np.ndarray:
            padded = np.zeros(size, np.float32)
            padded[: len(waveform)] = waveform
            values, num_frames = run(padded, len(waveform))
            return np.asarray(values)[: int(num_frames)]

        return features

    return lambda N: padded_to(unit << max(0, -(-N // unit) - 1).bit_length())


def _write_shards(
    folder: Path,
    frontend: FrontendConfig,
    store: str,
    workers: int | None,
    progress: bool,
    group: tuple[int, list[tuple[Utterance, list]]],
) -> None:
    """Extract utterances into shards of `SHARD` each.

    Args:
        folder: of the shards.
        frontend: the front end.
        store: see `prepare`, as for `workers`.
        workers: threads.
        progress: show a progress bar on a terminal.
        group: number of the first shard, and each utterance with its `shards.source`.
    """
    first, utterances = group
    sources = {utterance.id: source for utterance, source in utterances}
    workers = workers or len(os.sched_getaffinity(0))
    importlib.import_module("av")  # that no thread has to, at the first recording that takes it
    # Every thread has work, however large the recordings are.
    lightest, heaviest = READ_AHEAD // MAX_AHEAD, READ_AHEAD // (2 * workers)
    with ThreadPoolExecutor(workers) as pool:
        loading = (
            (
                functools.partial(_load_waveform, frontend, utterance),
                min(max(size, lightest), heaviest),
            )
            for utterance, (_, size, _) in utterances
        )
        loaded = _in_order(pool, loading, READ_AHEAD)
        # Asked for one, it reads ahead.
        loaded = itertools.chain(list(itertools.islice(loaded, 1)), loaded)
        # Meanwhile JAX and TFDS are imported, in this thread alone: TFDS changes for the time what an
        # import does, which would break one in another thread.
        with _IMPORTING:
            features_for = _compiled_once(json.dumps(frontend.to_dict()))
            importlib.import_module("data_pipelines.records")
        work = ((_extraction(store, features_for, result), 1) for result in loaded)
        results = _bar(_in_order(pool, work, SHARD), len(utterances), progress)
        for number in itertools.count(first):
            if not (shard := list(itertools.islice(results, SHARD))):
                break
            shards.write(folder, number, shard, sources)


@functools.cache
def _compiled_once(frontend: str) -> Callable[[int], Callable[[np.ndarray], np.ndarray]]:
    """What `compiled` makes of a front end in JSON, for all shards of a process."""
    return compiled(FrontendConfig.from_dict(json.loads(frontend)))


def _load_waveform(frontend: FrontendConfig, utterance: Utterance) -> dict:
    """The waveform of one utterance as the front end takes it, or the reason why there is none."""
    try:
        seconds = files.duration(utterance.path)
        if seconds > MAX_SECONDS:
            raise AudioError(
                f"{utterance.path}: {seconds:.0f} s long, more than {MAX_SECONDS}: cut it into "
                "utterances"
            )
        waveform = files.load(utterance.path, frontend, speed=utterance.speed)
        waveform = waveform.copy()  # trimmed, it is a view that would keep the whole
        return {"id": utterance.id, "waveform": waveform}
    except AudioError as error:
        return {"id": utterance.id, "reason": str(error)}


def _extraction(store: str, features_for: Callable, loaded: dict) -> Callable[[], dict]:
    """What a thread is to do with a waveform; nothing is left to compile or to import."""
    if "reason" in loaded:
        return lambda: loaded
    return functools.partial(_extract, store, features_for(len(loaded["waveform"])), **loaded)


def _extract(store: str, features_of: Callable, id: str, waveform: np.ndarray) -> dict:
    """One utterance's array and sums."""
    features = features_of(waveform).astype(np.float64)  # [T, D]
    result = {"id": id, "samples": len(waveform), "frames": len(features)}
    result["moments"] = np.stack([features.sum(0), (features**2).sum(0)])[None]  # [1, 2, D]
    if store == "waveform":
        result["scale"] = float(np.abs(waveform).max() / 32767)
        return result | {"data": np.round(waveform / result["scale"]).astype(np.int16)}
    return result | {"data": features.astype(np.float32)}


def _in_order(
    pool: ThreadPoolExecutor, tasks: Iterable[tuple[Callable, int]], max_weight: int
) -> Iterator:
    """Results of tasks in their order.

    What it holds, done and to do, never weighs more than `max_weight` together.
    """
    pending, held = collections.deque(), 0
    try:
        for task, weight in tasks:
            pending.append((pool.submit(task), weight))
            held += weight
            while held >= max_weight:
                future, weight = pending.popleft()
                held -= weight
                yield future.result()
        while pending:
            yield pending.popleft()[0].result()
    finally:
        for future, _ in pending:
            future.cancel()


def _bar(results: Iterable, total: int, progress: bool) -> Iterator:
    from tqdm import tqdm

    disable = None if progress else True
    with tqdm(results, "features", total, unit="clip", disable=disable) as bar:
        yield from bar


def _digest(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


# The set: rows, records, statistics


def _write_set(
    folder: Path,
    entries: dict,
    utterances: list[Utterance],
    head: dict,
    licence: str,
    engine: Engine,
    started: float,
) -> Report:
    """Write the set from the finished shards; `entries` say where an utterance's arrays are."""
    from data_pipelines import records

    rate, store = head["frontend"]["sample_rate"], head["store"]
    rows, skipped = [], []
    for utterance in utterances:
        *_, entry = entries[utterance.id]
        if "reason" in entry:
            skipped.append([str(utterance.path), entry["reason"]])
            continue
        length = entry["samples" if store == "waveform" else "frames"]
        facts = {
            "length": length,
            "frames": entry["frames"],
            "seconds": round(entry["samples"] / rate, 4),
        }
        if licence:
            facts["licence"] = licence
        rows.append(vars(utterance) | {"path": str(utterance.path)} | facts)
    if not rows:
        reason = f"the first: {skipped[0][1]}" if skipped else "there were none"
        raise FeatureError(
            f"no recording of {len(skipped)} could be used, so nothing is written; {reason}"
        )

    places = [(*entries[row["id"]], row) for row in rows]
    num_features = FrontendConfig.from_dict(head["frontend"]).num_features
    width = 2 if store == "waveform" else 4 * num_features
    parts = records.split(places, width * sum(row["length"] for row in rows))
    fields = {"store": store, "num_features": num_features, "labels": list(rows[0]["labels"])}
    folder.mkdir()
    read = functools.partial(_read_examples, store)
    records.write(folder / "records", parts, read, fields, engine)
    moments = np.concatenate([moments for _, moments in _read_arrays(places, "moments")])
    np.save(folder / "moments.npy", moments)  # [clips, 2, D]
    audio_seconds = round(sum(row["seconds"] for row in rows), 3)
    report = Report(len(rows), skipped, audio_seconds, round(time.perf_counter() - started, 2))
    _write_json(folder / "stats.json", _stats(rows, moments))
    _write_json(folder / "report.json", dataclasses.asdict(report))
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    write_head(folder, head)
    return report


def _read_examples(store: str, places: Sequence[tuple[Path, int, dict, dict]]) -> Iterator[dict]:
    """Records of rows, of each the shard, position and entry, and the row itself."""
    for (_, _, entry, row), array in _read_arrays(places, "data"):
        example = {key: row[key] for key in ("id", "speaker", "text", "labels")} | {store: array}
        yield example | ({"scale": entry["scale"]} if store == "waveform" else {})


def _read_arrays(places: Sequence[tuple], name: str) -> Iterator[tuple[tuple, np.ndarray]]:
    """Each place with its array of that name."""
    for shard, group in itertools.groupby(places, lambda place: place[0]):
        arrays = shards.read_arrays(shard, name)
        for place in group:
            yield place, arrays[place[1]]


def _stats(rows: list[dict], moments: np.ndarray) -> dict:
    mean, std = mean_std(sum(row["frames"] for row in rows), *moments.sum(0))
    seconds = np.array([row["seconds"] for row in rows])
    return {
        "clips": len(rows),
        "seconds": {
            name: round(float(getattr(seconds, name)()), 3)
            for name in ("sum", "min", "mean", "max")
        },
        "mean": mean.tolist(),
        "std": std.tolist(),
        "labels": {
            name: _counts(row["labels"][name] for row in rows) for name in rows[0]["labels"]
        },
        "speakers": _counts(row["speaker"] for row in rows),
    }


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(collections.Counter(values).items()))


def _write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _put_in_place(partial: Path, out: Path) -> None:
    """Rename the finished set to its place; an older one goes only then."""
    if out.exists():
        os.replace(out, partial / "set.old")
    durable.replace(partial / "set", out)
    shutil.rmtree(partial)
