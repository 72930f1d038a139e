"""Losses against values worked out by hand and by scikit-learn."""

import jax
import numpy as np
import pytest
import scipy.special
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from lin_jax import losses

LOGITS = np.log(np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]], np.float32))
LABELS = np.array([0, 2])


@pytest.mark.parametrize(
    ("targets", "options", "expected"),
    [
        (LABELS, {}, -np.log([0.7, 0.5])),
        # Smoothing 0.3 over three classes: 0.8 on the label, 0.1 on each other one.
        (
            LABELS,
            {"label_smoothing": 0.3},
            -(0.8 * np.log([0.7, 0.5]) + 0.1 * np.log([0.2, 0.25]) + 0.1 * np.log([0.1, 0.25])),
        ),
        (LABELS, {"class_weights": np.array([2.0, 1.0, 0.5])}, -np.log([0.7, 0.5]) * [2.0, 0.5]),
        (np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]), {}, -np.array([0.5 * np.log(0.7 * 0.2), np.log(0.5)])),
    ],
    ids=["plain", "smoothed", "weighted", "soft"],
)
def test_cross_entropy(targets, options, expected):
    """Each option does what its formula says."""
    np.testing.assert_allclose(losses.cross_entropy(LOGITS, targets, **options), expected, rtol=1e-6)


def test_cross_entropy_is_log_loss_and_stays_finite():
    """The mean is scikit-learn's log loss, and logits of any size give finite losses and gradients."""
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 4)).astype(np.float32), rng.integers(0, 4, 50)
    expected = log_loss(labels, scipy.special.softmax(logits.astype(np.float64), axis=-1))
    np.testing.assert_allclose(losses.cross_entropy(logits, labels).mean(), expected, rtol=1e-5)
    value, slope = jax.value_and_grad(lambda x: losses.cross_entropy(x, np.array(1)))(np.array([1e4, -1e4], np.float32))
    assert value == 2e4
    np.testing.assert_array_equal(slope, [1.0, -1.0])


def test_balanced_class_weights():
    """The weights are scikit-learn's, leave the mean weight at one, and give an absent class none."""
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = losses.balanced_class_weights(np.bincount(labels))
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(3), y=labels), rtol=1e-6)
    assert np.mean(weights[labels]) == pytest.approx(1.0)
    np.testing.assert_allclose(losses.balanced_class_weights([2, 0, 2]), [1.0, 0.0, 1.0])
