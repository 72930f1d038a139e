"""Thin training programs: a docstring, a config, a call."""
