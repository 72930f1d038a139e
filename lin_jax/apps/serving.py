"""The models that are served, whatever brings the requests: the HTTP API or the page."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import lin_jax
from lin_jax.apps import jobs
from lin_jax.apps.jobs import Job
from lin_jax.errors import LinError

MAX_MEGABYTES = 200  # of an upload; as a 16-bit WAV at 16 kHz it lasts more than an hour and a half


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A bundle that is served, one request after the other.

    Attributes:
        bundle: what answers.
        card: its model card as Markdown.
    """

    bundle: Any
    card: str
    _worker: ThreadPoolExecutor = dataclasses.field(
        default_factory=lambda: ThreadPoolExecutor(1), repr=False
    )

    def submit(self, function: Callable, *args) -> Future:
        """The future result of a function of the bundle and these arguments, when it is its turn."""
        return self._worker.submit(function, self.bundle, *args)

    async def run(self, function: Callable, *args) -> Any:
        """The result of a function of the bundle and these arguments, when it was its turn."""
        return await asyncio.wrap_future(self.submit(function, *args))


def load(names: Sequence[str]) -> dict[Job, Model]:
    """The models of bundles by name or folder, as `assign` gives them their jobs."""
    from lin_jax import bundles

    return assign([Model(lin_jax.load(name), bundles.read_card(name)) for name in names])


def assign(models: Sequence[Model]) -> dict[Job, Model]:
    """The model of each job, the last that does it; ConfigError if one does none."""
    chosen = {job: model for model in models for job in jobs.done_by(model.bundle)}
    return {job: chosen[job] for job in jobs.discover() if job in chosen}


def addresses(models: Mapping[Job, Model]) -> list[str]:
    """Where other programs ask these models."""
    return [f"/api/{job.name}" for job in models]


@contextlib.contextmanager
def named(names: Mapping[str, str]) -> Iterator[None]:
    """Let errors inside call each path by the name its sender knows."""
    try:
        yield
    except LinError as error:
        raise type(error)(rename(str(error), names)) from None


def rename(text: str, names: Mapping[str, str]) -> str:
    """A text with a name in place of each path."""
    for path, name in names.items():
        text = text.replace(path, name)
    return text
