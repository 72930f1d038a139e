"""Compiling is timed and, where somebody waits for it, announced."""

import contextlib
import sys
import threading
from collections.abc import Iterator

PATIENCE = 2.0  # seconds of waiting before a line says for what
_announced = threading.Event()  # once in a process
# What JAX reports of every program: tracing, lowering, and compiling or finding it in the cache.
STAGES = ("jaxpr_trace_duration", "jaxpr_to_mlir_module_duration", "backend_compile_duration")


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
    """Say "first use: compiling, once" where what is called within takes over two seconds of it.

    A process says so once, however many programs it compiles.
    """
    done = threading.Event()

    def watch():
        while not done.wait(PATIENCE):
            if clock.stages and not _announced.is_set():
                _announced.set()
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
