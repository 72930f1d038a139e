"""Calibration of scores."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from lin_jax import calibration

RNG = np.random.default_rng(0)


def trials(n=400, seed=0):
    """Scores of half as many same-speaker trials as others, rounded so that some are equal."""
    rng = np.random.default_rng(seed)
    same = np.arange(n) % 3 == 0
    return np.round(rng.normal(size=n) + 1.5 * same, 2), same


def test_logistic_calibration():
    """Equal to scikit-learn's logistic regression with balanced classes, and never infinite."""
    scores, same = trials()
    model = LogisticRegression(C=1e9, class_weight="balanced", tol=1e-9).fit(scores[:, None], same)
    slope, offset = calibration.fit_logistic(scores, same)
    assert slope == pytest.approx(model.coef_[0, 0], rel=1e-3)
    assert offset == pytest.approx(model.intercept_[0], rel=1e-3)
    assert np.isfinite(calibration.fit_logistic([0.1, 0.9], [False, True])).all()
    times = RNG.integers(1, 4, len(scores))
    repeated = calibration.fit_logistic(np.repeat(scores, times), np.repeat(same, times))
    assert calibration.fit_logistic(scores, same, times) == pytest.approx(repeated, rel=1e-3)
    assert repeated != pytest.approx((slope, offset), rel=1e-3)
    vectors = np.stack([scores, RNG.normal(size=len(scores))], axis=1)
    model = LogisticRegression(C=1e9, class_weight="balanced", tol=1e-9).fit(vectors, same)
    np.testing.assert_allclose(
        calibration.fit_logistic(vectors, same)[0], model.coef_[0], rtol=1e-2
    )


def test_threshold_holds_in_every_corpus():
    """Impostors are more alike in the second corpus; both weigh alike, whatever the number of their trials."""
    rng = np.random.default_rng(0)
    trials = []
    for mean, count in ((0.0, 4000), (1.0, 400)):
        same = np.arange(count) % 4 == 0
        trials.append((rng.normal(np.where(same, 5.0, mean), 1.0), same))
    chosen = calibration.fit_threshold(trials, 0.05)
    accepted = [np.mean(scores[~same] >= chosen["threshold"]) for scores, same in trials]
    assert accepted[0] < 0.01
    assert accepted[1] == pytest.approx(0.05, abs=0.004)
    assert chosen["slope"] * chosen["threshold"] + chosen["offset"] == pytest.approx(0)
    twice = [trials[0], tuple(np.tile(part, 3) for part in trials[1])]
    assert calibration.fit_threshold(twice, 0.05) == pytest.approx(chosen, rel=1e-2)


def test_balanced_threshold_is_that_of_logistic_regression_with_the_slope_given():
    rng = np.random.default_rng(0)
    same = np.arange(2000) < 400
    scores = rng.normal(np.where(same, 2.0, -1.0), 1.0)
    slope, offset = calibration.fit_logistic(scores, same)
    threshold = calibration.balanced_threshold(scores, same, slope)
    assert threshold == pytest.approx(-offset / slope, abs=1e-3)
    weight = np.where(scores > 3.0, 0.0, 1.0)
    assert calibration.balanced_threshold(scores, same, slope, weight) < threshold
    apart = calibration.balanced_threshold([0.0, 0.0, 4.0], [False, False, True], 2.0)
    assert apart == pytest.approx(2.0), "nothing is wrong, so it lies in the middle"
