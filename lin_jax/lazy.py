"""Names of a package that are imported from its modules when they are first asked for (PEP 562)."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def exports(package: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], list[str]]:
    """Module attributes that give a package's names without the cost of importing its modules.

    Args:
        package: its `__name__`.
        modules: for each of its modules the names that it gives, with spaces between them.

    Returns:
        `__getattr__` and `__all__` of the package.
    """
    origin = {name: module for module, names in modules.items() for name in names.split()}

    def get(name: str) -> Any:
        if name not in origin:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{origin[name]}"), name)

    return get, sorted(origin)
