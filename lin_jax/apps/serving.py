"""The models that are served, whatever brings the requests: the HTTP API or the page."""

import contextlib
import dataclasses
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import lin_jax
from lin_jax.apps import jobs
from lin_jax.apps.common import clock
from lin_jax.apps.jobs import Job
from lin_jax.apps.workers import BusyError, Work, WorkEndedError, Worker
from lin_jax.errors import AudioError, ConfigError, LinError

SHORT_SECONDS = 60.0  # what reads or makes more has a process of its own
MAX_NAMES = 16  # of voices, in a line
MAX_WORK_SECONDS = 1800.0  # of waiting and working
WARM_SECONDS = 4.0  # of what models work on before they are asked


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A bundle that is served.

    Attributes:
        bundle: what answers.
        card: its model card as Markdown.
        source: name or folder of the bundle; None where it has none, and is only in memory.
        max_seconds: of the recordings of one request, in all.
        worker: what the requests wait for; jobs of one bundle share it.
    """

    bundle: Any
    card: str
    source: str | None = None
    max_seconds: float = math.inf
    worker: Worker = dataclasses.field(default=None, repr=False)  # type: ignore[assignment]

    def __post_init__(self):
        if self.worker is None:
            object.__setattr__(self, "worker", Worker(self.bundle, self.source))

    def check_seconds(self, name: str, seconds: float):
        """Raises AudioError, beginning with a name, if recordings of so many seconds are too long."""
        if seconds > self.max_seconds:
            raise AudioError(
                f"{name}: {clock(seconds)} are too long, {clock(self.max_seconds)} are taken; "
                "use the command line"
            )

    def submit(
        self, function: Callable, *args, recordings: Sequence[str] = (), seconds: float = 0.0
    ) -> Work:
        """The future result of a function of the bundle and these arguments, when it is its turn.

        Args:
            function: of a module, so that a process finds it.
            args: beside the bundle.
            recordings: paths of the recordings that it reads.
            seconds: of speech that it makes, about.

        Raises:
            AudioError: the recordings are too long, or cannot be read.
            BusyError: too much is waiting.
        """
        from lin_jax.audio import files

        for path in recordings:
            seconds += files.duration(path)
            self.check_seconds(path, seconds)
        return self.worker.submit(function, args, is_long=seconds > SHORT_SECONDS)

    async def run(self, function: Callable, *args, **how) -> Any:
        """The result of what `submit` does; WorkEndedError if it takes longer than `MAX_WORK_SECONDS`.

        What it does is ended when this is cancelled.
        """
        import asyncio

        work = await asyncio.to_thread(self.submit, function, *args, **how)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(work), MAX_WORK_SECONDS)
        except TimeoutError:
            raise WorkEndedError("this took too long; ask for less, or ask again") from None


def load(names: Sequence[str], max_seconds: Mapping[str, float] = MappingProxyType({})):
    """The models of bundles by name or folder, as `assign` gives them their jobs."""
    from lin_jax import bundles

    loaded = {name: lin_jax.load(name) for name in names}
    for bundle in loaded.values():
        if isinstance(bundle, bundles.Classifier):
            bundle.share_gate(loaded)
    models = [Model(bundle, bundles.read_card(name), name) for name, bundle in loaded.items()]
    return assign(models, max_seconds)


def assign(
    models: Sequence[Model], max_seconds: Mapping[str, float] = MappingProxyType({})
) -> dict[Job, Model]:
    """The model of each job, the last that does it; a job without a bundle always has one.

    Args:
        models: that are served.
        max_seconds: of the recordings of one request, by the names of jobs; else as the job has it.

    Raises:
        ConfigError: a model has no job, or a limit is of none.
    """
    chosen = {job: Model(None, "") for job in jobs.discover() if job.bundle is None}
    chosen |= {job: model for model in models for job in jobs.done_by(model.bundle)}
    names = {job.name for job in jobs.discover()}
    if unknown := set(max_seconds) - names:
        raise ConfigError(f"{unknown.pop()}: no job; limits are of {', '.join(sorted(names))}")
    return {
        job: dataclasses.replace(
            chosen[job], max_seconds=max_seconds.get(job.name, job.max_seconds)
        )
        for job in jobs.discover()
        if job in chosen
    }


def warm_up(models: Mapping[Job, Model]) -> threading.Thread:
    """Let every model work once, so that nobody waits for it to be compiled, in a thread that ends then.

    One after the other, the smallest first: what classifies answers while what speaks is compiled.
    """
    import jax

    def size(job: Job) -> int:
        return sum(
            leaf.size for leaf in jax.tree.leaves(getattr(models[job].bundle, "variables", ()))
        )

    def each():
        for job in sorted(models, key=size):
            with contextlib.suppress(BusyError):
                models[job].worker.submit(job.warm_up, (WARM_SECONDS,)).exception()

    thread = threading.Thread(target=each, daemon=True)
    thread.start()
    return thread


def close(models: Mapping[Job, Model]):
    """End the processes in which long work is done."""
    for model in models.values():
        model.worker.close()


def addresses(models: Mapping[Job, Model]) -> list[str]:
    """Where other programs ask these models."""
    return [f"/v1/{job.name}" for job in models]


def voices(bundle: Any) -> list[tuple[str, str, bool]]:
    """The voices that a bundle speaks in by name, with their sex, and whether they were saved.

    Of one that does not speak there are none. A saved voice is there where its speaker bundle is
    that of the bundle.
    """
    from lin_jax.bundles import saved_voices

    if not getattr(bundle, "names", ()):
        return []
    learnt = [(name, sex, False) for name, sex in zip(bundle.names, bundle.sexes, strict=True)]
    saved = []
    for name in saved_voices.names():
        with contextlib.suppress(ConfigError):
            saved_voices.load(name, bundle.encoder_fingerprint)
            saved.append((name, "", True))
    return learnt + [row for row in saved if row[0] not in bundle.names]


def check_voice(name: str, bundle: Any):
    """Raises AudioError unless a bundle speaks in a voice of that name, such as that of a path."""
    names = [known for known, *_ in voices(bundle)]
    if name not in names:
        more = ", … (GET /v1/voices)" if len(names) > MAX_NAMES else ""
        raise AudioError(
            f"{name}: no voice of this model; send a recording with voice=@clip.wav, or one of these names: "
            f"{', '.join(names[:MAX_NAMES])}{more}"
        )


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
