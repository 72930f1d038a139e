"""A bundle as a folder, one format for every kind.

bundle.json          what it is: task, network, front end and its fingerprint, what its kind adds,
                     and checksums of itself, of the weights and of what is fused
weights.safetensors  variables, normalisation and what other arrays its kind has, under flat names
README.md            the model card
fused/               another bundle of the kind, where two answer together
encoder/, …          bundles that it names and that do not ship with lin_jax, each by the attribute
                     that names it, so that the folder is whole wherever it is moved
"""

import builtins
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import types
import typing
from collections.abc import Mapping

import numpy as np

from lin_jax import checksums, durable
from lin_jax.bundles.base import Bundle
from lin_jax.bundles.card import render
from lin_jax.bundles.classifier import Classifier
from lin_jax.bundles.flow_synthesizer import FlowSynthesizer  # noqa: F401  a kind within a kind
from lin_jax.bundles.live_repairer import LiveRepairer  # noqa: F401  likewise
from lin_jax.bundles.repairer import Repairer
from lin_jax.bundles.synthesizer import Synthesizer
from lin_jax.bundles.verifier import Verifier
from lin_jax.bundles.vocoder import Vocoder
from lin_jax.errors import BundleError, ConfigError, LinError
from lin_jax.models import registry

FORMAT = 2
PRETRAINED = pathlib.Path(__file__).parents[1] / "pretrained"
# Settings that ask for memory or time, and nothing else holds: (least, most) that a bundle may have.
BOUNDS = {
    "sample_rate": (1_000, 192_000),
    "n_fft": (2, 8192),
    "hop_length": (8, 8192),
    "n_mels": (1, 1024),
    "n_mfcc": (1, 1024),
    "members": (1, 64),
    "window_seconds": (0.05, 120),
    "speeds": (0.5, 2),
    "top": (1, 100_000),
    "iterations": (0, 1000),
    "max_seconds": (0.05, 120),
    "trained_seconds": (0.05, 120),
    "source_mfcc": (1, 1024),
    "shifts": (1, 64),
}
MAX_SETTING = 65_536  # of all others
WITHIN = "./"  # before the name of a bundle that lies within the one that names it
KINDS = {kind.task: kind for kind in (Classifier, Verifier, Repairer, Synthesizer, Vocoder)}


def save(
    folder,
    bundle: Bundle,
    card: str = "",
    *,
    provenance: Mapping | None = None,
    dtype: str = "float32",
) -> pathlib.Path:
    """Write a bundle as a folder, replacing one of that name only once all of it is on the disk.

    Args:
        folder: where to.
        bundle: what to save.
        card: the model card in Markdown, where it is not to be made of the provenance.
        provenance: what it was trained on and how it was evaluated, as `lin_jax.bundles.card` lists
            it: kept in bundle.json, from which the card is then rendered.
        dtype: of the network's parameters, and of the bundle's `rounded`, on the disk: "float32" or
            "float16" (half the size); in memory float32.

    Returns:
        The folder.

    Raises:
        BundleError: the network is not registered, its settings are not JSON, or the disk is full.
    """
    from flax import traverse_util
    from safetensors.numpy import save as to_bytes

    flat = {
        f"variables/{name}": np.asarray(leaf, dtype if name.startswith("params/") else np.float32)
        for name, leaf in traverse_util.flatten_dict(bundle.variables, sep="/").items()
    }
    present = [name for name in bundle.optional_arrays if getattr(bundle, name) is not None]
    arrays = {name: getattr(bundle, name) for name in (*bundle.arrays, *present)}
    flat |= {
        name: np.asarray(value, dtype if name in bundle.rounded else np.float32)
        for name, value in arrays.items()
    }
    weights = to_bytes({name: np.asarray(leaf, order="C") for name, leaf in flat.items()})
    parts = _parts_to_copy(bundle)
    described = {
        "format": FORMAT,
        "task": bundle.task,
        "name": bundle.name,
        "model": _describe(bundle.model),
        "frontend": bundle.frontend.to_dict(),
        "fingerprint": bundle.frontend.fingerprint(),
        **dataclasses.replace(bundle, **{name: WITHIN + name for name in parts}).settings(),
        "parameters": _count(flat),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    if provenance is not None:
        described["provenance"] = dict(provenance)
        card = render(described)
    folder = pathlib.Path(folder)
    part, old = folder.with_name(folder.name + ".part"), folder.with_name(folder.name + ".old")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        (part / "weights.safetensors").write_bytes(weights)
        (part / "README.md").write_text(card, encoding="utf-8")
        if bundle.fused:
            save(part / "fused", bundle.fused, card, provenance=provenance, dtype=dtype)
            described["fused_sha256"] = checksums.of_file(part / "fused" / "bundle.json")
        for name, source in parts.items():
            shutil.copytree(source, part / name)
        (part / "bundle.json").write_text(checksums.to_json(described))
        durable.sync(part)  # before the old one loses its name
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            os.replace(folder, old)
        durable.replace(part, folder)
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
        name_or_path: name of one that ships with lin_jax, such as "emotion", or the folder of
            another.

    Returns:
        The `Bundle` of its kind.

    Raises:
        BundleError: it is missing, damaged, or not of this format.
    """
    import jax
    from flax import traverse_util
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    from lin_jax.audio.frontend import FrontendConfig

    folder = _find(name_or_path)
    described = describe(folder)
    try:
        if described["format"] != FORMAT or described["task"] not in KINDS:
            actual = f"{described['task']} bundle of format {described['format']}"
            raise BundleError(
                f"{folder}: a {actual}, this lin_jax reads {', '.join(KINDS)} of format {FORMAT}; update lin_jax"
            )
        weights = (folder / "weights.safetensors").read_bytes()
        if hashlib.sha256(weights).hexdigest() != described["weights_sha256"]:
            raise BundleError(
                f"{folder}: weights.safetensors is damaged or of another bundle; copy the folder again"
            )
        _check_bounds(described)
        # Where JAX would put them, so that it takes them without a copy.
        flat = {
            name: np.asarray(jax.device_put(leaf.astype(np.float32)))
            for name, leaf in from_bytes(weights).items()
        }
        model = _build(described["model"])
        kind = KINDS[described["task"]].kind_for(model)
        frontend = FrontendConfig.from_dict(described["frontend"])
        if frontend.fingerprint() != described["fingerprint"]:
            raise BundleError(
                f"{folder}: bundle.json's front end was changed after training; copy the folder again"
            )
        variables = {
            name[len("variables/") :]: leaf
            for name, leaf in flat.items()
            if name.startswith("variables/")
        }
        fused = {}
        if "fused_sha256" in described:
            if checksums.of_file(folder / "fused" / "bundle.json") != described["fused_sha256"]:
                raise BundleError(f"{folder}: fused/ is of another bundle; copy the folder again")
            fused = {"fused": load(folder / "fused")}
        bundle = kind.from_settings(
            described,
            **fused,
            name=described["name"],
            model=model,
            frontend=frontend,
            variables=traverse_util.unflatten_dict(variables, sep="/"),
            **{name: flat[name] for name in kind.arrays},
            **{name: flat[name] for name in kind.optional_arrays if name in flat},
        )
        _check_types(bundle)
        for name in bundle.parts:
            if getattr(bundle, name).startswith(WITHIN):
                setattr(bundle, name, str(folder.resolve() / name))
        if described["parameters"] != _count(flat):
            raise ValueError("the weights have another number of parameters")
        return bundle
    except KeyError as error:
        raise BundleError(
            f"{folder}: bundle.json or weights lack {error}; copy the folder again"
        ) from None
    except BundleError:
        raise
    except (OSError, ValueError, TypeError, LinError, SafetensorError) as error:
        raise BundleError(
            f"{folder}: cannot be read ({str(error).splitlines()[0]}); copy the folder again"
        ) from None


Bundle.load = staticmethod(load)


def shipped() -> dict[str, pathlib.Path]:
    """The bundles that ship with lin_jax: name to folder, in the order of the names."""
    return {path.parent.name: path.parent for path in sorted(PRETRAINED.glob("*/bundle.json"))}


def describe(name_or_path) -> dict:
    """The content of a bundle's bundle.json; BundleError if it is missing or was changed."""
    path = _find(name_or_path) / "bundle.json"
    try:
        return checksums.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise BundleError(
            f"{path}: damaged or changed ({reason}); copy the folder again, or save it again"
        ) from None


def read_card(name_or_path) -> str:
    """The model card of a bundle as Markdown; BundleError if the bundle or its card is missing."""
    path = _find(name_or_path) / "README.md"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise BundleError(f"{path}: the model card cannot be read; copy the folder again") from None


def _find(name_or_path) -> pathlib.Path:
    """The folder of a bundle that is there."""
    known = shipped()
    try:
        folder = known.get(str(name_or_path)) or pathlib.Path(name_or_path)
        there = (folder / "bundle.json").is_file()
    except (TypeError, ValueError, OSError):
        there = False
    if not there:
        name = " ".join(str(name_or_path).split())[:200]
        names = f"one of {', '.join(known)}" if known else "none ships with this build"
        raise BundleError(
            f"{name}: no bundle here; give a folder with a bundle.json, or a name ({names})"
        )
    return folder


def _parts_to_copy(bundle: Bundle) -> dict[str, pathlib.Path]:
    """The folders of the bundles that a bundle names, by attribute; not of those that ship."""
    names = {part: name for part in bundle.parts if (name := getattr(bundle, part))}
    return {
        part: pathlib.Path(name)
        for part, name in names.items()
        if name not in shipped() and pathlib.Path(name, "bundle.json").is_file()
    }


def _describe(model) -> dict:
    """A network by its registered name and settings; what JSON cannot hold, such as a dtype, must be the default."""
    name = type(model).__name__
    if registry.NETWORKS.get(name) is not type(model):
        raise BundleError(
            f"{name}: not a known network; register it with lin_jax.models.registry.register"
        )
    kwargs = {}
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        if field.name in ("parent", "name"):
            continue
        try:
            kwargs[field.name] = json.loads(json.dumps(value))
        except TypeError:
            if value != field.default:
                raise BundleError(
                    f"{name}: {field.name} does not fit in JSON; use numbers, words and lists"
                ) from None
    return {"name": name, "kwargs": kwargs}


def _count(flat) -> int:
    """Parameters of the network among named arrays."""
    return sum(leaf.size for name, leaf in flat.items() if name.startswith("variables/params/"))


def _check_bounds(described):
    """Raises BundleError if a setting is none that a network or front end can have."""
    free = ("provenance", "parameters")
    for name, number in _numbers({k: v for k, v in described.items() if k not in free}):
        low, high = BOUNDS.get(name, (-MAX_SETTING, MAX_SETTING))
        if not low <= number <= high:  # nor if it is NaN
            raise BundleError(
                f"{described['name']}: {name} is {number}, where {low} to {high} can be; "
                "use a bundle that you trust"
            )


def _numbers(value, name=""):
    """The numbers in a JSON value, each with the name that it has."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _numbers(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item, name)
    elif isinstance(value, int | float):
        yield name, value


def _check_types(part):
    """Raises TypeError unless all fields of a dataclass, read from a file, are of their types."""
    hints = typing.get_type_hints(type(part))
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        if dataclasses.is_dataclass(value) and field.name != "parent":
            _check_types(value)
        elif not _fits(value, hints[field.name]):
            raise TypeError(f"{field.name} is {str(value)[:40]!r}, not {hints[field.name]}")


def _fits(value, hint) -> bool:
    """Whether a value is of a type, as far as JSON can tell."""
    options = typing.get_args(hint)
    match typing.get_origin(hint) or hint:
        case types.UnionType | typing.Union:
            return any(_fits(value, option) for option in options)
        case typing.Literal:
            return value in options
        case builtins.tuple:
            item = options[0] if options else typing.Any
            return isinstance(value, tuple) and all(_fits(part, item) for part in value)
        case builtins.float:
            return isinstance(value, int | float) and not isinstance(value, bool)
        case builtins.int:
            return type(value) is int
        case builtins.bool | builtins.str | builtins.dict | types.NoneType as kind:
            return isinstance(value, kind)
    return True


def _build(described: dict):
    """The network that `_describe` described."""
    try:
        network = registry.find(described["name"])
    except ConfigError as error:
        raise BundleError(f"{error}; or update lin_jax") from None
    kwargs = dict(described["kwargs"]).items()
    return network(**{name: _frozen(value) for name, value in kwargs})


def _frozen(value):
    """JSON's lists as the tuples they were: a Linen module must be hashable."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
