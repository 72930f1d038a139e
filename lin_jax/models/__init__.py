"""Flax networks, one file each."""
