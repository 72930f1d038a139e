"""Metrics of classifiers, read from a confusion matrix (row: true class, column: predicted class).

Matrices add up across batches, devices and folds. Shape letters: B clips, C classes, S speakers,
E embedding.
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
    matrices = {
        str(speaker): np.zeros((num_classes, num_classes), int) for speaker in np.unique(speakers)
    }
    for speaker, label, prediction in zip(speakers, labels, predictions, strict=True):
        matrices[str(speaker)][label, prediction] += 1
    return matrices


def mean_by_speaker(values, speakers):
    """Mean of each speaker's clips, on the host.

    Args:
        values: of each clip [B, E].
        speakers: who speaks each clip [B].

    Returns:
        The speakers [S] in sorted order, and their means [S, E] float64.
    """
    names, speaker_index = np.unique(speakers, return_inverse=True)
    sums = np.zeros((len(names), np.shape(values)[1]))
    np.add.at(sums, speaker_index, values)
    return names, sums / np.bincount(speaker_index, minlength=len(names))[:, None]


def accuracy(matrix):
    """Share of examples classified correctly, from a confusion matrix [C, C]."""
    return _ratio(np.trace(matrix), np.sum(matrix))


def recalls(matrix):
    """Recall of each class [C] from a confusion matrix [C, C]; NaN for a class without examples."""
    matrix = np.asarray(matrix, np.float64)
    total = matrix.sum(axis=1)
    return np.divide(np.diag(matrix), total, out=np.full(len(matrix), np.nan), where=total > 0)


def uar(matrix):
    """Unweighted average recall (balanced accuracy).

    Mean recall of the classes that have examples.
    """
    present = recalls(matrix)
    present = present[~np.isnan(present)]
    return float(present.mean()) if present.size else float("nan")


def macro_f1(matrix):
    """Mean F1 of the classes that occur as truth or prediction, from a confusion matrix [C, C]."""
    matrix = np.asarray(matrix, np.float64)
    occurrences = matrix.sum(axis=0) + matrix.sum(axis=1)
    occurs = occurrences > 0
    return (
        float(np.mean(2.0 * np.diag(matrix)[occurs] / occurrences[occurs]))
        if occurs.any()
        else float("nan")
    )


def reliability(probabilities, labels, *, num_bins=15):
    """Reliability diagram: accuracy in equal-width bins of confidence (Guo et al., 2017).

    Args:
        probabilities: predicted distributions [B, C].
        labels: true classes [B] int.
        num_bins: number of bins over (0, 1].

    Returns:
        (confidence, accuracy, count) of each bin [num_bins]; NaN where a bin is empty.
    """
    probabilities = np.asarray(probabilities, np.float64)
    confidence = probabilities.max(axis=-1)
    correct = probabilities.argmax(axis=-1) == np.asarray(labels)
    bins = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    count, confidence, correct = (
        np.bincount(bins, weights, num_bins) for weights in (None, confidence, correct)
    )
    share = np.where(count > 0, count, np.nan)
    return confidence / share, correct / share, count


def expected_calibration_error(probabilities, labels, *, num_bins=15):
    """Mean gap between confidence and accuracy over the bins of `reliability`.

    0 (calibrated) to 1.
    """
    confidence, accuracy, count = reliability(probabilities, labels, num_bins=num_bins)
    return float(np.nansum(np.abs(confidence - accuracy) * count) / count.sum())


def _ratio(numerator, denominator):
    return float(numerator / denominator) if denominator > 0 else float("nan")
