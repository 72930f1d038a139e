"""Bundles that a training goes on from."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lin_jax import bundles
from lin_jax.bundles.flow_synthesizer import FlowSynthesizer
from lin_jax.errors import ConfigError
from lin_jax.tasks.synthesis import Synthesis


def start_from(bundle: bundles.Bundle, shapes: Any) -> Any:
    """The parameters of a bundle to fine-tune; ConfigError unless they have the given shapes."""
    params = bundle.variables["params"]
    if jax.tree.map(np.shape, params) != jax.tree.map(np.shape, shapes):
        raise ConfigError(
            f"{bundle.name}: another network, or of another size: fine-tune one of the same"
        )
    return params


def what_fits(bundle: bundles.Synthesizer, drawn: dict[str, Any]) -> dict[str, Any]:
    """Parameters of an `AcousticModel`, of a bundle where it has them and they have the same size.

    Of another network they are those of symbols and text encoder.

    Args:
        bundle: what is gone on from.
        drawn: parameters by their parts, of which the others stay.
    """
    params, known = dict(drawn), dict(bundle.variables["params"])
    parts = list(params)
    rows = known.get("symbols", {}).get("embedding")
    if rows is not None and rows.shape[1:] == params["symbols"]["embedding"].shape[1:]:
        # New symbols, of another language, have the last numbers.
        new = params["symbols"]["embedding"][len(rows) :]
        known["symbols"] = {"embedding": np.concatenate([rows, new])}
    if not isinstance(bundle, FlowSynthesizer):
        parts, known["encoder"] = ["symbols", "encoder"], known.get("text_encoder")
    for name in parts:
        if jax.tree.map(np.shape, known.get(name)) == jax.tree.map(np.shape, params[name]):
            params[name] = known[name]
        else:
            print(f"note: {name} starts at random: {bundle.name} has none of this size")
    return params


def with_postnet(bundle: bundles.Synthesizer, postnet: Sequence[int]) -> bundles.Synthesizer:
    """A synthesizer with attention that has another post-net, which changes nothing at first.

    Args:
        bundle: what everything else is taken from.
        postnet: widths of the convolutions; none leaves a linear map of each frame.
    """
    network = bundle.model.clone(postnet=tuple(postnet))
    given = bundle.frontend, bundle.mean, bundle.std, bundle.voices.shape[1], bundle.sources
    drawn = Synthesis(network, *given).init(jax.random.key(0))["params"]
    known = {
        name: part
        for name, part in bundle.variables["params"].items()
        if name not in ("postnet_layers", "to_residual")
    }
    params = {name: known.get(name, part) for name, part in drawn.items()}
    return dataclasses.replace(bundle, model=network, variables={"params": params})


def parents(init: str) -> list[dict]:
    """The bundles that were fine-tuned, named with commas between, as a card has them."""
    described = (bundles.describe(name) for name in filter(None, init.split(",")))
    kept = ("name", "weights_sha256", "provenance")
    return [{key: parent.get(key) for key in kept} for parent in described]
