"""Bundles that several tests of commands use."""

import pytest
from helpers import synthesizers, verifiers

from lin_jax import bundles


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A bundle of two voices that says symbols as tones."""
    folder = tmp_path_factory.mktemp("bundles")
    with pytest.MonkeyPatch.context() as patch:
        synthesizers.register(patch)
        made = synthesizers.synthesizer(bundles.save(folder / "voices", verifiers.verifier(), ""))
        bundles.save(folder / "parrot", made, "")
        yield folder / "parrot"
