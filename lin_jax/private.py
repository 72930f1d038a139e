"""What is nobody else's business: files that only their owner reads, where only he writes."""

import os
import pathlib
import stat

from lin_jax import durable
from lin_jax.errors import LinError


def make_folder(folder, error: type[LinError] = LinError) -> pathlib.Path:
    """A folder that only its owner enters; it and those of its parents that are missing are made.

    Raises:
        LinError: of the class `error`, as for `check`.
        OSError: it cannot be made.
    """
    folder = pathlib.Path(folder)
    for path in (*reversed(folder.parents), folder):
        if not path.exists():
            path.mkdir(mode=0o700, exist_ok=True)
    check(folder, error)
    return folder


def check(path, error: type[LinError] = LinError):
    """Refuse a file or folder that somebody else can change.

    Raises:
        LinError: of the class `error`: it is another user's, or others may write to it.
        OSError: there is none.
    """
    status = os.stat(path)
    if status.st_uid not in (os.geteuid(), 0):
        raise error(f"{path}: belongs to another user; choose another place")
    if stat.S_IMODE(status.st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        raise error(
            f"{path}: others can write to it; if what is in it is yours: chmod -R go-w {path}"
        )


def replace_text(path, text: str):
    """Write a file that only its owner reads, whole or not at all, in place of one that is there.

    Raises:
        OSError: it cannot be written.
    """
    with durable.replacing(path) as part:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
