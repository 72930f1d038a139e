"""A JAX/Flax speech toolkit: emotion, speaker verification, gender, repair and synthesis on one spine."""

__version__ = "0.1.0"


def load(name_or_path):
    """Load a trained model, ready for use: `lin_jax.load("emotion").predict("clip.wav")`.

    Args:
        name_or_path: name of a bundle that ships with lin_jax, or the folder of another.

    Returns:
        A `lin_jax.bundles.Bundle` of its kind; `lin_jax.errors.BundleError` if there is none or it
        is damaged.
    """
    from lin_jax import bundles

    return bundles.load(name_or_path)
