"""Directions: vectors scaled to length one, by NumPy on the host and by JAX inside a network."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


def unit_vectors(x: np.ndarray, min_norm: float = 0.0) -> np.ndarray:
    """Vectors [..., E] scaled to length one.

    Args:
        x: vectors [..., E].
        min_norm: shorter ones are divided by this instead of by their length.

    Returns:
        [..., E] of the type of x; NaN for a vector of zeros unless `min_norm` is above 0.
    """
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), min_norm)


def mean_direction(vectors: ArrayLike) -> np.ndarray:
    """Direction of the sum of vectors [B, E]: a float64 unit vector [E]."""
    total = np.asarray(vectors).sum(axis=0, dtype=np.float64)
    return total / np.linalg.norm(total)


def unit_norm(x: jax.Array) -> jax.Array:
    """Vectors [..., E] scaled to length one on device, with a gradient that is finite at zero."""
    return x / jnp.sqrt(jnp.maximum(jnp.sum(x**2, axis=-1, keepdims=True), 1e-12))
