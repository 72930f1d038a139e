"""The number format that networks compute in while they are trained."""

import contextlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import linen as nn

from lin_jax.errors import ConfigError

PRECISIONS = ("float32", "bfloat16")
# The layers whose work is products of matrices; norms and pooling keep their statistics in float32.
LAYERS = (nn.Dense, nn.DenseGeneral, nn.Conv, nn.ConvTranspose, nn.LSTMCell, nn.OptimizedLSTMCell)


@contextlib.contextmanager
def compute_in(precision: str) -> Iterator[None]:
    """Let the dense, convolutional and recurrent layers applied within compute in a format.

    Parameters, their gradients, statistics, the state of recurrent layers and what a network
    returns, so that losses too, are float32 throughout (Micikevicius et al., 2018; bfloat16 needs
    no scaling of the loss).

    Args:
        precision: "float32" leaves all as it is; "bfloat16".

    Raises:
        ConfigError: another format.
    """
    if precision not in PRECISIONS:
        raise ConfigError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if precision == "float32":
        yield
        return

    def intercept(call, args, kwargs, context):
        module = context.module
        with contextlib.ExitStack() as stack:
            if isinstance(module, LAYERS) and module.dtype in (None, jnp.float32):
                # Flax has no way to ask all layers at once, and their fields are frozen.
                stack.callback(object.__setattr__, module, "dtype", module.dtype)
                object.__setattr__(module, "dtype", jnp.bfloat16)
            results = call(*args, **kwargs)
        return results if module.path else jax.tree.map(_float32, results)

    with nn.intercept_methods(intercept):
        yield


def _float32(x):
    return x.astype(jnp.float32) if getattr(x, "dtype", None) == jnp.bfloat16 else x
