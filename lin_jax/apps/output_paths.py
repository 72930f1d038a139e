"""Which recording becomes which file: what the commands that write recordings share."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterable

from lin_jax.apps.common import recordings
from lin_jax.errors import ConfigError


def pairs(inputs: Iterable[str], out: str) -> tuple[list[tuple[str, str]], int]:
    """Where each recording is written to; the folders for it are made.

    Args:
        inputs: recordings and folders of them.
        out: a file for one recording, or a folder, in which recordings of a folder keep their
            places and names; one whose format cannot be written, such as .m4a, becomes .wav.

    Returns:
        Recordings, each with its file, and how many inputs named none.

    Raises:
        ConfigError: one would be replaced, two would become the same file, or it cannot be written.
    """
    _refuse_standard_output(out)
    inputs = list(inputs)
    named, failed = [], 0  # (recording, its name in a folder)
    within = os.path.join(os.path.realpath(out), "")
    for name in inputs:
        paths, missing = recordings([name])
        failed += missing
        root = name if os.path.isdir(name) else os.path.dirname(name)
        if os.path.isdir(name) and within.startswith(
            os.path.join(os.path.realpath(name), "_")[:-1]
        ):
            # What an earlier run put into a folder within this one is no input.
            paths = [
                path for path in paths if not os.path.realpath(path).startswith(within)
            ] or paths
        named += [(path, os.path.relpath(path, root or ".")) for path in paths]

    if not named:
        return [], failed
    from lin_jax.audio import files

    place = pathlib.Path(out)
    single = len(inputs) == 1 and not os.path.isdir(inputs[0])
    is_file = single and place.suffix and not place.is_dir() and not out.endswith(os.sep)
    sources: dict[str, str] = {}
    for path, name in named:
        if not name.lower().endswith(files.WRITABLE):
            name = os.path.splitext(name)[0] + ".wav"
        target = str(place if is_file else place / name)
        if _same(path, target):
            raise ConfigError(f"{path}: would be replaced; choose another place for --out")
        if not _same(sources.setdefault(target, path), path):
            raise ConfigError(
                f"{sources[target]} and {path} would both become {target}; name them one by one"
            )
    make_folders(sources, out)
    return [(path, target) for target, path in sources.items()], failed


def make_folders(targets: Iterable[str], out: str):
    """Make the folders that files are written to; ConfigError, which names `out`, if they do not take any."""
    with _named(out):
        for folder in {os.path.dirname(target) for target in targets}:
            os.makedirs(folder or ".", exist_ok=True)
            tempfile.TemporaryFile(dir=folder or ".").close()


def check_file(out: str):
    """Raises ConfigError, before work that may be long, if a file cannot be written there."""
    _refuse_standard_output(out)
    with _named(out):
        if os.path.isdir(out):
            raise IsADirectoryError(None, "it is a folder")
        tempfile.TemporaryFile(dir=os.path.dirname(out) or ".").close()


def _refuse_standard_output(out: str):
    if out == "-":
        raise ConfigError("--out -: a file or folder is needed; name one (./- if it is called so)")


@contextlib.contextmanager
def _named(out: str):
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{out}: cannot be written ({error.strerror}); choose another place"
        ) from None


def _same(path, other) -> bool:
    return os.path.realpath(path) == os.path.realpath(other) or (
        os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)
    )
