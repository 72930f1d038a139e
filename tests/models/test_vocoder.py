"""The networks of the vocoder.

What they leave alone, and that padding and company change nothing.
"""

import jax
import jax.numpy as jnp
import numpy as np
from helpers.tiny import drawn

from lin_jax.models.vocoder import SpectrumDecoder, SpectrumDiscriminator

B, T, M, F = 2, 9, 5, 17
NETWORK = SpectrumDecoder(F, 8, (1, 2))
RNG = np.random.default_rng(0)
MEL, SMOOTH = (
    RNG.normal(size=(B, T, M)).astype(np.float32),
    RNG.normal(size=(B, T, F)).astype(np.float32),
)
MASK = np.arange(T) < np.array([[9], [6]])


def test_untrained_it_leaves_the_spectrum_as_it_is():
    made, _ = NETWORK.init_with_output(jax.random.key(0), MEL, SMOOTH, MASK)
    np.testing.assert_array_equal(made, SMOOTH)


def test_padding_and_company_change_nothing():
    variables, apply = drawn(NETWORK.init, MEL, SMOOTH, MASK), jax.jit(NETWORK.apply)
    made = apply(variables, MEL, SMOOTH, MASK)
    rubbish = np.where(MASK[..., None], MEL, 99.0)
    np.testing.assert_allclose(apply(variables, rubbish, SMOOTH, MASK)[MASK], made[MASK], atol=1e-5)
    alone = NETWORK.apply(variables, MEL[1:, :6], SMOOTH[1:, :6], MASK[1:, :6])
    np.testing.assert_allclose(made[1, :6], alone[0], atol=1e-5)
    np.testing.assert_allclose(
        apply(variables, MEL[::-1], SMOOTH[::-1], MASK[::-1]), made[::-1], atol=1e-5
    )
    assert np.abs(made - SMOOTH)[MASK].max() > 0.1


def test_discriminator_scores_patches():
    network = SpectrumDiscriminator((3, 4))
    shape = jax.eval_shape(
        lambda x: network.init_with_output(jax.random.key(0), x)[0], jnp.zeros((B, 16, 64))
    )
    assert shape.shape == (B, 4, 4)
