"""Metrics of classification: by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as reference

from lin_jax import metrics

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
    """The matrix of a whole is the sum of its parts' matrices.

    Examples of weight zero are not there.
    """
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
    mask = speakers == "a"
    np.testing.assert_array_equal(
        matrices["a"], metrics.confusion_matrix(labels[mask], predictions[mask], 3)
    )
