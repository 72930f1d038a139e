"""Tests here run many small programs once or twice, and compile them for longer than they run: compile little."""

import os
import pathlib

import jax
import pytest

SLOW = (  # folders and files that compile for long; `make test-fast` leaves them out
    "apps/test_page.py",
    "apps/test_serving.py",
    "apps/test_speak.py",
    "audio/test_adaptive_mix.py",
    "audio/test_augment.py",
    "audio/test_degrade.py",
    "audio/test_functionals.py",
    "bundles/test_classifier.py",
    "bundles/test_repairer.py",
    "data_pipelines/test_loaders.py",
    "experiments",
    "fuzz",
    "models",
    "tasks",
    "test_alignment.py",
    "test_losses.py",
    "training",
)


def pytest_collection_modifyitems(items):
    """Mark what is slow, beside the tests that say it of themselves."""
    root = pathlib.Path(__file__).parent
    for item in items:
        if any(item.path.is_relative_to(root / name) for name in SLOW):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def compilation(request):
    """Optimise compiled programs little, and keep them for other tests, their processes, and the next run.

    Each worker has a folder of its own, since JAX reads what another has half written.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    with pytest.MonkeyPatch.context() as patch:
        settings = {
            "jax_compilation_cache_dir": str(request.config.cache.mkdir("compiled") / worker),
            "jax_persistent_cache_min_compile_time_secs": 0.0,
            "jax_disable_most_optimizations": True,
        }
        # A slow machine says no more than others.
        patch.setattr("lin_jax.compilation.PATIENCE", 600.0)
        for name, value in settings.items():
            patch.setenv(name.upper(), str(value))
            jax.config.update(name, value)
        yield
        jax.config.update("jax_compilation_cache_dir", None)
