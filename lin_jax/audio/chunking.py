"""A long signal in windows that overlap, and the windows joined again, in constant memory.

Of two windows that overlap each keeps what lies farther from its own end, so that what was computed
of a window without knowing what lies around it is left out.

Shape letters: N samples of the signal, W of a window; `...` any axes behind time.
"""

import collections
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np


@dataclasses.dataclass(frozen=True)
class Overlap:
    """How a signal is divided.

    Attributes:
        num_samples: N.
        size: W, at least `2 * context + fade + grid`; where the signal ends, a window is shorter.
        context: samples at either end of a window that are left out, at least.
        fade: samples over which one window goes over into the next.
        grid: windows start at its multiples, so that frames of a window are frames of the signal.
    """

    num_samples: int
    size: int
    context: int
    fade: int
    grid: int

    @property
    def starts(self) -> list[int]:
        """Where the windows start."""
        rest = self.num_samples - self.size
        if rest <= 0:
            return [0]
        hop = (self.size - 2 * self.context - self.fade) // self.grid * self.grid
        return [*range(0, rest, hop), -(-rest // self.grid) * self.grid]

    def cut(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the windows [W, ...] of a signal that comes in blocks [n, ...].

        Zeros where they are too few for N.
        """
        blocks, queue, first = iter(blocks), Queue(), 0
        for start in self.starts:
            queue.pop(start - first)
            first = start
            size = min(self.size, self.num_samples - start)
            while len(queue) < size and (block := next(blocks, None)) is not None:
                queue.push(block)
            yield zero_padded(queue.first(size), size)
        for _ in blocks:  # whoever reads it comes to the end
            pass


def zero_padded(x: np.ndarray, size: int) -> np.ndarray:
    """Samples [n, ...] followed by zeros up to a size, if they are fewer."""
    return (
        x
        if len(x) >= size
        else np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)])
    )


class Crossfader:
    """Joins the windows of an `Overlap`, which are pushed in order."""

    def __init__(self, overlap: Overlap):
        """Join from the first window on."""
        self._overlap, self._starts = overlap, overlap.starts
        self._ramp = (np.arange(overlap.fade, dtype=np.float32) + 0.5) / max(overlap.fade, 1)
        self._next = 0
        self._held = np.zeros(0, np.float32)  # the end of the last window, to fade out

    def push(self, window: np.ndarray) -> np.ndarray:
        """Take a window [W, ...] and return what it settles of the signal [n, ...]."""
        i, fade = self._next, self._overlap.fade
        self._next += 1
        begin = self._seam(i) if i else 0
        end = self._overlap.num_samples if self.done else self._seam(i + 1) + fade
        piece = window[begin - self._starts[i] : end - self._starts[i]]
        if i:
            ramp = self._ramp.reshape(-1, *[1] * (piece.ndim - 1))
            piece = np.concatenate([self._held + ramp * (piece[:fade] - self._held), piece[fade:]])
        if not self.done:
            piece, self._held = piece[: len(piece) - fade], piece[len(piece) - fade :]
        return piece

    @property
    def done(self) -> bool:
        """Whether the last window was pushed."""
        return self._next == len(self._starts)

    def _seam(self, i: int) -> int:
        """Where window i begins to fade in: in the middle of what it shares with the one before."""
        return (
            self._starts[i - 1] + self._overlap.size + self._starts[i] - self._overlap.fade
        ) // 2


class Queue:
    """Samples [n, ...] that go in and out in blocks of any length."""

    def __init__(self):
        """Start empty."""
        self._blocks: collections.deque[np.ndarray] = collections.deque()

    def __len__(self) -> int:
        """Count the samples."""
        return sum(map(len, self._blocks))

    def push(self, block: np.ndarray):
        """Append samples."""
        self._blocks.append(block)

    def first(self, n: int) -> np.ndarray:
        """Return the first n samples, or as many as there are; they stay."""
        taken = [self._blocks.popleft()]
        while self._blocks and sum(map(len, taken)) < n:
            taken.append(self._blocks.popleft())
        joined = np.concatenate(taken) if len(taken) > 1 else taken[0]
        self._blocks.appendleft(joined)
        return joined[:n]

    def pop(self, n: int) -> np.ndarray | None:
        """Take out the first n samples, or as many as there are; None where n is 0."""
        if not n:
            return None
        taken = self.first(n)
        self._blocks[0] = self._blocks[0][n:]
        return taken
