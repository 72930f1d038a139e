"""A corpus that lies on the devices while a network is trained on it: packed from a feature set.

N clips, S speakers.
"""

import sys
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from data_pipelines.feature_set import FeatureSet
from data_pipelines.transforms import LENGTH_KEY
from lin_jax.errors import ConfigError
from lin_jax.training.resident import Ragged, Resident, Sampler

CHOICES = ("auto", "always", "never")
SHARE = 0.25  # of a device's memory that a corpus may take


def wanted(choice: str, feature_set: FeatureSet, indices: np.ndarray) -> bool:
    """Whether some clips are to lie on the devices; prints why, where training begins.

    Args:
        choice: "always", "never", or "auto": where training runs on an accelerator of which they
            take at most a quarter of the memory.
        feature_set: where they are.
        indices: which of them.

    Raises:
        ConfigError: another choice.
    """
    if choice not in CHOICES:
        raise ConfigError(f"unknown resident {choice!r}: choose one of {', '.join(CHOICES)}")
    if choice != "auto":
        return choice == "always"
    stats = jax.local_devices()[0].memory_stats() if jax.default_backend() != "cpu" else None
    if not stats or "bytes_limit" not in stats:
        return False
    size, room = _nbytes(feature_set, indices), SHARE * stats["bytes_limit"]
    if size > room:
        _report(
            f"{size / 1e9:.1f} GB of clips are streamed: a device has {room / 1e9:.1f} GB for them"
        )
    return size <= room


def pack(
    feature_set: FeatureSet,
    indices: np.ndarray,
    labels: Sequence[int] | None,
    sampler: Sampler,
) -> Resident:
    """Pack some clips into flat arrays to draw training batches from.

    Waveforms are kept as int16 with a scale, features as float16, and functionals, whose range is
    larger, as float32.

    Args:
        feature_set: where the clips are.
        indices: which of them [N]; one that comes several times is kept once.
        labels: [len(feature_set)] class of every clip; None gives -1.
        sampler: which of the N a step trains on.

    Returns:
        A corpus whose batches are as those of `loaders.make_loader`.

    Raises:
        ConfigError: too many clips for a device.
        FeatureError: the feature set is broken.
    """
    key, (unique, rows) = feature_set.store, np.unique(indices, return_inverse=True)
    waveforms = key == "waveform"
    shape = () if waveforms else (feature_set.frontend.num_features,)
    clips = Ragged.allocate(feature_set.lengths[unique], shape, _dtype(feature_set))
    scale = np.ones(len(unique), np.float32)
    for row, value in enumerate(_values(feature_set, unique.tolist())):
        if waveforms:
            scale[row] = np.abs(value).max(initial=np.finfo(np.float32).tiny) / 32767
            value = np.round(value / scale[row])
        clips.view(row)[:] = value
    clips = clips.replace(
        starts=clips.starts[rows],
        lengths=clips.lengths[rows],
        scale=scale[rows] if waveforms else None,
    )
    classes = np.full(len(feature_set), -1) if labels is None else np.asarray(labels)
    speakers, _ = feature_set.labels("speaker")
    columns = {
        "label": classes[indices].astype(np.int32),
        "speaker": speakers[indices],
        "index": indices.astype(np.int32),
    }
    resident = Resident({key: clips}, {key: LENGTH_KEY[key]}, columns, sampler)
    _report(f"{len(unique)} clips lie on each device, {resident.nbytes / 1e6:.1f} MB")
    return resident


def _values(feature_set: FeatureSet, indices: list[int]) -> Iterator[np.ndarray]:
    """The arrays of some clips, read by the hundred."""
    for start in range(0, len(indices), 100):
        for clip in feature_set.read(indices[start : start + 100]):
            yield clip[feature_set.store]


def _nbytes(feature_set: FeatureSet, indices: np.ndarray) -> int:
    width = 1 if feature_set.store == "waveform" else feature_set.frontend.num_features
    frames = feature_set.lengths[np.unique(indices)].sum(dtype=np.int64)
    return int(frames) * width * np.dtype(_dtype(feature_set)).itemsize


def _dtype(feature_set: FeatureSet) -> type:
    if feature_set.store == "waveform":
        return np.int16
    return np.float32 if feature_set.frontend.feature == "functionals" else np.float16


def _report(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
