"""Threads that several queues share: what has waited longest is done first, whichever queue it is in."""

import collections
import queue
import threading
from collections.abc import Callable


class FairPool:
    """Threads, and what waits for them.

    Args:
        threads: how many.
    """

    def __init__(self, threads: int):
        self._waiting: collections.deque[tuple[FairQueue, Callable[[], object]]]
        self._waiting, self._changed = collections.deque(), threading.Condition()
        for _ in range(threads):  # daemons: the end of the program waits for none
            threading.Thread(target=self._run, daemon=True).start()

    def put(self, line: "FairQueue", do: Callable[[], object]):
        """See `FairQueue.put`."""
        with self._changed:
            if self._count(line) >= line.max_waiting:
                raise queue.Full
            self._waiting.append((line, do))
            self._changed.notify()

    def count(self, line: "FairQueue") -> int:
        """How many of a queue are waiting."""
        with self._changed:
            return self._count(line)

    def _count(self, line: "FairQueue") -> int:
        return sum(other is line for other, _ in self._waiting)

    def _next(self) -> int | None:
        """The place of the first that may be done now."""
        places = enumerate(self._waiting)
        return next((place for place, (line, _) in places if line.running < line.at_once), None)

    def _run(self):
        while True:
            with self._changed:
                while (place := self._next()) is None:
                    self._changed.wait()
                line, do = self._waiting[place]
                del self._waiting[place]
                line.running += 1
            do()
            del do  # and what it holds
            with self._changed:
                line.running -= 1
                self._changed.notify()  # another of this queue may be done now


class FairQueue:
    """A queue for the threads of a pool.

    Args:
        pool: with the threads.
        at_once: pieces that are done at once, at most.
        max_waiting: pieces that wait, at most.

    Attributes:
        running: pieces that are being done; the pool's.
    """

    def __init__(self, pool: FairPool, at_once: int, max_waiting: int):
        self._pool, self.at_once, self.max_waiting = pool, at_once, max_waiting
        self.running = 0

    def put(self, do: Callable[[], object]):
        """Let a thread call a function, which raises nothing, when it is its turn.

        Raises:
            queue.Full: too many are waiting.
        """
        self._pool.put(self, do)

    def __len__(self) -> int:
        """How many are waiting."""
        return self._pool.count(self)
