"""A JAX/Flax speech toolkit: emotion, speaker verification, gender, repair and synthesis on one spine."""

__version__ = "0.1.0"
