"""A bundle: a trained model ready for use, as a folder that needs neither Orbax, Grain nor pickle.

    bundle.json          what it is: task, labels, network, front end and its fingerprint, calibration, window
    weights.safetensors  variables and normalisation of its members, under flat names; a leading axis when members > 1
    README.md            the model card

Shape letters: B windows, N samples, D features, C classes.
"""

import dataclasses
import functools
import hashlib
import importlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np

from lin_jax.errors import AudioError, BundleError, ConfigError

FORMAT = 1
PRETRAINED = pathlib.Path(__file__).parent / "pretrained"
# The networks a bundle may name and where each lives; a name read from a file is never imported as it stands.
NETWORKS = dict.fromkeys(("ResidualClassifier", "DenseResidualClassifier"), "lin_jax.models.residual_classifier")
# A recording up to this long is read whole; a longer one window by window, so that memory stays constant.
WHOLE_SECONDS = 60.0
# Windows go through the network in batches of these sizes and no other, so that nothing else is ever compiled.
BATCHES = (1, 2, 8)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a classifier hears in a recording: a label, every label's probability, and its length in seconds."""

    label: str
    probabilities: dict[str, float]
    seconds: float


@dataclasses.dataclass(frozen=True)
class Segment:
    """What a classifier hears from `start` to `end` seconds; in silence `label` is None and `probabilities` empty."""

    start: float
    end: float
    label: str | None
    probabilities: dict[str, float]


@dataclasses.dataclass(eq=False)
class Bundle:
    """A trained classifier with all it takes to use it.

    Attributes:
      name: short name, such as "emotion".
      labels: name of each class (C), in the order of the logits.
      model: Linen network, `model.apply(variables, features, num_frames, train=False)` → logits [B, C].
      frontend: the `FrontendConfig` it was trained with.
      variables: its Flax collections, with a leading member axis when `members` > 1.
      mean: of each feature over the training frames [D], or [members, D].
      std: its standard deviation, shaped alike.
      members: number of networks whose probabilities are averaged.
      temperature: what logits are divided by, so that a probability is how often it is right (Guo et al., 2017).
      views: (tempo, frequency), the `view_tempo` and `view_frequency` of `ClassificationConfig`.
      window_seconds: length of the windows in which a recording is heard.
    """

    name: str
    labels: tuple[str, ...]
    model: Any
    frontend: Any
    variables: dict
    mean: np.ndarray
    std: np.ndarray
    members: int = 1
    temperature: float = 1.0
    views: tuple[float, float] = (0.0, 0.0)
    window_seconds: float = 3.0

    def predict(self, source, sample_rate: int | None = None) -> Prediction:
        """Classify a recording: the mean over its half-overlapping windows and over the members.

        Args:
          source: path of an audio file, or a waveform [N] or [N, channels].
          sample_rate: of a waveform, in Hz; not used for a path.

        Returns:
          A `Prediction`; AudioError if the recording cannot be read, is silent, or is shorter than one frame.
        """
        from lin_jax.audio import files

        rate = self._rate(source, sample_rate)
        seconds = files.duration(source) if _is_path(source) else len(source) / rate
        if seconds > WHOLE_SECONDS:
            heard = [list(segment.probabilities.values()) for segment in self.timeline(source, rate) if segment.label]
            if not heard:
                raise AudioError(f"{source}: silent throughout; record it again or leave it out")
            return Prediction(*self._named(np.mean(heard, axis=0)), seconds)
        samples = files.load(source, self.frontend, sample_rate=rate)
        size = self._window
        count = 1 + max(0, -(-(len(samples) - size) // (size // 2)))
        starts = np.linspace(0, max(0, len(samples) - size), count).astype(int)
        rows = self._probabilities([samples[start : start + size] for start in starts])
        return Prediction(*self._named(rows.mean(axis=0)), seconds)

    def timeline(self, source, sample_rate: int | None = None) -> Iterator[Segment]:
        """Classify a recording of any length window by window, in constant memory.

        Args:
          source: path of an audio file, or a waveform [N] or [N, channels].
          sample_rate: of a waveform, in Hz; not used for a path.

        Yields:
          A `Segment` for each window, without gaps; the last is as short as the recording makes it, but is heard
          together with what came before. AudioError as for `predict`, at the window where the fault is met.
        """
        from lin_jax.audio import files

        rate = self._rate(source, sample_rate)
        size = round(self.window_seconds * rate)
        name = str(source) if _is_path(source) else "samples"
        if _is_path(source):
            blocks = files.stream(source, rate, block_seconds=self.window_seconds)
        else:
            blocks = (source[i : i + size] for i in range(0, len(source), size))
        start, before, spans, windows = 0, None, [], []
        for block in blocks:
            end = start + len(block)
            silent = np.abs(block).max() < files.SILENCE
            spans.append((start / rate, end / rate, silent))
            if not silent:
                heard = block if before is None else np.concatenate([before, block])[-size:]
                files.check(heard, name, min_samples=self.frontend.win_length)
                windows.append(files.load(heard, self.frontend, sample_rate=rate))
            start, before = end, block
            if len(spans) == BATCHES[-1]:
                yield from self._segments(spans, windows)
                spans, windows = [], []
        yield from self._segments(spans, windows)

    def _segments(self, spans, windows) -> Iterator[Segment]:
        rows = iter(self._probabilities(windows))
        for start, end, silent in spans:
            yield Segment(start, end, *((None, {}) if silent else self._named(next(rows))))

    def _probabilities(self, windows: list[np.ndarray]) -> np.ndarray:
        """Class probabilities [B, C] of B waveforms, each at the front end's rate and at most one window long."""
        from flax.errors import FlaxError

        rows = np.zeros((len(windows), len(self.labels)))
        for start in range(0, len(windows), BATCHES[-1]):
            chunk = windows[start : start + BATCHES[-1]]
            size = next(size for size in BATCHES if size >= len(chunk))
            waveform = np.zeros((size, self._window), np.float32)
            length = np.full(size, self._window, np.int32)
            for i, samples in enumerate(chunk):
                waveform[i, : len(samples)], length[i] = samples, len(samples)
            try:
                members = [self._forward(member, waveform, length) for member in self._members]
            except (FlaxError, TypeError) as error:
                reason = str(error).splitlines()[0]
                raise BundleError(f"{self.name}: weights do not fit the network ({reason}); save it again") from None
            rows[start : start + len(chunk)] = np.mean(members, axis=0)[: len(chunk)]
        return rows

    def _named(self, row: np.ndarray) -> tuple[str, dict[str, float]]:
        return self.labels[int(row.argmax())], dict(zip(self.labels, row.tolist(), strict=True))

    def _rate(self, source, sample_rate) -> int:
        if _is_path(source):
            return self.frontend.sample_rate
        if not sample_rate:
            raise AudioError("samples: the sample rate is unknown; pass sample_rate=")
        return sample_rate

    @property
    def _window(self) -> int:
        return round(self.window_seconds * self.frontend.sample_rate)

    @functools.cached_property
    def _members(self) -> list:
        """The members one by one: calling one network many times is faster than a `vmap` over convolution weights."""
        import jax

        tree = (self.variables, self.mean, self.std)
        if self.members == 1:
            return [jax.device_put(tree)]
        return [jax.device_put(jax.tree.map(lambda leaf, i=i: leaf[i], tree)) for i in range(self.members)]

    @functools.cached_property
    def _forward(self):
        import jax

        from lin_jax.tasks.classification import Classification, ClassificationConfig

        config = ClassificationConfig(view_tempo=self.views[0], view_frequency=self.views[1])

        @jax.jit
        def forward(member, waveform, length):  # [B, N], [B] -> [B, C]
            variables, mean, std = member
            # Its training task is asked, so that serving cannot drift from training.
            task = Classification(self.model, self.labels, self.frontend, mean, std, config)
            logits = task.predict(variables, {"waveform": waveform, "length": length})["logits"]
            return jax.nn.softmax(logits / self.temperature)

        return forward


def save(folder, bundle: Bundle, card: str, *, dtype: str = "float32") -> pathlib.Path:
    """Write a bundle as a folder, replacing one of that name only once all of it is on the disk.

    Args:
      folder: where to.
      bundle: what to save.
      card: the model card in Markdown: what it is for, what it was trained on, how it was measured, its licence.
      dtype: of the network's parameters on the disk, "float32" or "float16" (half the size); in memory float32.

    Returns:
      The folder; BundleError if the network is unknown to `NETWORKS`, its settings are not JSON, or the disk is full.
    """
    from flax import traverse_util
    from safetensors.numpy import save as to_bytes

    flat = {
        f"variables/{name}": np.asarray(leaf, dtype if name.startswith("params/") else np.float32)
        for name, leaf in traverse_util.flatten_dict(bundle.variables, sep="/").items()
    }
    flat |= {"mean": np.asarray(bundle.mean, np.float32), "std": np.asarray(bundle.std, np.float32)}
    weights = to_bytes({name: np.ascontiguousarray(leaf) for name, leaf in flat.items()})
    described = {
        "format": FORMAT,
        "task": "classification",
        "name": bundle.name,
        "labels": list(bundle.labels),
        "model": _describe(bundle.model),
        "frontend": bundle.frontend.to_dict(),
        "fingerprint": bundle.frontend.fingerprint(),
        "members": bundle.members,
        "calibration": {"temperature": bundle.temperature},
        "views": list(bundle.views),
        "window_seconds": bundle.window_seconds,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    folder = pathlib.Path(folder)
    part, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        (part / "bundle.json").write_text(json.dumps(described, indent=2) + "\n")
        (part / "weights.safetensors").write_bytes(weights)
        (part / "README.md").write_text(card)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        os.replace(part, folder)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        raise BundleError(
            f"{folder}: cannot be written ({error.strerror}); free space or choose another place"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def load(name_or_path) -> Bundle:
    """Load a bundle.

    Args:
      name_or_path: name of one that ships with lin_jax, such as "emotion", or the folder of another.

    Returns:
      The `Bundle`; BundleError if it is missing, damaged, or not of this format.
    """
    from flax import traverse_util
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    from lin_jax.audio.frontend import FrontendConfig

    shipped = {path.parent.name: path.parent for path in sorted(PRETRAINED.glob("*/bundle.json"))}
    folder = shipped.get(str(name_or_path), pathlib.Path(name_or_path))
    if not (folder / "bundle.json").is_file():
        names = f"one of {', '.join(shipped)}" if shipped else "none ships with this build"
        raise BundleError(f"{name_or_path}: no bundle here; give a folder with a bundle.json, or a name ({names})")
    try:
        described = json.loads((folder / "bundle.json").read_text())
        if described["format"] != FORMAT or described["task"] != "classification":
            found = f"{described['task']} bundle of format {described['format']}"
            raise BundleError(
                f"{folder}: a {found}, this lin_jax reads classification of format {FORMAT}; update lin_jax"
            )
        weights = (folder / "weights.safetensors").read_bytes()
        if hashlib.sha256(weights).hexdigest() != described["weights_sha256"]:
            raise BundleError(f"{folder}: weights.safetensors is damaged or of another bundle; copy the folder again")
        flat = {name: leaf.astype(np.float32) for name, leaf in from_bytes(weights).items()}
        frontend = FrontendConfig.from_dict(described["frontend"])
        if frontend.fingerprint() != described["fingerprint"]:
            raise BundleError(f"{folder}: bundle.json's front end was changed after training; copy the folder again")
        variables = {name[len("variables/") :]: leaf for name, leaf in flat.items() if name.startswith("variables/")}
        return Bundle(
            name=described["name"],
            labels=tuple(described["labels"]),
            model=_build(described["model"]),
            frontend=frontend,
            variables=traverse_util.unflatten_dict(variables, sep="/"),
            mean=flat["mean"],
            std=flat["std"],
            members=described["members"],
            temperature=described["calibration"]["temperature"],
            views=tuple(described["views"]),
            window_seconds=described["window_seconds"],
        )
    except KeyError as error:
        raise BundleError(f"{folder}: bundle.json or weights lack {error}; copy the folder again") from None
    except (OSError, ValueError, TypeError, ConfigError, SafetensorError) as error:
        raise BundleError(f"{folder}: cannot be read ({str(error).splitlines()[0]}); copy the folder again") from None


def _describe(model) -> dict:
    """A network by its registered name and settings; what JSON cannot hold, such as a dtype, must be the default."""
    name = type(model).__name__
    if name not in NETWORKS:
        raise BundleError(f"{name}: not a network bundles know; register it in lin_jax.bundles.NETWORKS")
    kwargs = {}
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        if field.name in ("parent", "name"):
            continue
        try:
            kwargs[field.name] = json.loads(json.dumps(value))
        except TypeError:
            if value != field.default:
                raise BundleError(f"{name}: {field.name} does not fit in JSON; use numbers, words and lists") from None
    return {"name": name, "kwargs": kwargs}


def _build(described: dict):
    if described["name"] not in NETWORKS:
        raise BundleError(f"network {described['name']} is unknown to this lin_jax; update lin_jax")
    network = getattr(importlib.import_module(NETWORKS[described["name"]]), described["name"])
    return network(**{name: _frozen(value) for name, value in described["kwargs"].items()})


def _frozen(value):
    """JSON's lists as the tuples they were: a Linen module must be hashable."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _is_path(source) -> bool:
    return isinstance(source, str | os.PathLike)
