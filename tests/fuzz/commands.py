"""Commands on folders of damaged recordings: `PYTHONPATH=tests python -m fuzz.commands 2000` (make fuzz).

Every recording is used, or named on stderr in one line; the good ones among them are all used; and
nothing takes longer than `audio.MAX_SECONDS`. The networks are small: what is sent to them is sound.
"""

import collections
import contextlib
import faulthandler
import functools
import io
import json
import pathlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator

import jax
import numpy as np
import pytest
from fuzz.audio import MAX_SECONDS, mutated, recordings
from helpers import repairers, verifiers

import lin_jax
from lin_jax import bundles
from lin_jax.apps import cli
from lin_jax.audio import files
from lin_jax.audio.frontend_config import FrontendConfig
from lin_jax.models.residual_classifier import ResidualClassifier

BATCH = 50  # damaged files in a folder
GOOD = ("good1.wav", "good2.flac", "good3.mp3")
COMMANDS = {
    "emotion": ["emotion", "in", "--json"],
    "gender": ["gender", "in", "--json", "--timeline"],
    "embed": ["embed", "in", "--out", "voices.npz"],
    "repair": ["repair", "in", "--out", "out", "--json"],
    "verify": ["verify", "in", "--with", "in/good1.wav", "--json"],
}


def models() -> dict[str, bundles.Bundle]:
    """Small bundles by the names of those that ship."""
    config, model = FrontendConfig(), ResidualClassifier(2, widths=(4,), blocks=(1,), hidden=4)
    D = config.num_features
    init = jax.jit(functools.partial(model.init, train=False))
    variables = init(jax.random.key(0), np.zeros((1, 99, D)), np.array([99]))
    classifier = bundles.Classifier(
        "mood", model, config, variables, np.full(D, -30.0), np.full(D, 12.0), ("calm", "angry")
    )
    return {
        "emotion": classifier,
        "gender": classifier,
        "speaker": verifiers.verifier(),
        "repair": repairers.repairer(repairers.Gain(0.5)),
    }


def used(command: str, printed: str) -> set[str]:
    """Names of the recordings that a command used, by what it printed or wrote."""
    if command == "embed":
        paths = list(np.load("voices.npz")["files"])
    elif command == "verify":
        paths = json.loads(printed)["a"]
    else:
        paths = [json.loads(line)["file"] for line in printed.splitlines()]
    return {pathlib.Path(path).name for path in paths}


def problems(command: str, names: set[str]) -> Iterator[str]:
    """What is wrong with how a command treats the recordings of the folder `in`."""
    printed, complaints = io.StringIO(), io.StringIO()
    started = time.process_time()  # however busy the machine is
    faulthandler.dump_traceback_later(MAX_SECONDS * len(names), exit=True, file=sys.__stdout__)
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaints):
        try:
            code = cli.main(COMMANDS[command])
        except Exception as error:
            yield f"{type(error).__name__}: {error}"
            return
        finally:
            faulthandler.cancel_dump_traceback_later()
    if (seconds := time.process_time() - started) > MAX_SECONDS + 0.5 * len(names):
        yield f"took {seconds:.0f} s"
    lines = complaints.getvalue().splitlines()
    yield from (f"on stderr: {line}" for line in lines if not line.startswith("lin: "))
    done = used(command, printed.getvalue())
    named = {name for name in names if any(f"/{name}: " in line for line in lines)}
    yield from (f"{name} lost" for name in names - done - named)
    yield from (f"{name} not done" for name in set(GOOD) - done)
    if code != (1 if names - done else 0):
        yield f"exit code {code}"


def run(folder: pathlib.Path, count: int, seed: int = 0) -> Iterator[str]:
    """Give so many damaged files, beside good ones, to every command.

    Yields:
        What went wrong; nothing, if all is well.
    """
    rng = random.Random(seed)
    seeds = [(path.suffix, path.read_bytes()) for path in recordings(folder)]
    loaded = models()
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(lin_jax, "load", loaded.__getitem__)
        patch.setattr(
            "lin_jax.compilation.PATIENCE", 600.0
        )  # that something is compiled is no problem
        for start in range(0, count, BATCH):
            with tempfile.TemporaryDirectory(dir=folder) as place, contextlib.chdir(place):
                pathlib.Path("in").mkdir()
                for number in range(start, min(start + BATCH, count)):
                    suffix, content = seeds[number % len(seeds)]
                    path = pathlib.Path("in", f"{number:05d}{suffix}")
                    path.write_bytes(mutated(content, rng))
                for number, name in enumerate(GOOD):
                    files.write(f"in/{name}", verifiers.voice(0, 2.0, number), verifiers.RATE)
                names = {path.name for path in pathlib.Path("in").iterdir()}
                for command in COMMANDS:
                    yield from (f"{command}: {each}" for each in problems(command, names))


def main(count: int) -> int:
    """Tell what went wrong; the exit code is 1 if anything."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes = collections.Counter(run(pathlib.Path(folder), count))
    for outcome, times in outcomes.most_common():
        print(f"{times:5d} {outcome}")
    print(f"{count} files, {len(COMMANDS)} commands: {outcomes.total()} problems")
    return int(outcomes.total() > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
