"""A live repairer of a network so small that it compiles at once, and that changes much."""

import jax
import jax.numpy as jnp
import numpy as np

from helpers.tiny import drawn
from lin_jax import bundles
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.models.enhancer import CausalEnhancer

RATE = 16000


def repairer() -> bundles.LiveRepairer:
    """The bundle, of random weights."""
    model = CausalEnhancer(
        n_fft=64, hop_length=20, bands=((4, 2), (2, 4), (2, 8)), width=4, bottleneck=2, hidden=8
    )
    variables = jax.tree.map(jnp.asarray, drawn(model.init, np.zeros((1, 100), np.float32)))
    return bundles.LiveRepairer("tiny_live", model, FrontendConfig(level="rms"), variables)
