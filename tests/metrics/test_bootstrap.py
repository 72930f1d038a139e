"""Intervals by drawing speakers anew."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from lin_jax import metrics

RNG = np.random.default_rng(0)


def trials(n=400, seed=0):
    """Scores of half as many same-speaker trials as others, rounded so that some are equal."""
    rng = np.random.default_rng(seed)
    same = np.arange(n) % 3 == 0
    return np.round(rng.normal(size=n) + 1.5 * same, 2), same


def test_bootstrap_interval():
    """The interval is SciPy's percentile bootstrap up to the draws, and comes out the same
    twice.
    """
    values = RNG.normal(3.0, 1.0, 20)
    interval = metrics.bootstrap_interval(values, np.mean, num_samples=5000)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", rng=1
    ).confidence_interval
    np.testing.assert_allclose(interval, expected, atol=0.03)
    assert interval == metrics.bootstrap_interval(values, np.mean, num_samples=5000)
    matrices = np.stack([np.diag([5.0, 5.0])] * 3)
    assert metrics.bootstrap_interval(matrices, lambda m: metrics.uar(m.sum(0))) == (1.0, 1.0)


def test_a_speaker_drawn_twice_counts_twice():
    """Weights by hand from the counts of one draw, and an interval around the figure of the
    whole.
    """
    scores, same = np.array([0.9, 0.2, 0.6, 0.1]), np.array([True, True, False, False])
    speakers = np.array([[4, 4], [8, 8], [4, 8], [4, 6]])
    seen = []
    metrics.bootstrap_trials(
        scores, same, speakers, lambda *a: seen.append(a[2]) or 0.0, num_samples=50
    )
    for weight in seen:  # by falling score: 0.9 (speaker 4), 0.6 (4 and 8), 0.2 (8), 0.1 (4 and 6)
        four, eight = weight[0], weight[2]
        assert weight[1] == four * eight
        assert weight[3] == four * (3 - four - eight)
    scores, same = trials(900)
    speakers = np.stack(
        [np.arange(900) % 30, np.where(same, np.arange(900) % 30, (np.arange(900) + 7) % 30)], 1
    )
    low, high = metrics.bootstrap_trials(
        scores, same, speakers, lambda *a: metrics.equal_error_rate(*a)[0]
    )
    assert low < metrics.equal_error_rate(scores, same)[0] < high
    assert high - low < 0.15


def test_bootstrap_mean():
    """Where all have as many clips it is the interval of the speakers' means.

    NaN and weight 0 do not count.
    """
    values, speakers = RNG.normal(size=24), np.repeat(list("abcdef"), 4)
    expected = metrics.bootstrap_interval(values.reshape(6, 4).mean(axis=1), np.mean)
    assert metrics.bootstrap_mean(values, speakers) == pytest.approx(expected)
    longer, names = np.append(values, [np.nan, 50.0]), np.append(speakers, ["a", "b"])
    assert metrics.bootstrap_mean(longer, names, [*np.ones(24), 1.0, 0.0]) == pytest.approx(
        expected
    )
    weighted = metrics.bootstrap_mean([0.0, 1.0, 1.0], ["a", "a", "b"], [3.0, 1.0, 1.0])
    assert weighted == pytest.approx((0.25, 1.0)), "the extremes are either speaker alone"
    assert np.isnan(metrics.bootstrap_mean(values[:4], speakers[:4])).all()


def test_mean_with_interval():
    """What is unknown does not count; of a single speaker the interval is over the clips."""
    values, weight = np.array([1.0, 3.0, np.nan, 5.0]), np.array([1.0, 1.0, 9.0, 2.0])
    row = metrics.mean_with_interval(values, ["a", "a", "b", "b"], weight)
    assert row["value"] == pytest.approx(3.5)
    assert (row["low"], row["high"]) == (2.0, 5.0)
    single = metrics.mean_with_interval(values, ["a"] * 4)
    assert single["value"] == pytest.approx(3.0)
    assert 1.0 <= single["low"] < 3.0 < single["high"] <= 5.0
    assert metrics.mean_with_interval([2.0], ["a"]) == {"value": 2.0}
