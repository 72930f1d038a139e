"""Metrics: counts that add up across batches, devices and folds, and the figures read from them.

A classifier is summed up by its confusion matrix (row: true class, column: predicted class); every figure below is a
function of it, so merging two evaluations is adding two matrices. Shapes: B batch, C classes, S speakers.
"""

import jax
import jax.numpy as jnp
import numpy as np


def confusion_matrix(labels, predictions, num_classes, weight=None):
    """Count how often each class was taken for each other one; pure, for use inside a jitted step.

    Args:
      labels: true classes [B] int.
      predictions: predicted classes [B] int.
      num_classes: C.
      weight: weight of each example [B], zero for filler; None counts each once.

    Returns:
      Matrix [C, C] float32, rows true, columns predicted.
    """
    rows = jax.nn.one_hot(labels, num_classes)  # [B, C]
    columns = jax.nn.one_hot(predictions, num_classes)
    if weight is not None:
        rows = rows * weight[:, None]
    return jnp.matmul(rows.T, columns, precision="highest")  # [C, C]


def confusion_by_speaker(labels, predictions, speakers, num_classes):
    """Confusion matrix of each speaker, on the host: what `bootstrap_interval` draws from.

    Args:
      labels: true classes [B] int.
      predictions: predicted classes [B] int.
      speakers: who speaks each clip [B].
      num_classes: C.

    Returns:
      {speaker: [C, C] int, rows true, columns predicted}, in sorted order.
    """
    matrices = {str(speaker): np.zeros((num_classes, num_classes), int) for speaker in np.unique(speakers)}
    for speaker, label, prediction in zip(speakers, labels, predictions, strict=True):
        matrices[str(speaker)][label, prediction] += 1
    return matrices


def accuracy(matrix):
    """Share of examples classified correctly, from a confusion matrix [C, C]."""
    return _ratio(np.trace(matrix), np.sum(matrix))


def recalls(matrix):
    """Recall of each class [C] from a confusion matrix [C, C]; NaN for a class without examples."""
    matrix = np.asarray(matrix, np.float64)
    total = matrix.sum(axis=1)
    return np.divide(np.diag(matrix), total, out=np.full(len(matrix), np.nan), where=total > 0)


def uar(matrix):
    """Unweighted average recall (balanced accuracy): mean recall of the classes that have examples."""
    present = recalls(matrix)
    present = present[~np.isnan(present)]
    return float(present.mean()) if present.size else float("nan")


def macro_f1(matrix):
    """Mean F1 of the classes that occur as truth or prediction, from a confusion matrix [C, C]."""
    matrix = np.asarray(matrix, np.float64)
    occurrences = matrix.sum(axis=0) + matrix.sum(axis=1)
    occurs = occurrences > 0
    return float(np.mean(2.0 * np.diag(matrix)[occurs] / occurrences[occurs])) if occurs.any() else float("nan")


def bootstrap_interval(values, statistic, *, num_samples=1000, confidence=0.95, seed=0):
    """Percentile bootstrap interval of a statistic, resampling whole speakers (Efron, 1979).

    Clips of one speaker are not independent, so the speaker is the unit drawn. With one confusion matrix a speaker
    [S, C, C], the interval of the UAR is `bootstrap_interval(matrices, lambda m: uar(m.sum(0)))`.

    Args:
      values: one entry a speaker [S, ...].
      statistic: maps drawn entries [S, ...] to a number.
      num_samples: number of draws.
      confidence: mass inside the interval, 0 to 1.
      seed: of the draws.

    Returns:
      (low, high).
    """
    values = np.asarray(values)
    draws = np.random.default_rng(seed).integers(len(values), size=(num_samples, len(values)))
    results = [statistic(values[draw]) for draw in draws]
    tail = 100.0 * (1.0 - confidence) / 2.0
    low, high = np.nanpercentile(results, [tail, 100.0 - tail])
    return float(low), float(high)


def expected_calibration_error(probabilities, labels, *, num_bins=15):
    """Mean gap between confidence and accuracy over equal-width confidence bins (Guo et al., 2017).

    Args:
      probabilities: predicted distributions [B, C].
      labels: true classes [B] int.
      num_bins: number of bins over (0, 1].

    Returns:
      The error, 0 (calibrated) to 1.
    """
    probabilities = np.asarray(probabilities, np.float64)
    confidence = probabilities.max(axis=-1)
    correct = probabilities.argmax(axis=-1) == np.asarray(labels)
    bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    gaps = np.bincount(bins, weights=confidence - correct, minlength=num_bins)  # summed gap of each bin
    return float(np.abs(gaps).sum() / len(confidence))


def mean_probabilities(logits, temperature=1.0):
    """Probabilities [B, C] of an ensemble: the mean over the members [S, B, C] of their tempered softmax."""
    from scipy import special

    return special.softmax(np.asarray(logits, np.float64) / temperature, axis=-1).mean(axis=0)


def fit_temperature(logits, labels):
    """The temperature at which `mean_probabilities` gives held-out labels the highest likelihood (Guo et al., 2017).

    Args:
      logits: of the members for held-out clips [S, B, C].
      labels: true classes [B] int.

    Returns:
      Temperature, from 0.05 to 20.
    """
    from scipy import optimize

    def negative_log_likelihood(log_temperature):
        probabilities = mean_probabilities(logits, np.exp(log_temperature))
        return -np.log(probabilities[np.arange(len(labels)), labels] + 1e-12).mean()

    bounds = np.log([0.05, 20.0])
    return float(np.exp(optimize.minimize_scalar(negative_log_likelihood, bounds=bounds, method="bounded").x))


def _ratio(numerator, denominator):
    return float(numerator / denominator) if denominator > 0 else float("nan")
