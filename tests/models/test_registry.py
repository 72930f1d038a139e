"""Networks found by name."""

import subprocess
import sys

import pytest

from lin_jax.errors import ConfigError
from lin_jax.models import registry


def test_found_by_name_without_the_files_behind_it():
    code = """
import sys
from lin_jax.models.registry import find
print(find("MelAutoencoder").__module__, "lin_jax.models.vocos" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["lin_jax.models.autoencoder", "False"]


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"network Nobody is unknown: .*Tacotron, Vocos"):
        registry.find("Nobody")


def test_names_are_given_once():
    class Vocos: ...

    registry.find("Vocos")
    with pytest.raises(ConfigError, match="rename it"):
        registry.register(Vocos)
