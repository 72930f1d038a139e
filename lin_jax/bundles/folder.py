"""A bundle as a folder, one format for every kind.

bundle.json          what it is: task, network, front end and its fingerprint, and what its kind adds
weights.safetensors  variables, normalisation and what other arrays its kind has, under flat names
README.md            the model card
fused/               another bundle of the kind, where two answer together
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Mapping

import numpy as np

from lin_jax.bundles.base import Bundle
from lin_jax.bundles.card import render
from lin_jax.bundles.classifier import Classifier
from lin_jax.bundles.flow_synthesizer import FlowSynthesizer  # noqa: F401  a kind within a kind
from lin_jax.bundles.repairer import Repairer
from lin_jax.bundles.synthesizer import Synthesizer
from lin_jax.bundles.verifier import Verifier
from lin_jax.bundles.vocoder import Vocoder
from lin_jax.errors import BundleError, ConfigError
from lin_jax.models import registry

FORMAT = 2
PRETRAINED = pathlib.Path(__file__).parents[1] / "pretrained"
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
        The folder; BundleError if the network is not registered, its settings are not JSON, or the
        disk is full.
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
    described = {
        "format": FORMAT,
        "task": bundle.task,
        "name": bundle.name,
        "model": _describe(bundle.model),
        "frontend": bundle.frontend.to_dict(),
        "fingerprint": bundle.frontend.fingerprint(),
        **bundle.settings(),
        "parameters": sum(
            leaf.size for name, leaf in flat.items() if name.startswith("variables/params/")
        ),
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
        (part / "bundle.json").write_text(json.dumps(described, indent=2) + "\n")
        (part / "weights.safetensors").write_bytes(weights)
        (part / "README.md").write_text(card, encoding="utf-8")
        if bundle.fused:
            save(part / "fused", bundle.fused, card, provenance=provenance, dtype=dtype)
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
        name_or_path: name of one that ships with lin_jax, such as "emotion", or the folder of
            another.

    Returns:
        The `Bundle` of its kind; BundleError if it is missing, damaged, or not of this format.
    """
    from flax import traverse_util
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    from lin_jax.audio.frontend import FrontendConfig

    folder = _find(name_or_path)
    try:
        described = json.loads((folder / "bundle.json").read_text())
        if described["format"] != FORMAT or described["task"] not in KINDS:
            found = f"{described['task']} bundle of format {described['format']}"
            raise BundleError(
                f"{folder}: a {found}, this lin_jax reads {', '.join(KINDS)} of format {FORMAT}; update lin_jax"
            )
        weights = (folder / "weights.safetensors").read_bytes()
        if hashlib.sha256(weights).hexdigest() != described["weights_sha256"]:
            raise BundleError(
                f"{folder}: weights.safetensors is damaged or of another bundle; copy the folder again"
            )
        flat = {name: leaf.astype(np.float32) for name, leaf in from_bytes(weights).items()}
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
        fused = {"fused": load(folder / "fused")} if (folder / "fused").exists() else {}
        return kind.from_settings(
            described,
            **fused,
            name=described["name"],
            model=model,
            frontend=frontend,
            variables=traverse_util.unflatten_dict(variables, sep="/"),
            **{name: flat[name] for name in kind.arrays},
            **{name: flat[name] for name in kind.optional_arrays if name in flat},
        )
    except KeyError as error:
        raise BundleError(
            f"{folder}: bundle.json or weights lack {error}; copy the folder again"
        ) from None
    except (OSError, ValueError, TypeError, ConfigError, SafetensorError) as error:
        raise BundleError(
            f"{folder}: cannot be read ({str(error).splitlines()[0]}); copy the folder again"
        ) from None


Bundle.load = staticmethod(load)


def shipped() -> dict[str, pathlib.Path]:
    """The bundles that ship with lin_jax: name to folder, in the order of the names."""
    return {path.parent.name: path.parent for path in sorted(PRETRAINED.glob("*/bundle.json"))}


def describe(name_or_path) -> dict:
    """The content of a bundle's bundle.json; BundleError if it is missing or cannot be read."""
    path = _find(name_or_path) / "bundle.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise BundleError(f"{path}: cannot be read; copy the folder again") from None


def read_card(name_or_path) -> str:
    """The model card of a bundle as Markdown; BundleError if the bundle or its card is missing."""
    path = _find(name_or_path) / "README.md"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise BundleError(f"{path}: the model card cannot be read; copy the folder again") from None


def _find(name_or_path) -> pathlib.Path:
    """The folder of a bundle that is there."""
    found = shipped()
    folder = found.get(str(name_or_path), pathlib.Path(name_or_path))
    if not (folder / "bundle.json").is_file():
        names = f"one of {', '.join(found)}" if found else "none ships with this build"
        raise BundleError(
            f"{name_or_path}: no bundle here; give a folder with a bundle.json, or a name ({names})"
        )
    return folder


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


def _build(described: dict):
    """The network that `_describe` told of."""
    try:
        network = registry.find(described["name"])
    except ConfigError as error:
        raise BundleError(f"{error}; or update lin_jax") from None
    return network(**{name: _frozen(value) for name, value in described["kwargs"].items()})


def _frozen(value):
    """JSON's lists as the tuples they were: a Linen module must be hashable."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
