"""The package as a whole: what importing it costs, and which way its imports flow."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# What each part may import, besides itself and lin_jax.errors.
SIGNAL = {"lin_jax.audio", "lin_jax.vectors"}
LEARNING = SIGNAL | {"lin_jax.models", "lin_jax.losses", "lin_jax.metrics"}
ARROWS = {
    "lin_jax.errors": set(),
    "lin_jax.vectors": set(),
    "lin_jax.audio": {"lin_jax.vectors"},
    "lin_jax.compilation_cache": set(),
    "lin_jax.espeak": set(),
    "lin_jax.text": {"lin_jax.espeak"},
    "lin_jax.alignment": set(),
    "lin_jax.calibration": set(),
    "lin_jax.losses": SIGNAL,
    "lin_jax.metrics": SIGNAL | {"lin_jax.text"},
    "lin_jax.reporting": SIGNAL | {"lin_jax.metrics"},
    "lin_jax.models": SIGNAL,
    "lin_jax.tasks": LEARNING | {"lin_jax.alignment"},
    "lin_jax.training": LEARNING | {"lin_jax.tasks"},
    "lin_jax.scoring": {"lin_jax.metrics", "lin_jax.vectors"},
    "lin_jax.bundles": LEARNING | {"lin_jax.tasks", "lin_jax.text", "lin_jax.scoring"},
    "lin_jax": {"lin_jax.bundles"},
    "lin_jax.apps": LEARNING
    | {"lin_jax.compilation_cache", "lin_jax.reporting", "lin_jax.tasks", "lin_jax.text"}
    | {"lin_jax.bundles", "lin_jax"},
}
ARROWS["data_pipelines"] = SIGNAL | {"lin_jax.compilation_cache", "lin_jax.espeak", "lin_jax.text"}
ARROWS["experiments"] = {*ARROWS}


def part_of(module: str) -> str | None:
    """The part a dotted name belongs to, or None for a third party's."""
    top, *rest = module.split(".")
    if top != "lin_jax":
        return top if top in ARROWS else None
    inner = f"lin_jax.{rest[0]}" if rest else "lin_jax"
    return inner if inner in ARROWS or (ROOT / inner.replace(".", "/")).is_dir() else "lin_jax"


def imports_of(path: pathlib.Path) -> set[str]:
    """The parts a file imports, at its top or inside its functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {part for part in map(part_of, names) if part}


FILES = [
    path
    for top in ("lin_jax", "data_pipelines", "experiments")
    for path in sorted((ROOT / top).rglob("*.py"))
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_flow_one_way(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    part = part_of(module)
    assert imports_of(path) - {part, "lin_jax.errors"} <= ARROWS[part], (
        f"{part} must not know these"
    )


def test_import_is_light():
    """Importing the library pulls in nothing that only training, plotting or reading files needs."""
    heavy = {"librosa", "grain", "clu", "tensorflow_datasets", "matplotlib", "soundfile", "orbax"}
    code = f"import sys, lin_jax; print(sorted({heavy!r} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert loaded.strip() == "[]"


def test_preparation_reads_before_heavy_imports():
    """The command that prepares features starts without JAX and TFDS, which are imported while recordings are read."""
    code = "import sys, data_pipelines.__main__; print(sorted({'jax', 'tensorflow_datasets'} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert loaded.strip() == "[]"
