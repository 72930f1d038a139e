"""Tests here run many small programs once or twice, and compile them for longer than they run: compile little."""

import pathlib

import jax
import pytest

SLOW = {
    "experiments",
    "fuzz",
    "models",
    "tasks",
    "training",
}  # folders: whole networks are compiled


def pytest_collection_modifyitems(items):
    """Mark the tests of whole folders as slow, beside those that say it of themselves."""
    root = pathlib.Path(__file__).parent
    for item in items:
        if item.path.relative_to(root).parts[0] in SLOW:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def compilation(tmp_path_factory):
    """Optimise compiled programs little, and share them between the tests of a session and processes they start."""
    with pytest.MonkeyPatch.context() as patch:
        settings = {
            "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
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
