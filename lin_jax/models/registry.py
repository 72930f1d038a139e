"""Networks by the names of their classes, so that a bundle or a config can name one.

A file in this folder registers what it defines:

    @register
    class Vocos(nn.Module): ...

and no list elsewhere need know it. A name read from a file is only ever looked up here, and never
imported as it stands.
"""

import dataclasses
import importlib
import pkgutil
from importlib import resources

from lin_jax.errors import ConfigError

NETWORKS: dict[str, type] = {}  # of the files imported so far


def register(network: type) -> type:
    """Class decorator: let a network be found by the name of its class.

    Raises:
        ConfigError: another network has the name.
    """
    known = NETWORKS.setdefault(network.__name__, network)
    if known.__module__ != network.__module__:
        raise ConfigError(
            f"network {network.__name__}: {known.__module__} has one of that name; rename it"
        )
    NETWORKS[network.__name__] = network
    return network


def find(name: str) -> type:
    """The registered network of that name; only the file that defines it is imported.

    Raises:
        ConfigError: there is none; the known ones are listed.
    """
    if name not in NETWORKS:
        _import_files(f"\nclass {name}(")
    if name not in NETWORKS:
        _import_files("\n@register\n")
        raise ConfigError(f"network {name} is unknown: choose one of {', '.join(sorted(NETWORKS))}")
    return NETWORKS[name]


def build(config, **given):
    """The network that a dataclass of settings names, of those sizes in it that the network has.

    Args:
        config: a dataclass with a `name` and sizes.
        **given: what else the network is made with.

    Raises:
        ConfigError: no network has that name.
    """
    network = find(config.name)
    sizes = {
        field.name: tuple(value) if isinstance(value, list) else value
        for field in dataclasses.fields(network)
        if field.name != "name" and (value := getattr(config, field.name, None)) is not None
    }
    return network(**sizes | given)


def _import_files(text: str):
    """Import the files of networks whose source holds a text."""
    import lin_jax.models

    for name in (file.name for file in pkgutil.iter_modules(lin_jax.models.__path__)):
        if text in (resources.files(lin_jax.models) / f"{name}.py").read_text("utf-8"):
            importlib.import_module(f"lin_jax.models.{name}")
