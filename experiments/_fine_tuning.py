"""Bundles that a training goes on from."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from lin_jax import bundles
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
