"""Windows of a long signal: joined they are the signal, and no end of a window is kept."""

import itertools
import tracemalloc

import numpy as np
import pytest

from lin_jax.audio.chunking import Crossfader, Overlap, Queue

SIZE, CONTEXT, FADE, GRID = 200, 20, 10, 16


def overlap(N):
    return Overlap(N, SIZE, CONTEXT, FADE, GRID)


def blocks(signal, *sizes):
    """The signal in blocks of these sizes, over and over."""
    for size in itertools.cycle(sizes):
        if not len(signal):
            return
        yield signal[:size]
        signal = signal[size:]


@pytest.mark.parametrize("N", [1, 199, 200, 201, 216, 344, 345, 1000, 4321])
@pytest.mark.parametrize("sizes", [(1,), (7, 500), (10_000,)])
def test_joined_windows_are_the_signal(N, sizes):
    signal = np.random.default_rng(N).normal(size=(N, 2)).astype(np.float32)
    plan = overlap(N)
    windows = list(plan.cut(blocks(signal, *sizes)))
    assert [len(window) for window in windows] == [min(N - start, SIZE) for start in plan.starts]
    assert N - plan.starts[-1] > SIZE - GRID or N < SIZE
    joiner = Crossfader(plan)
    pieces = [joiner.push(window) for window in windows]
    assert joiner.done
    np.testing.assert_allclose(np.concatenate(pieces), signal, atol=1e-6)


@pytest.mark.parametrize("N", [201, 1000, 1001, 4321])
def test_ends_of_windows_are_left_out(N):
    """What stands in the context of an end that is not the signal's may be anything."""
    plan = overlap(N)
    assert not any(start % GRID for start in plan.starts)
    joiner, pieces = Crossfader(plan), []
    for start, window in zip(plan.starts, map(np.copy, plan.cut([np.ones(N)])), strict=True):
        if start > 0:
            window[:CONTEXT] = np.nan
        if start + SIZE < N:
            window[-CONTEXT:] = np.nan
        pieces.append(joiner.push(window))
    np.testing.assert_array_equal(np.concatenate(pieces), np.ones(N))


def test_windows_fade_into_each_other():
    """Of a window of zeros and one of ones becomes a straight ramp in the middle of what they
    share.
    """
    plan = overlap(300)
    assert plan.starts == [0, 112]
    joiner = Crossfader(plan)
    joined = np.concatenate([joiner.push(np.zeros(SIZE)), joiner.push(np.ones(300 - 112))])
    middle = (112 + SIZE) // 2
    np.testing.assert_allclose(joined[middle - 5 : middle + 5], (np.arange(10) + 0.5) / 10)
    assert not joined[: middle - 5].any()
    assert joined[middle + 5 :].all()


def test_a_signal_too_short_is_followed_by_zeros_and_one_too_long_is_cut():
    for given in (290, 310):
        windows = list(overlap(300).cut([np.ones(given)]))
        assert windows[-1].sum() == min(given, 300) - 112


def test_memory_does_not_grow_with_the_signal():
    plan = overlap(10**6)
    joiner = Crossfader(plan)
    tracemalloc.start()
    for window in plan.cut(np.zeros(100) for _ in range(10**4)):
        joiner.push(window)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 10**6 / 4


def test_queue():
    queue = Queue()
    assert queue.pop(0) is None
    for block in np.split(np.arange(10), [3, 4]):
        queue.push(block)
    assert queue.pop(5).tolist() == [0, 1, 2, 3, 4]
    assert (len(queue), queue.first(2).tolist(), len(queue)) == (5, [5, 6], 5)
    assert queue.pop(99).tolist() == [5, 6, 7, 8, 9]
