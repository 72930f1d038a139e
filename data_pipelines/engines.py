"""Engines: what does a piece of work on each of many items, here or spread over machines.

Items and results pass through files: an engine returns when all is done, and brings nothing back.
"""

import contextlib
import io
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lin_jax.errors import ConfigError, FeatureError

Engine = Callable[[Callable[[Any], None], Sequence], None]


def in_turn(work: Callable[[Any], None], items: Sequence) -> None:
    """Work on items here, one after the other."""
    for item in items:
        work(item)


def beam(options: Sequence[str], folder: Path) -> Engine:
    """An engine of Apache Beam, on the runner that its options name.

    The items lie in files, and the pipeline carries their numbers: its size is the same for any
    corpus. An item that a runner does twice must be the same file twice.

    Args:
        options: of a Beam pipeline, such as --runner=FlinkRunner; the direct runner without.
        folder: for the items, which every worker sees by this path, as it must see what `work`
            reads and writes; it is removed when they are done.

    Returns:
        The engine; it raises FeatureError where the pipeline fails.

    Raises:
        ConfigError: Beam is not installed, or does not know an option or what it is set to.
    """
    try:
        import apache_beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError:
        raise ConfigError("Apache Beam is not installed: pip install 'lin_jax[beam]'") from None
    settings = PipelineOptions(list(options))
    try:
        with contextlib.redirect_stderr(io.StringIO()) as usage:
            known = settings.get_all_options(drop_default=True)
            given = settings.get_all_options(drop_default=True, retain_unknown_options=True)
        apache_beam.Pipeline(options=settings)
    except (SystemExit, ValueError) as error:
        reason = usage.getvalue().strip().splitlines()[-1:] if error.args == (2,) else [str(error)]
        raise ConfigError(f"options of Apache Beam: {reason[0]}") from None
    if unknown := sorted(given.keys() - known.keys()):
        raise ConfigError(f"options of Apache Beam: it does not know {', '.join(unknown)}")

    def run(work: Callable[[Any], None], items: Sequence) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for number, item in enumerate(items):
            (folder / f"{number}.pickle").write_bytes(pickle.dumps((work, item)))
        try:
            with apache_beam.Pipeline(options=settings) as pipeline:
                numbers = pipeline | apache_beam.Create(range(len(items)))
                spread = numbers | apache_beam.Reshuffle()
                _ = spread | "Work" >> apache_beam.Map(_work_on, folder=folder.resolve())
        except Exception as error:  # of the work or the runner; each runner has its own
            reason = str(error).strip().splitlines()
            raise FeatureError(
                f"the pipeline of Apache Beam failed ({reason[-1] if reason else repr(error)}): "
                "run again: what is finished is kept"
            ) from error
        shutil.rmtree(folder)

    return run


def _work_on(number: int, folder: Path) -> None:
    work, item = pickle.loads((folder / f"{number}.pickle").read_bytes())
    work(item)
