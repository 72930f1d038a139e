"""Shards: what a run has finished, kept until the set is written, so that a stop costs little.

A shard is one .npz file, written whole or not at all: "entries" (JSON, one for each utterance) and,
of those that were not skipped, "data" and "moments", each joined along the first axis. An entry
holds the id, its source, and either a reason or sizes, "rows" being those of its data.
"""

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np

from data_pipelines.corpora import Utterance
from lin_jax import durable
from lin_jax.errors import FeatureError

ARRAYS = ("data", "moments")
LAYOUT = 2  # of a shard; what a version with another one left is not used


def open_folder(folder: Path, head: dict) -> list[Path]:
    """Shards that a stopped run with the same front end and store left, oldest first.

    Makes the folder when missing.
    """
    mark = folder / "head.json"
    wanted = json.dumps({key: head[key] for key in ("fingerprint", "store")} | {"layout": LAYOUT})
    if folder.exists() and not (mark.exists() and mark.read_text() == wanted):
        if any(folder.iterdir()) and not mark.exists():
            raise FeatureError(
                f"{folder}: in the way of what is to be written: move it or choose another folder"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(wanted)
    for leftover in folder.glob("set*"):
        shutil.rmtree(leftover)
    return [shard for shard in finished(folder) if _is_whole(shard)]


def finished(folder: Path) -> list[Path]:
    """The shards of a folder in the order of their numbers."""
    return sorted(folder.glob("*.npz"))


def write(folder: Path, number: int, results: list[dict], sources: dict[str, list]) -> None:
    """Write the results of a few utterances as the shard of a number."""
    used = [result for result in results if "data" in result]
    arrays = {name: np.concatenate([result[name] for result in used]) for name in ARRAYS if used}
    entries = [
        {key: value for key, value in result.items() if key not in ARRAYS} for result in results
    ]
    for entry, result in zip(entries, results, strict=True):
        entry |= {"source": sources[entry["id"]], "rows": len(result.get("data", ()))}
    path = folder / f"{number:06d}.npz"
    part = path.with_suffix(f".{os.getpid()}")
    with part.open("wb") as file:
        np.savez(file, entries=np.array(json.dumps(entries)), **arrays)
    durable.replace(part, path)


def read_current(paths: list[Path], sources: dict[str, list]) -> dict[str, tuple[Path, int, dict]]:
    """By id, the shard, position and entry of each utterance.

    Results of recordings that changed since do not count.
    """
    current = {}
    for path in paths:
        for position, entry in enumerate(_entries(path)):
            if sources.get(entry["id"]) == entry["source"]:
                current[entry["id"]] = path, position, entry
    return current


def read_arrays(shard: Path, name: str) -> dict[int, np.ndarray]:
    """By position, one of `ARRAYS` of each utterance that was not skipped."""
    used = {
        position: entry["rows"]
        for position, entry in enumerate(_entries(shard))
        if "reason" not in entry
    }
    sizes = {"data": list(used.values()), "moments": [1] * len(used)}[name]
    with np.load(shard) as file:
        arrays = np.split(file[name], np.cumsum(sizes)[:-1])
    return dict(zip(used, arrays, strict=True))


def source(utterance: Utterance) -> list:
    """What tells that a recording was replaced: path, size and time."""
    try:
        stat = os.stat(utterance.path)
    except OSError:
        return [str(utterance.path), -1, -1]
    return [str(utterance.path), stat.st_size, stat.st_mtime_ns]


def _entries(shard: Path) -> list[dict]:
    with np.load(shard) as file:
        return json.loads(str(file["entries"]))


def _is_whole(shard: Path) -> bool:
    """Whether a shard is as it was written; one that a power failure cut short is removed."""
    try:
        with zipfile.ZipFile(shard) as file:
            if file.testzip() is not None:
                raise zipfile.BadZipFile
        _entries(shard)
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile):
        shard.unlink()
        return False
    return True
