"""Files and folders that a power cut leaves as they were or as they are meant to be.

A rename may reach the disk before what is in the file: a cut in between leaves a new name with
nothing behind it. So all of it is brought to the disk first (Pillai et al., OSDI 2014).
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def replace(part, target):
    """Give a file or folder the name of another, once all of it is on the disk.

    Args:
        part: what is complete.
        target: its place; a file there is replaced, a folder must be empty.

    Raises:
        OSError: as `os.replace`, or the disk does not take it.
    """
    _sync(part)
    os.replace(part, target)
    _sync_entry(os.path.dirname(os.path.abspath(target)))


@contextlib.contextmanager
def replacing(path) -> Iterator[Path]:
    """A file to write beside `path`, which takes its place if the context ends without an error.

    It has the same suffix.

    Raises:
        OSError: as `replace`; it has the name of `path` where it would have none.
    """
    path = Path(path)
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield part
        replace(part, path)
    except OSError as error:
        if error.filename is None:  # as of what is written to an open file
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def sync(path):
    """Bring a file or folder, and its name, to the disk; OSError if that does not take it."""
    _sync(path)
    _sync_entry(os.path.dirname(os.path.abspath(path)))


def _sync(path):
    """All that is in a file or folder."""
    for folder, _, names in os.walk(path, topdown=False):
        for name in (*names, ""):
            _sync_entry(os.path.join(folder, name))
    if not os.path.isdir(path):
        _sync_entry(path)


def _sync_entry(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
