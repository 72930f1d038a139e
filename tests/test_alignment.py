"""Alignment: the sum over paths is that of all of them, and the best path is the best of them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lin_jax import alignment
from lin_jax.errors import TextError
from lin_jax.models.aligner import Aligner


def paths(T, L):
    """Every monotonic path as durations [L]."""
    for cuts in itertools.combinations(range(1, T), L - 1):
        yield np.diff([0, *cuts, T])


def test_best_path_is_the_best_of_all():
    scores = np.random.default_rng(0).normal(size=(7, 4))
    values = {
        tuple(path): scores[np.arange(7), np.repeat(np.arange(4), path)].sum()
        for path in paths(7, 4)
    }
    assert tuple(alignment.durations(scores)) == max(values, key=values.get)
    assert alignment.durations(np.zeros((3, 3))).tolist() == [1, 1, 1]
    with pytest.raises(TextError, match="4 symbols in 3 frames"):
        alignment.durations(np.zeros((3, 4)))


def test_forward_sum_prefers_what_fits_and_ignores_padding():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(1, 6, 3)).astype(np.float32)
    frames, symbols = np.array([6]), np.array([3])

    def loss(scores, frames=frames, symbols=symbols):
        logs = alignment.log_alignment(jnp.asarray(scores), frames, symbols)
        return float(alignment.forward_sum(logs, frames, symbols)[0])

    right = np.full((1, 6, 3), -5.0, np.float32)
    right[0, np.arange(6), [0, 0, 1, 1, 2, 2]] = 5.0
    assert loss(right) < loss(scores) < loss(right[:, ::-1])
    padded = np.pad(scores, ((0, 0), (0, 4), (0, 2)), constant_values=9.0)
    assert loss(padded) == pytest.approx(loss(scores), abs=1e-5)


def test_aligner_finds_where_symbols_are_said():
    """Each symbol is one band; how long each is held is found without being told."""
    rng = np.random.default_rng(0)
    B, L, T, M = 8, 5, 30, 8
    symbols = np.stack([rng.permutation(M - 1)[:L] + 1 for _ in range(B)])
    true = np.stack([rng.multinomial(T - 2 * L, np.ones(L) / L) + 2 for _ in range(B)])
    mel = np.stack([np.eye(M)[np.repeat(s, d)] for s, d in zip(symbols, true, strict=True)]) * 3
    model = Aligner(M, width=16, hidden=8)
    params = model.init(jax.random.key(0), symbols, mel)
    frames, counts = np.full(B, T), np.full(B, L)

    def loss(params, diagonal):
        logs = alignment.log_alignment(model.apply(params, symbols, mel), frames, counts, diagonal)
        return alignment.forward_sum(logs, frames, counts).mean()

    optimiser = optax.adam(1e-2)
    state = optimiser.init(params)

    @jax.jit
    def step(params, state, diagonal):
        gradient = jax.grad(loss)(params, diagonal)
        updates, state = optimiser.update(gradient, state)
        return optax.apply_updates(params, updates), state

    for number in range(150):
        params, state = step(params, state, max(0.0, 1 - number / 75))
    logs = alignment.log_alignment(model.apply(params, symbols, mel), frames, counts)
    errors = [
        np.abs(np.cumsum(alignment.durations(np.asarray(log))) - np.cumsum(duration)).max()
        for log, duration in zip(logs, true, strict=True)
    ]
    assert np.mean(errors) < 0.5
