"""Error rates of trials: by hand and against scikit-learn."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from sklearn import metrics as reference

from lin_jax import metrics
from lin_jax.errors import ConfigError

RNG = np.random.default_rng(0)


def trials(n=400, seed=0):
    """Scores of half as many same-speaker trials as others, rounded so that some are equal."""
    rng = np.random.default_rng(seed)
    same = np.arange(n) % 3 == 0
    return np.round(rng.normal(size=n) + 1.5 * same, 2), same


@pytest.mark.parametrize("weighted", [False, True])
def test_error_rates_are_those_of_scikit_learn(weighted):
    """The DET curve, EER and minDCF read from scikit-learn's ROC curve, weights included."""
    scores, same = trials()
    weight = RNG.integers(0, 4, len(same)) if weighted else None
    accept, hit, thresholds = reference.roc_curve(
        same, scores, sample_weight=weight, drop_intermediate=False
    )
    ours = metrics.det_curve(scores, same, weight)
    np.testing.assert_allclose(
        np.interp(accept, ours[0], 1 - ours[1]), np.interp(accept, accept, hit), atol=1e-9
    )
    expected = scipy.optimize.brentq(lambda x: 1 - x - np.interp(x, accept, hit), 0, 1)
    rate, threshold = metrics.equal_error_rate(scores, same, weight)
    assert rate == pytest.approx(expected, abs=1e-9)
    assert abs(np.interp(-threshold, -thresholds[1:], accept[1:]) - rate) < 0.01
    for p in (0.01, 0.05, 0.9):
        cost = (p * (1 - hit) + (1 - p) * accept).min() / min(p, 1 - p)
        assert metrics.min_dcf(scores, same, p, weight=weight) == pytest.approx(cost)


def test_error_rates_by_hand():
    """Two targets, two impostors, one of each misplaced.

    Half of either kind errs at the best threshold.
    """
    assert metrics.equal_error_rate([0.9, 0.3, 0.5, 0.1], [1, 1, 0, 0])[0] == pytest.approx(0.5)
    assert metrics.equal_error_rate([0.9, 0.6, 0.5, 0.1], [1, 1, 0, 0]) == (0.0, pytest.approx(0.6))
    assert metrics.min_dcf([0.9, 0.3, 0.5, 0.1], [1, 1, 0, 0], 0.05) == pytest.approx(
        0.5
    )  # accept 0.9 alone
    with pytest.raises(ConfigError, match="one kind only"):
        metrics.equal_error_rate([0.1, 0.2], [1, 1])
