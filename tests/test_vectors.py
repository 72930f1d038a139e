"""Vectors of length one."""

import jax.numpy as jnp
import numpy as np

from lin_jax import vectors

X = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)


def test_unit_vectors_have_length_one_on_host_and_device():
    unit = vectors.unit_vectors(X)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit, axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(vectors.unit_norm(jnp.asarray(X)), unit, rtol=1e-5)
    assert not vectors.unit_vectors(np.zeros((2, 3)), min_norm=1e-9).any()


def test_mean_direction_is_that_of_the_sum():
    mean = vectors.mean_direction(X[0])
    np.testing.assert_allclose(mean, X[0].sum(0) / np.linalg.norm(X[0].sum(0)), rtol=1e-5)
