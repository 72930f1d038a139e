"""Power cuts: what a folder may be after each of them."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def cuts(folder: pathlib.Path, copies: pathlib.Path) -> Iterator[list[pathlib.Path]]:
    """Copy a folder whenever something in it is synced or renamed, as a power cut might leave it.

    Names are as they are at that moment. Of a file that was written to since it was last synced,
    only the first half is there.

    Yields:
        The copies so far, of which no two in a row are alike.
    """
    synced, taken, contents = {_state(path) for path in _files(folder)}, [], None

    def copy():
        nonlocal contents
        before, contents = (
            contents,
            {path.relative_to(folder): _kept(path) for path in _files(folder)},
        )
        if contents != before:
            taken.append(copies / str(len(taken)))
            shutil.copytree(
                folder, taken[-1], ignore=lambda place, names: set(names) & _plain(place)
            )
            for name, content in contents.items():
                (taken[-1] / name).write_bytes(content)

    def _kept(path):
        content = path.read_bytes()
        return content if _state(path) in synced else content[: len(content) // 2]

    def watched(change):
        def changed(*arguments, **keywords):
            copy()
            if change is fsync:
                synced.add(_state(arguments[0]))
            result = change(*arguments, **keywords)
            copy()
            return result

        return changed

    fsync = os.fsync
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "replace", "rename"):
            patch.setattr(os, name, watched(getattr(os, name)))
        yield taken


def _files(folder) -> list[pathlib.Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _plain(place) -> set[str]:
    """Names of the files in a folder."""
    return {path.name for path in pathlib.Path(place).iterdir() if path.is_file()}


def _state(path_or_descriptor) -> tuple[int, int, int]:
    """What changes whenever a file is written to."""
    status = os.stat(path_or_descriptor)
    return status.st_ino, status.st_mtime_ns, status.st_size
