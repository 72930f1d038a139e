"""The settings of the server: of its flags, else of the environment or `.env`, else their defaults."""

import argparse
import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from lin_jax.errors import ConfigError

PREFIX = "LIN_"
FILE = ".env"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What `lin serve --help` explains; KEY in the environment is LIN_KEY.

    Attributes:
        api_key: has no flag, for others on the machine see those.
    """

    model: tuple[str, ...] = ()
    host: str = "127.0.0.1"
    port: int = 7860
    allow_host: tuple[str, ...] = ()
    cors_origin: tuple[str, ...] = ()
    api_key: str = dataclasses.field(default="", repr=False)
    rate_limit: float = 0.0
    max_megabytes: float = 200.0  # of WAV with 16 bits at 16 kHz, more than an hour and a half
    max_seconds: tuple[str, ...] = ()

    def __post_init__(self):
        if not (self.rate_limit >= 0.0 and self.max_megabytes > 0.0):
            raise ConfigError("the rate limit and the megabytes of an upload are positive numbers")

    @classmethod
    def read(cls, args: argparse.Namespace, environment: Mapping[str, str]) -> "Settings":
        """The settings of flags, where these are not None, and of an environment.

        Raises:
            ConfigError: what is no number, or no positive one, should be one.
        """
        values: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            value, text = getattr(args, field.name, None), environment.get(_name(field))
            if value is not None:
                values[field.name] = tuple(value) if isinstance(value, list) else value
            elif text:
                values[field.name] = _parsed(field, text)
        return cls(**values)


def environment(folder=".") -> dict[str, str]:
    """The environment of this process, and beneath it what `.env` of a folder says.

    Raises:
        ConfigError: a line of the file is none of NAME=VALUE.
    """
    path, lines = pathlib.Path(folder, FILE), {}
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"{path}: cannot be read; mend or remove it") from None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = re.fullmatch(r"\s*(?:export\s+)?(\w+)\s*=\s*(.*?)\s*", line)
        if not match:
            raise ConfigError(f"{path}, line {number}: give NAME=VALUE, such as LIN_PORT=8000")
        lines[match[1]] = re.sub(r"""^(["'])(.*)\1$""", r"\2", match[2])
    return lines | dict(os.environ)


def _name(field: dataclasses.Field) -> str:
    return PREFIX + field.name.upper()


def _parsed(field: dataclasses.Field, text: str) -> Any:
    """A setting of the environment; several words are several values."""
    if isinstance(field.default, tuple):
        return tuple(text.split())
    if isinstance(field.default, str):
        return text
    try:
        return int(text) if isinstance(field.default, int) else float(text)
    except ValueError:
        raise ConfigError(f"{_name(field)}={text}: give a number") from None
