"""Bundles that a training goes on from."""

from typing import Any

import jax
import numpy as np

from lin_jax import bundles
from lin_jax.errors import ConfigError


def start_from(bundle: bundles.Bundle, shapes: Any) -> Any:
    """The parameters of a bundle to fine-tune; ConfigError unless they have the given shapes."""
    params = bundle.variables["params"]
    if jax.tree.map(np.shape, params) != jax.tree.map(np.shape, shapes):
        raise ConfigError(
            f"{bundle.name}: another network, or of another size: fine-tune one of the same"
        )
    return params


def parents(init: str) -> list[dict]:
    """The bundles that were fine-tuned, named with commas between, as a card has them."""
    described = (bundles.describe(name) for name in filter(None, init.split(",")))
    kept = ("name", "weights_sha256", "provenance")
    return [{key: parent.get(key) for key in kept} for parent in described]
