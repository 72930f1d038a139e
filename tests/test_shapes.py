"""Shapes and types that do not fit are refused, and those that fit are not, under jit and vmap too."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lin_jax import losses
from lin_jax.audio import FrontendConfig, extract, mixing
from lin_jax.errors import ShapeError
from lin_jax.shapes import check_floats, check_shapes

CONFIG = FrontendConfig()


def test_letters_stand_for_one_size():
    x = np.zeros((2, 3, 5))
    check_shapes(x=(x, "B T M"), mask=(x[..., 0], "B T"), none=(None, "B"), scale=(x[0, 0], "M"))
    check_shapes(x=(x, "... M"), lengths=(x[..., 0], "..."), y=(x, "B T M"))
    check_shapes(x=(x[0, 0], "... M"), length=(3, "..."))
    for wrong in (
        {"x": (x, "B T")},
        {"x": (x, "B T M"), "y": (x[0], "B T")},
        {"x": (x, "... M"), "length": (x[0, :, 0], "...")},
        {"x": (3.0, "... M")},
    ):
        with pytest.raises(ShapeError, match="shape that does not fit"):
            check_shapes(**wrong)


def test_integers_are_refused():
    check_floats(x=np.zeros(3), y=jnp.zeros(3, jnp.bfloat16), z=0.5)
    with pytest.raises(ShapeError, match="x is int16: give floats"):
        check_floats(x=np.zeros(3, np.int16))


def test_the_front_end_names_what_does_not_fit():
    waveform = np.zeros((2, 4000), np.float32)
    with pytest.raises(ShapeError, match="waveform is int16"):
        extract(CONFIG, waveform.astype(np.int16))
    with pytest.raises(ShapeError, match=r"length .* waveform \[2, 4000\] .* length \[3\]"):
        extract(CONFIG, waveform, np.array([1, 2, 3]))
    features, num_frames = jax.jit(jax.vmap(functools.partial(extract, CONFIG)))(
        waveform, jnp.array([4000, 2000])
    )
    assert features.shape[:1] == num_frames.shape == (2,)


def test_losses_and_mixing_name_what_does_not_fit():
    x = jnp.zeros((2, 100))
    with pytest.raises(ShapeError, match=r"target \[2, 99\]"):
        losses.neg_si_sdr(x, x[:, 1:])
    with pytest.raises(ShapeError, match="snr_db"):
        mixing.mix(x, x, jnp.zeros(3))
    with pytest.raises(ShapeError, match="labels"):
        losses.triplet_margin(x, jnp.zeros(3, int))
