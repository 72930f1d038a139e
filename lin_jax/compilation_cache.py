"""Programs that were compiled once are found again by whoever runs the same next; compiling is timed
and, where somebody waits for it, announced.

They are machine code that is loaded as it lies there: nobody else may write to the folder.
"""

import contextlib
import hashlib
import os
import pathlib
import platform
import sys
import threading
from collections.abc import Iterator

from lin_jax import private
from lin_jax.errors import LinError

FOLDER = pathlib.Path("~/.lin_jax/compiled")
PATIENCE = 2.0  # seconds that one waits without being told for what
# What JAX reports of every program: tracing, lowering, and compiling or finding it in the cache.
STAGES = ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration", "backend_compile_duration")


def enable():
    """Let this process find what earlier ones compiled, and keep what it compiles.

    What was compiled for one processor is not for another. Anyone may set JAX's environment
    variables otherwise. A folder that others can write to is not used, and named on stderr.
    """
    processor = platform.processor()
    with contextlib.suppress(OSError):
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        processor += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    folder = FOLDER.expanduser() / hashlib.sha256(processor.encode()).hexdigest()[:12]
    settings = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.1,
    }
    with contextlib.suppress(OSError):  # a home that cannot be written to
        try:
            for path in (FOLDER.expanduser().parent, FOLDER.expanduser(), folder):
                private.make_folder(path).chmod(0o700)
        except LinError as error:
            print(f"nothing compiled is kept or found: {error}", file=sys.stderr)
            return
        for name, value in settings.items():
            if name.upper() in os.environ:
                continue
            os.environ[name.upper()] = str(
                value
            )  # for when JAX is imported, and for processes that are started
            if "jax" in sys.modules:
                sys.modules["jax"].config.update(name, value)


class CompilationClock:
    """Seconds spent on tracing and compiling while it runs, whatever is compiled.

    Attributes:
        seconds: so far.
        stages: finished so far, of which a program has several.
        programs: compiled so far.
    """

    def __init__(self):
        self.seconds, self.stages, self.programs = 0.0, 0, 0

    def __enter__(self):
        import jax

        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *exception):
        import jax

        jax.monitoring.unregister_event_duration_listener(self._listen)

    def _listen(self, event, seconds, **_):
        kind = event.rpartition("/")[2]
        self.stages += kind in STAGES
        self.seconds += seconds if kind in STAGES else 0.0
        self.programs += kind == "backend_compile_duration"


@contextlib.contextmanager
def announced() -> Iterator[None]:
    """Say "first use: compiling, once" where what is called within takes over two seconds of it."""
    done = threading.Event()

    def watch():
        while not done.wait(PATIENCE):
            if clock.stages:
                print("first use: compiling, once", file=sys.stderr, flush=True)
                return

    with CompilationClock() as clock:
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            done.set()
            watcher.join()
