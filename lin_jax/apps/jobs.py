"""What lin_jax does, job by job: a file of this package that has a `JOB` is one.

The command line, the HTTP API and the page show whatever jobs there are.
"""

import dataclasses
import functools
import importlib
import importlib.util
import pathlib
import pkgutil
from collections.abc import Callable
from typing import Any

from lin_jax import apps
from lin_jax.apps.common import Command
from lin_jax.errors import ConfigError

EXAMPLES = pathlib.Path(__file__).parent / "examples"  # made by `lin speak`, one with noise added


@dataclasses.dataclass(frozen=True)
class Job:
    """A job on the command line, in the HTTP API and on the page.

    Attributes:
        name: of its address, /v1/NAME.
        title: of its tab.
        kind: `Bundle.task` of the bundles that do it.
        bundle: name of the one that ships; None where it takes none.
        commands: of the command line.
        endpoint: adds its route to a FastAPI application, for a `serving.Model`.
        tab: draws its tab, for a `serving.Model` and the folder in which recordings are made; None
            where it has none.
        requests: examples of curl, and what there is to say of them, for `lin serve --help`.
        warm_up: uses a bundle once, on so many seconds of sound or speech.
        max_seconds: of the recordings of one request that is served.
        serves: which bundles of the kind do it.
    """

    name: str
    title: str
    kind: str
    bundle: str | None
    commands: tuple[Command, ...]
    endpoint: Callable[[Any, Any], None]
    tab: Callable[[Any, str], None] | None
    requests: str
    warm_up: Callable[[Any, float], object]
    max_seconds: float = 7200.0
    serves: Callable[[Any], bool] = lambda bundle: True

    def done_by(self, bundle) -> bool:
        """Whether a bundle does this job."""
        return bundle.task == self.kind and self.serves(bundle)


@functools.cache
def discover() -> tuple[Job, ...]:
    """The jobs of this package, by the names of their files."""
    jobs = []
    for module in pkgutil.iter_modules(apps.__path__, f"{apps.__name__}."):
        # Only a module that names a JOB is run: others need libraries that may not be installed.
        spec: Any = importlib.util.find_spec(module.name)
        if "JOB" in spec.loader.get_code(module.name).co_names:
            jobs.append(importlib.import_module(module.name).JOB)
    return tuple(jobs)


def example_speech(bundle, seconds: float) -> tuple[Any, int]:
    """Speech to warm up with, and its rate in Hz: of noise no more is heard than that it is noise."""
    import numpy as np

    from lin_jax.audio import files

    samples, rate = files.read(EXAMPLES / "woman.mp3", bundle.frontend.sample_rate)
    return np.resize(samples, round(seconds * rate)), rate


def done_by(bundle) -> tuple[Job, ...]:
    """The jobs that a bundle does; ConfigError if it does none."""
    jobs = tuple(job for job in discover() if job.done_by(bundle))
    if not jobs:
        kinds = ", ".join(dict.fromkeys(f"{job.name} ({job.kind})" for job in discover()))
        raise ConfigError(
            f"{bundle.name}: a {bundle.task} bundle that has no job of its own; the jobs are {kinds}"
        )
    return jobs
