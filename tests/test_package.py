"""The package as a whole: what importing it costs, and what using it takes."""

import importlib
import subprocess
import sys
import typing

import pytest

import lin_jax
from lin_jax import bundles
from lin_jax.bundles import folder


def test_import_is_light():
    """Importing the library pulls in nothing that only training, plotting or reading files needs."""
    heavy = {"librosa", "grain", "clu", "tensorflow_datasets", "matplotlib", "soundfile", "orbax"}
    code = f"import sys, lin_jax; print(sorted({heavy!r} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert loaded.strip() == "[]"


def test_preparation_reads_before_heavy_imports():
    """The command that prepares features starts without JAX and TFDS, which are imported while
    recordings are read.
    """
    code = "import sys, data_pipelines.__main__; print(sorted({'jax', 'tensorflow_datasets'} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert loaded.strip() == "[]"


def test_use_takes_nothing_of_training(tmp_path):
    """Every command but `serve` starts, and one answers, where only the base is installed."""
    code = """
import importlib, pkgutil, sys

TRAINING = "grain tensorflow_datasets clu ml_collections tensorboardX matplotlib tyro".split()
sys.modules |= dict.fromkeys(TRAINING)  # None: as if not installed

import numpy as np
from lin_jax import apps
from lin_jax.apps import cli
from lin_jax.audio import files

for module in pkgutil.iter_modules(apps.__path__):
    if module.name not in ("api", "guard", "page"):
        importlib.import_module(f"lin_jax.apps.{module.name}")
files.write("clip.wav", 0.1 * np.random.default_rng(0).standard_normal(32000), 16000)
sys.exit(cli.main(["emotion", "clip.wav"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "clip.wav" in done.stdout


@pytest.mark.parametrize("name", ["audio", "losses", "metrics", "models"])
def test_a_facade_gives_all_it_names(name):
    module = importlib.import_module(f"lin_jax.{name}")
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    assert all(callable(getattr(module, each)) for each in module.__all__)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = module.nothing_of_the_kind


def test_load_is_typed_for_what_ships():
    """A type checker knows the kind of each bundle that ships, and the kinds are true."""
    kinds = {}
    for each in typing.get_overloads(lin_jax.load)[:-1]:
        names = typing.get_args(each.__annotations__["name_or_path"])
        kinds |= dict.fromkeys(names, each.__annotations__["return"])
    assert set(kinds) == set(bundles.shipped())
    for name, kind in kinds.items():
        described = bundles.describe(name)
        base = folder.KINDS[described["task"]]
        within = {each.network: each for each in base.__subclasses__()}
        actual = within.get(described["model"]["name"], base)
        assert issubclass(actual, getattr(bundles, kind))


def test_a_bundle_is_printed_in_one_line():
    assert repr(lin_jax.load("gender")) == (
        "Classifier(gender: ResidualClassifier, 548,703 parameters, fused with gender fused)"
    )
