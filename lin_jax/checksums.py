"""Checksums: what is read back is what was written, to the last bit."""

import hashlib
import json
from collections.abc import Mapping

KEY = "sha256"


def to_json(value: Mapping) -> str:
    """A JSON object as text, with the SHA-256 of the rest as its last value."""
    digest = hashlib.sha256(json.dumps(value, indent=2).encode()).hexdigest()
    return json.dumps({**value, KEY: digest}, indent=2) + "\n"


def from_json(text: str) -> dict:
    """The object that `to_json` wrote.

    Raises:
        ValueError: the text is not exactly what it wrote.
    """
    value = json.loads(text)
    if not isinstance(value, dict) or KEY not in value:
        raise ValueError("it has no checksum")
    del value[KEY]
    if to_json(value) != text:
        raise ValueError("it does not fit its checksum")
    return value


def of_file(path) -> str:
    """SHA-256 of a file in hexadecimal digits; OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
