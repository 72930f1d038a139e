"""The laws of the house: how imports flow, how long experiments are, and what names say."""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_EXPERIMENT_LINES = 250
LONG_EXPERIMENTS = {"benchmark.py", "demo.py"}
VAGUE = {"heard", "hears", "said", "told", "found", "own", "one"}  # names of anything and nothing

# A package may import from those on the lines below it, and never from one on its own line.
FLOORS = (
    ("experiments",),
    ("data_pipelines",),
    ("lin_jax.apps",),
    ("lin_jax",),
    ("lin_jax.evaluation",),
    ("lin_jax.bundles", "lin_jax.training", "lin_jax.reporting"),
    ("lin_jax.tasks",),
    ("lin_jax.models", "lin_jax.losses", "lin_jax.scoring", "lin_jax.recognisers"),
    ("lin_jax.metrics",),
    ("lin_jax.audio", "lin_jax.text", "lin_jax.alignment", "lin_jax.calibration"),
    (
        "lin_jax.vectors",
        "lin_jax.shapes",
        "lin_jax.espeak",
        "lin_jax.cancellation",
        "lin_jax.checksums",
        "lin_jax.compilation",
        "lin_jax.compilation_cache",
        "lin_jax.locks",
    ),
    ("lin_jax.private",),
    ("lin_jax.errors", "lin_jax.lazy", "lin_jax.durable", "lin_jax.memory"),
)
FLOOR = {package: -floor for floor, packages in enumerate(FLOORS) for package in packages}


def modules() -> dict[str, Path]:
    """Files of the three packages by module name."""
    return {
        ".".join(
            path.relative_to(ROOT).with_suffix("").parts[: -1 if path.stem == "__init__" else None]
        ): path
        for package in ("lin_jax", "data_pipelines", "experiments")
        for path in sorted((ROOT / package).rglob("*.py"))
    }


MODULES = modules()


def imports(name: str) -> set[str]:
    """Modules of the project that a module imports, at its top or within a function."""
    targets = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative imports are not used"
            targets |= {
                full if (full := f"{node.module}.{alias.name}") in MODULES else node.module
                for alias in node.names
            }
    return {target for target in targets if target in MODULES} - {name}


def package(name: str) -> str:
    """The package, or single module of lin_jax, that `FLOORS` has for a module."""
    parts = name.split(".")
    return ".".join(parts[: 2 if parts[0] == "lin_jax" else 1])


IMPORTS = {name: imports(name) for name in MODULES}


def test_every_package_has_a_floor():
    assert {package(name) for name in MODULES} <= set(FLOOR)


@pytest.mark.parametrize("name", MODULES)
def test_no_import_goes_up(name):
    others = {target for target in IMPORTS[name] if package(target) != package(name)}
    up = {target for target in others if FLOOR[package(target)] >= FLOOR[package(name)]}
    assert not up, f"{name} imports {', '.join(sorted(up))}, which do not stand below it"


def test_no_imports_go_in_a_circle():
    graphlib.TopologicalSorter(IMPORTS).prepare()  # CycleError names the circle


@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments").glob("*.py")), ids=lambda path: path.name
)
def test_an_experiment_fits_on_a_few_screens(path):
    lines = len(path.read_text().splitlines())
    assert lines <= MAX_EXPERIMENT_LINES or path.name in LONG_EXPERIMENTS, f"{lines} lines"


@pytest.mark.parametrize("name", MODULES)
def test_names_say_what_a_thing_is(name):
    tree = ast.parse(MODULES[name].read_text())
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    assert not VAGUE & (names | arguments)
