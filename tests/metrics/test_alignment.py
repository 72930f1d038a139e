"""Metrics of attention."""

import numpy as np
import pytest

from lin_jax import metrics


def test_attention_health():
    """One step a position is healthy.

    A jump, a return, an early end and blurred weights each show.
    """
    L, S = 20, 24
    good = [min(step, L - 1) for step in range(S)]
    jump = [step if step < 5 else min(step + 8, L - 1) for step in range(S)]
    back = [step if step < 15 else max(step - 10, 0) for step in range(S)]
    paths = np.array([good, jump, back, [step // 2 for step in range(S)], good])
    attention = np.eye(L)[paths]
    attention[4] = 0.5 * attention[4] + 0.5 / L
    health = metrics.alignment_metrics(attention, np.full(5, S), np.full(5, L))
    np.testing.assert_allclose(health["focus_rate"], [1, 1, 1, 1, 0.5 + 0.5 / L], rtol=1e-6)
    np.testing.assert_allclose(health["skipped"], [0, 8, L - 1 - 14, L - 1 - 11, 0])
    np.testing.assert_allclose(health["repeated"], [0, 0, 9, 0, 0])
    assert health["diagonal_rate"][0] == pytest.approx(
        21 / 24
    )  # it waits at the end for longer than the band is wide
    assert (health["diagonal_rate"][1:] < 0.7).all()
    rubbish = np.concatenate([attention, np.ones((5, 3, L))], axis=1)
    padded = metrics.alignment_metrics(
        np.pad(rubbish, ((0, 0), (0, 0), (0, 2))), np.full(5, S), np.full(5, L)
    )
    for name, values in health.items():
        np.testing.assert_allclose(padded[name], values, rtol=1e-6)
