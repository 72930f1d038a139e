"""The command that compiles ahead what the models that ship need: `lin warmup`."""

from lin_jax.apps import jobs
from lin_jax.apps.common import Command, load_bundle, progress
from lin_jax.compilation import CompilationClock

SECONDS = (1.0, 4.0, 8.0, 16.0)  # of recordings, or of speech: others take the same programs


def _warm_up(args) -> int:
    """Let every shipped bundle do its job once for each length."""
    from lin_jax import bundles

    del args
    known = bundles.shipped()
    shipped = [(job, job.bundle) for job in jobs.discover() if job.bundle and job.bundle in known]
    with CompilationClock() as clock, progress(len(shipped) * len(SECONDS), "length") as bar:
        for job, name in shipped:
            bar.set_description(job.name)
            bundle = load_bundle(name, job.kind)
            for seconds in SECONDS:
                job.warm_up(bundle, seconds)
                bar.update()
    print(
        f"jobs ready: {len(shipped)}; {clock.programs} programs, {clock.seconds:.0f} s of compiling "
        "or finding them"
    )
    return 0


COMMAND = Command(
    name="warmup",
    summary="compile ahead what the models that ship need",
    teach="""\
examples:
  lin warmup        once after installing, or while an image for a container is built

What is compiled stays in ~/.lin_jax/compiled, of which every later command takes what it needs. It is of this
processor and this version; where either changes, the first use compiles again.
Exit code: 0 all is compiled, 2 something could not be used.""",
    add_arguments=lambda parser: None,
    run=_warm_up,
)
