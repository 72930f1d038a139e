"""Checksums: what is read back is what was written, to the last bit."""

import hashlib
import json
from collections.abc import Mapping

KEY = "sha256"


def signed(value: Mapping) -> dict:
    """Plain values, with the SHA-256 of their JSON as the last one."""
    return {**value, KEY: hashlib.sha256(json.dumps(value, indent=2).encode()).hexdigest()}


def verified(value) -> dict:
    """The plain values that `signed` was given.

    Raises:
        ValueError: they are others.
    """
    if not isinstance(value, dict) or KEY not in value:
        raise ValueError("it has no checksum")
    rest = {key: item for key, item in value.items() if key != KEY}
    if signed(rest)[KEY] != value[KEY]:
        raise ValueError("it does not fit its checksum")
    return rest


def to_json(value: Mapping) -> str:
    """Plain values as the text of a JSON file, `signed`."""
    return json.dumps(signed(value), indent=2) + "\n"


def from_json(text: str) -> dict:
    """The plain values that `to_json` wrote.

    Raises:
        ValueError: the text is not exactly what it wrote.
    """
    value = verified(json.loads(text))
    if to_json(value) != text:
        raise ValueError("it is written otherwise than it was")
    return value


def of_file(path) -> str:
    """SHA-256 of a file in hexadecimal digits; OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
