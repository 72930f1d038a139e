"""Metrics against scikit-learn, SciPy and values worked out by hand."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from lin_jax import calibration, metrics, scoring
from lin_jax.errors import ConfigError
from lin_jax.metrics import transcription

RNG = np.random.default_rng(0)
LABELS = RNG.choice(4, 200, p=[0.5, 0.3, 0.15, 0.05])
PREDICTIONS = np.where(RNG.random(200) < 0.6, LABELS, RNG.integers(0, 4, 200))


@pytest.mark.parametrize("num_classes", [4, 5], ids=["all-occur", "one-never-occurs"])
def test_figures_of_a_confusion_matrix(num_classes):
    """Accuracy, UAR, macro F1 and recalls equal scikit-learn's, also where a class never occurs."""
    matrix = metrics.confusion_matrix(LABELS, PREDICTIONS, num_classes)
    np.testing.assert_array_equal(
        matrix, reference.confusion_matrix(LABELS, PREDICTIONS, labels=range(num_classes))
    )
    assert metrics.accuracy(matrix) == pytest.approx(reference.accuracy_score(LABELS, PREDICTIONS))
    assert metrics.uar(matrix) == pytest.approx(
        reference.balanced_accuracy_score(LABELS, PREDICTIONS)
    )
    assert metrics.macro_f1(matrix) == pytest.approx(
        reference.f1_score(LABELS, PREDICTIONS, average="macro")
    )
    np.testing.assert_allclose(
        metrics.recalls(matrix)[:4], reference.recall_score(LABELS, PREDICTIONS, average=None)
    )
    assert np.isnan(metrics.recalls(matrix)[4:]).all()


def test_mean_by_speaker():
    """In the order of the names; of no clips there are no speakers."""
    names, means = metrics.mean_by_speaker([[1.0, 2.0], [5.0, 5.0], [3.0, 6.0]], ["b", "a", "b"])
    assert names.tolist() == ["a", "b"]
    np.testing.assert_array_equal(means, [[5.0, 5.0], [2.0, 4.0]])
    names, means = metrics.mean_by_speaker(np.zeros((0, 3)), np.zeros(0, str))
    assert (len(names), means.shape) == (0, (0, 3))


def test_confusion_matrices_add_up_and_filler_counts_nothing():
    """The matrix of a whole is the sum of its parts' matrices; examples of weight zero are not there."""
    whole = metrics.confusion_matrix(LABELS, PREDICTIONS, 4)
    parts = [
        metrics.confusion_matrix(LABELS[s], PREDICTIONS[s], 4)
        for s in (slice(0, 70), slice(70, None))
    ]
    np.testing.assert_array_equal(whole, parts[0] + parts[1])
    weight = np.arange(200) < 70
    np.testing.assert_array_equal(
        metrics.confusion_matrix(LABELS, PREDICTIONS, 4, weight), parts[0]
    )


def test_figures_of_nothing_are_nan():
    """No examples give no figure, not a zero."""
    empty = np.zeros((3, 3))
    assert np.isnan([metrics.accuracy(empty), metrics.uar(empty), metrics.macro_f1(empty)]).all()


def test_bootstrap_interval():
    """The interval is SciPy's percentile bootstrap up to the draws, and comes out the same twice."""
    values = RNG.normal(3.0, 1.0, 20)
    interval = metrics.bootstrap_interval(values, np.mean, num_samples=5000)
    expected = scipy.stats.bootstrap(
        (values,), np.mean, method="percentile", rng=1
    ).confidence_interval
    np.testing.assert_allclose(interval, expected, atol=0.03)
    assert interval == metrics.bootstrap_interval(values, np.mean, num_samples=5000)
    matrices = np.stack([np.diag([5.0, 5.0])] * 3)
    assert metrics.bootstrap_interval(matrices, lambda m: metrics.uar(m.sum(0))) == (1.0, 1.0)


def test_expected_calibration_error():
    """Two bins by hand: 0.9 sure and 0.5 right, 0.6 sure and always right."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    assert metrics.expected_calibration_error(probabilities, [0, 1, 1, 1]) == pytest.approx(
        0.5 * 0.4 + 0.5 * 0.4
    )
    assert metrics.expected_calibration_error(np.eye(2), [0, 1]) == 0.0


def test_reliability_is_counted_in_bins_of_confidence():
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    confidence, accuracy, count = metrics.reliability(probabilities, [0, 0, 0], num_bins=4)
    np.testing.assert_allclose(confidence, [np.nan, np.nan, 0.6, 0.85])
    np.testing.assert_allclose(accuracy, [np.nan, np.nan, 1.0, 0.5])
    assert count.tolist() == [0, 0, 1, 2]


def test_confusion_by_speaker_divides_the_whole():
    rng = np.random.default_rng(0)
    labels, predictions, speakers = (
        rng.integers(0, 3, 50),
        rng.integers(0, 3, 50),
        rng.choice(["b", "a"], 50),
    )
    matrices = metrics.confusion_by_speaker(labels, predictions, speakers, 3)
    assert list(matrices) == ["a", "b"]
    np.testing.assert_array_equal(
        sum(matrices.values()), metrics.confusion_matrix(labels, predictions, 3)
    )
    own = speakers == "a"
    np.testing.assert_array_equal(
        matrices["a"], metrics.confusion_matrix(labels[own], predictions[own], 3)
    )


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
    """Two targets, two impostors, one of each misplaced: half of either kind errs at the best threshold."""
    assert metrics.equal_error_rate([0.9, 0.3, 0.5, 0.1], [1, 1, 0, 0])[0] == pytest.approx(0.5)
    assert metrics.equal_error_rate([0.9, 0.6, 0.5, 0.1], [1, 1, 0, 0]) == (0.0, pytest.approx(0.6))
    assert metrics.min_dcf([0.9, 0.3, 0.5, 0.1], [1, 1, 0, 0], 0.05) == pytest.approx(
        0.5
    )  # accept 0.9 alone
    with pytest.raises(ConfigError, match="one kind only"):
        metrics.equal_error_rate([0.1, 0.2], [1, 1])


def test_a_speaker_drawn_twice_counts_twice():
    """Weights by hand from the counts of one draw, and an interval around the figure of the whole."""
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


def test_as_norm_by_hand():
    """Two clips against three strangers, of whom the nearest two count."""
    (score,) = scoring.as_norm([0.8], [[0, 1]], [[0.6, 0.0, -1.0], [0.96, 0.6, -0.8]], top=2)
    left, right = (0.8 - 0.3) / 0.3, (0.8 - 0.78) / 0.18
    assert score == pytest.approx((left + right) / 2)


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


def test_attention_health():
    """One step a position is healthy; a jump, a return, an early end and blurred weights each show."""
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


def test_words_attended():
    """Words at 0-2, 4-7 and 9-12; attention reads them all, jumps over the second, goes back to it, or stays away."""
    words = [(0, 2), (4, 7), (9, 12)]

    def count(path):
        return metrics.words_attended(np.eye(14)[path], words)

    assert count(range(14)) == (0, 0)
    assert count([0, 1, 2, 9, 10, 11, 12]) == (1, 0)
    assert count([*range(12), 5, 6, 7, *range(8, 14)]) == (0, 1)
    assert count([*range(10), 7, *range(8, 14)]) == (0, 0), "a step or two back is no word"
    assert count([0, 1, 2, 3]) == (1, 0), "beside a word is near enough to have read it"


def test_edit_distance():
    kitten = transcription.edit_distance("kitten", "sitting")
    assert kitten == 3
    assert (
        transcription.edit_distance(["one", "two", "three"], ["two", "two", "three", "four"]) == 2
    )
    assert transcription.edit_distance([], ["one"]) == transcription.edit_distance(["one"], []) == 1


def test_bootstrap_mean():
    """Where all have as many clips it is the interval of the speakers' means; NaN and weight 0 do not count."""
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
