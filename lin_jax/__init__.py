"""A JAX/Flax speech toolkit: emotion, speaker verification, gender, repair and synthesis on one spine."""

import os
from typing import TYPE_CHECKING, Literal, overload

if TYPE_CHECKING:
    from lin_jax.bundles import (
        Bundle,
        Classifier,
        LiveRepairer,
        Repairer,
        Synthesizer,
        Verifier,
        Vocoder,
    )

__version__ = "0.1.0"


@overload
def load(name_or_path: Literal["emotion", "gender"]) -> "Classifier": ...
@overload
def load(name_or_path: Literal["speaker", "speaker_encoder"]) -> "Verifier": ...
@overload
def load(name_or_path: Literal["repair"]) -> "Repairer": ...
@overload
def load(name_or_path: Literal["repair_live"]) -> "LiveRepairer": ...
@overload
def load(name_or_path: Literal["synthesis", "conversion"]) -> "Synthesizer": ...
@overload
def load(name_or_path: Literal["vocoder"]) -> "Vocoder": ...
@overload
def load(name_or_path: str | os.PathLike) -> "Bundle": ...
def load(name_or_path):
    """Load a trained model, ready for use: `lin_jax.load("emotion").predict("clip.wav")`.

    Args:
        name_or_path: name of a bundle that ships with lin_jax, or the folder of another.

    Returns:
        A `lin_jax.bundles.Bundle` of its kind.

    Raises:
        BundleError: there is none, or it is damaged.
    """
    from lin_jax import bundles

    return bundles.load(name_or_path)
