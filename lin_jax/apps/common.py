"""What the commands of `lin` share: how they are described, take recordings, show progress and complain."""

import argparse
import contextlib
import dataclasses
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import lin_jax
from lin_jax.errors import AudioError, BundleError, printable


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of `lin`: its name, what `--help` teaches, its arguments, and what it does (→ exit code)."""

    name: str
    summary: str
    teach: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def inputs_argument(parser: argparse.ArgumentParser, nargs: str = "+"):
    """Add the recordings that a command takes, by default one at least."""
    parser.add_argument(
        "inputs",
        nargs=nargs,
        metavar="FILE|DIR",
        help="a recording, a folder of them with its subfolders, or - for standard input",
    )


def model_argument(parser: argparse.ArgumentParser, default: str | None = None):
    """Add --model, by default the bundle of that name."""
    parser.add_argument(
        "--model",
        metavar="BUNDLE",
        default=default,
        help="a bundle folder of your own instead of the one that ships",
    )


def json_argument(parser: argparse.ArgumentParser):
    """Add --json."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object a line, for programs"
    )


def recordings(inputs: Iterable[str]) -> tuple[list[str], int]:
    """The recordings that the inputs name, in order, and how many inputs named none."""
    paths: list[str] = []
    failed = 0
    for name in inputs:
        try:
            if name == "-":
                paths.append(name)
            elif os.path.isdir(name):
                from lin_jax.audio import files

                paths += map(str, files.find(name))
            elif os.path.exists(name):
                paths.append(name)
            else:
                raise AudioError(f"{name}: no such file; check the path")
        except AudioError as error:
            complain(error)
            failed += 1
    return paths, failed


def check_voices(sources: Iterable[str]):
    """Raises AudioError if one of the names, paths and folders is the path of a recording that is not there.

    What may be the name of a voice is for the bundle to know.
    """
    from lin_jax.audio import files

    for name in sources:
        looks_like_path = os.path.dirname(name) or name.lower().endswith(files.SUFFIXES)
        if looks_like_path and not os.path.exists(name):
            raise AudioError(f"{name}: no such file; check the path")


def load_bundle(name: str, task: str) -> Any:
    """The bundle of that name or folder; BundleError if it is made for another task."""
    bundle: Any = lin_jax.load(name)
    if bundle.task != task:
        raise BundleError(
            f"{name}: a {bundle.task} bundle where {task} is needed; choose another with --model"
        )
    return bundle


def progress(total: int, unit: str):
    """A bar on stderr where that is a terminal and there is something to wait for; its `write` prints to stdout."""
    from tqdm import tqdm

    return tqdm(total=total, unit=unit, disable=None if total > 1 else True, leave=False)


def complain(problem) -> None:
    """Name a problem on stderr, above the bar if there is one."""
    # It takes a while to import, and who has not done so yet has no bar.
    write = sys.modules["tqdm"].tqdm.write if "tqdm" in sys.modules else print
    write(f"lin: {printable(problem)}", file=sys.stderr)


@contextlib.contextmanager
def show_warnings() -> Iterator[None]:
    """Where warnings are named like problems, each once."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: complain(message)
        warnings.simplefilter("default", UserWarning)
        yield


def clock(seconds: float) -> str:
    """A length of time in hours, minutes and seconds."""
    return f"{int(seconds // 3600)}:{int(seconds // 60 % 60):02d}:{seconds % 60:04.1f}"


def finish(done: int, failed: int) -> int:
    """The exit code of a command that used so many inputs and could not use so many; says so if it was some of each."""
    if failed and done:
        complain(f"{failed} of {done + failed} could not be used, see above; the others were done")
    return 0 if not failed else 1 if done else 2
