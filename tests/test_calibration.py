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
