"""Work on bundles: short pieces in threads that all bundles share, long ones in a process that can be ended.

A thread cannot be ended: short work is given up between two steps of a network.
"""

import contextlib
import functools
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import lin_jax
from lin_jax import cancellation
from lin_jax.apps.fair_pool import FairPool, FairQueue
from lin_jax.errors import LinError

MAX_WAITING = 64  # pieces of work in a queue
THREADS = max(2, os.cpu_count() or 1)  # for short work: more at once would only share the cores
IDLE_SECONDS = 60.0  # after which a process without work is ended: it holds the bundle once more
POLL_SECONDS = 0.1
NICENESS = 10  # of the processes, so that long work leaves the processors to short work


class BusyError(LinError):
    """More is waiting than is taken."""


class WorkEndedError(LinError):
    """Work that took too long, or whose process ended."""


class Work(Future):
    """The future result of a function; `cancel` ends it even while it runs: at once, or after the step it is at."""

    def __init__(self, function: Callable, arguments: tuple):
        super().__init__()
        self.function, self.arguments = function, arguments
        self.abandoned = threading.Event()

    def cancel(self) -> bool:
        """See `Future`."""
        self.abandoned.set()
        return super().cancel()


@functools.cache
def _pool() -> FairPool:
    """The threads for all short work, as the cores are there for all of it."""
    return FairPool(THREADS)


class Worker:
    """Two queues of work on a bundle.

    Args:
        bundle: what functions are called with.
        source: its name or folder, by which a process loads it; without one, long work has a thread.
    """

    def __init__(self, bundle: Any, source: str | None = None):
        self._bundle, self._source = bundle, source
        at_once = THREADS if getattr(bundle, "concurrent", False) else 1
        self._short = FairQueue(_pool(), at_once, MAX_WAITING)
        self._long: queue.Queue = queue.Queue(MAX_WAITING)
        self._process: _Process | None = None
        # A daemon: the end of the program does not wait for it.
        threading.Thread(target=self._run_long, daemon=True).start()

    def submit(self, function: Callable, arguments: tuple, *, is_long: bool = False) -> Work:
        """The future result of a function of the bundle and these arguments.

        Args:
            function: of a module, so that a process finds it.
            arguments: beside the bundle.
            is_long: whether it is to have a process, or a thread, of this bundle alone.

        Raises:
            BusyError: too much is waiting already.
        """
        work = Work(function, arguments)
        try:
            if is_long:
                self._long.put_nowait(work)
            else:
                self._short.put(functools.partial(self._do, work))
        except queue.Full:
            raise BusyError(f"{MAX_WAITING} requests are waiting; ask again in a while") from None
        return work

    @property
    def waiting(self) -> int:
        """How many pieces of work are."""
        return len(self._short) + self._long.qsize()

    def close(self):
        """End the process, if there is one."""
        if self._process:
            self._process.end()

    def _do(self, work: Work):
        """Do it in this thread, unless it was cancelled while it was waiting."""
        if not work.set_running_or_notify_cancel():
            return
        try:
            with cancellation.given_up_by(work.abandoned):
                work.set_result(work.function(self._bundle, *work.arguments))
        except BaseException as error:
            work.set_exception(error)

    def _run_long(self):
        while True:
            try:
                work = self._long.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self.close()
                self._process = None
                continue
            if self._source is None:
                self._do(work)
            elif work.set_running_or_notify_cancel():
                if self._process is None:
                    self._process = _Process(self._source)
                if not self._process.do(work):
                    self._process = None
            del work  # and the recordings that it holds


class _Process:
    """A process that has loaded a bundle of its own."""

    def __init__(self, source):
        context = multiprocessing.get_context("spawn")  # JAX has threads: a fork would hang
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, source), daemon=True)
        self._process.start()
        other.close()

    def do(self, work: Work) -> bool:
        """Do it, unless it is abandoned; whether the process is still there."""
        try:
            self._connection.send((work.function, work.arguments))
            while not self._connection.poll(POLL_SECONDS):
                if work.abandoned.is_set():
                    raise EOFError
            is_result, answer = self._connection.recv()
        except (EOFError, OSError):
            self.end()
            work.set_exception(
                WorkEndedError("this took too long, or memory ran out; ask for less")
            )
            return False
        if is_result:
            work.set_result(answer)
        else:
            work.set_exception(answer)
        return True

    def end(self):
        """Kill it."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def _serve(connection, source):
    """Answer one piece of work after the other until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.nice(NICENESS)
    bundle = lin_jax.load(source)
    with contextlib.suppress(EOFError):
        while True:
            function, arguments = connection.recv()
            try:
                answer = True, function(bundle, *arguments)
            except LinError as error:
                answer = False, error
            except Exception as error:
                answer = False, RuntimeError(f"{type(error).__name__}: {error}")
            connection.send(answer)
