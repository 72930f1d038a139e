"""Metrics: counts that add up across batches, devices and folds, and the figures read from them.

A classifier is summed up by its confusion matrix (row: true class, column: predicted class); every
figure below is a function of it, so merging two evaluations is adding two matrices. Verification is
judged on scored trials, pairs of clips of the same speaker or not. Shapes: B batch, C classes, S
speakers (of attention: decoder steps), L source positions, N trials, K thresholds, E embedding.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lin_jax.errors import ConfigError


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
    names, own = np.unique(speakers, return_inverse=True)
    sums = np.zeros((len(names), np.shape(values)[1]))
    np.add.at(sums, own, values)
    return names, sums / np.bincount(own, minlength=len(names))[:, None]


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
    return (
        float(np.mean(2.0 * np.diag(matrix)[occurs] / occurrences[occurs]))
        if occurs.any()
        else float("nan")
    )


def bootstrap_interval(values, statistic, *, num_samples=1000, confidence=0.95, seed=0):
    """Percentile bootstrap interval of a statistic, resampling whole speakers (Efron, 1979).

    Clips of one speaker are not independent, so the speaker is the unit drawn. With one confusion
    matrix a speaker [S, C, C], the interval of the UAR is `bootstrap_interval(matrices, lambda m:
    uar(m.sum(0)))`.

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


def bootstrap_mean(values, speakers, weight=None, **options):
    """Interval of a mean over clips, resampling whole speakers.

    Args:
        values: a figure of each clip [B]; clips where it is NaN do not count.
        speakers: who speaks each clip [B].
        weight: of each clip [B]; None counts each once.
        **options: of `bootstrap_interval`.

    Returns:
        (low, high); NaN where fewer than two speakers are left.
    """
    values = np.asarray(values, np.float64)
    known = ~np.isnan(values)
    weight = np.ones(known.sum()) if weight is None else np.asarray(weight, np.float64)[known]
    names, numbers = np.unique(np.asarray(speakers)[known], return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    sums = np.stack(
        [np.bincount(numbers, weight * values[known]), np.bincount(numbers, weight)], axis=1
    )  # [S, 2]
    return bootstrap_interval(sums, lambda drawn: np.divide(*drawn.sum(axis=0)), **options)


def reliability(probabilities, labels, *, num_bins=15):
    """How often predictions of each confidence are right, over equal-width confidence bins (Guo et al., 2017).

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
    """Mean gap between confidence and accuracy over the bins of `reliability`: 0 (calibrated) to 1."""
    confidence, accuracy, count = reliability(probabilities, labels, num_bins=num_bins)
    return float(np.nansum(np.abs(confidence - accuracy) * count) / count.sum())


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
    return float(
        np.exp(optimize.minimize_scalar(negative_log_likelihood, bounds=bounds, method="bounded").x)
    )


def det_curve(scores, same, weight=None):
    """Both error rates at every threshold (A. Martin et al., "The DET curve", Eurospeech 1997).

    Args:
        scores: of each trial [N], higher for the same speaker.
        same: whether it is the same speaker [N] bool.
        weight: of each trial [N]; None counts each once.

    Returns:
        (false_accept, false_reject, threshold), each [K], from a threshold above every score, which
        accepts none, to the lowest score; a trial is accepted when its score is at least the
        threshold.

    Raises:
        ConfigError: no trial of the same speaker, or none of different ones.
    """
    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    weight = np.ones(len(scores)) if weight is None else np.asarray(weight, np.float64)
    order = np.argsort(-scores, kind="stable")
    scores, accepted = scores[order], np.stack([~same, same])[:, order] * weight[order]
    last = np.append(
        np.flatnonzero(np.diff(scores)), len(scores) - 1
    )  # trials with one score go together
    accepted = np.cumsum(accepted, axis=1)[:, last]  # [2, K - 1]
    total = accepted[:, -1:]
    if not (total > 0).all():
        raise ConfigError(
            "trials of one kind only: give pairs of the same speaker and pairs of different ones"
        )
    false_accept, hit = np.concatenate([np.zeros((2, 1)), accepted / total], axis=1)
    return false_accept, 1.0 - hit, np.append(np.inf, scores[last])


def equal_error_rate(scores, same, weight=None):
    """The error rate where false accepts are as frequent as false rejects, and the threshold there.

    Between two points of `det_curve` the rates are interpolated in a straight line.

    Args:
        scores: of each trial [N], higher for the same speaker.
        same: whether it is the same speaker [N] bool.
        weight: of each trial [N]; None counts each once.

    Returns:
        (rate from 0 to 1, threshold); ConfigError as for `det_curve`.
    """
    false_accept, false_reject, threshold = det_curve(scores, same, weight)
    gap = false_accept - false_reject  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    rate = false_accept[after - 1] + share * (false_accept[after] - false_accept[after - 1])
    # Above the first threshold there is nothing to interpolate from.
    low = threshold[after] if np.isinf(threshold[after - 1]) else threshold[after - 1]
    return float(rate), float(low + share * (threshold[after] - low))


def min_dcf(scores, same, p_target, *, weight=None):
    """Smallest detection cost over all thresholds, relative to that of deciding without listening.

    NIST speaker recognition evaluations, with both kinds of error costing one.

    Args:
        scores: of each trial [N], higher for the same speaker.
        same: whether it is the same speaker [N] bool.
        p_target: prior probability of the same speaker, such as 0.01 or 0.05.
        weight: of each trial [N]; None counts each once.

    Returns:
        The cost, 0 to 1.
    """
    false_accept, false_reject, _ = det_curve(scores, same, weight)
    cost = p_target * false_reject + (1.0 - p_target) * false_accept
    return float(cost.min() / min(p_target, 1.0 - p_target))


def bootstrap_trials(
    scores, same, speakers, statistic, *, num_samples=1000, confidence=0.95, seed=0
):
    """Percentile bootstrap interval of a figure of trials, resampling whole speakers.

    A speaker drawn twice counts as two: a trial of different speakers weighs the product of how
    often the two were drawn, one of the same speaker as much as that speaker was drawn. Draws that
    leave trials of one kind only are passed over.

    Args:
        scores: of each trial [N].
        same: whether it is the same speaker [N] bool.
        speakers: number of the speaker on either side [N, 2] int.
        statistic: maps (scores, same, weight) to a number.
        num_samples: number of draws.
        confidence: mass inside the interval, 0 to 1.
        seed: of the draws.

    Returns:
        (low, high).
    """
    order = np.argsort(
        -np.asarray(scores), kind="stable"
    )  # sorted once, each draw finds them in order
    scores, same = np.asarray(scores)[order], np.asarray(same, bool)[order]
    names, numbers = np.unique(np.asarray(speakers)[order], return_inverse=True)
    left, right = numbers.reshape(-1, 2).T
    rng, results = np.random.default_rng(seed), []
    for _ in range(num_samples):
        count = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        weight = np.where(same, count[left], count[left] * count[right])
        if (weight[same] > 0).any() and (weight[~same] > 0).any():
            results.append(statistic(scores, same, weight))
    if not results:
        raise ConfigError("too few speakers to resample: judge on more")
    tail = 100.0 * (1.0 - confidence) / 2.0
    low, high = np.percentile(results, [tail, 100.0 - tail])
    return float(low), float(high)


def as_norm(scores, pairs, against, *, top=100):
    """Scores of trials, each relative to how either side scores against its nearest strangers.

    Adaptive symmetric normalisation: P. Matejka et al., "Analysis of score normalization in
    multilingual speaker recognition", Interspeech 2017.

    Args:
        scores: of the trials [N].
        pairs: the two clips of each trial [N, 2] int.
        against: scores of the clips against speakers that are in no trial [B, S], such as those of
            training.
        top: strangers to compare with, the nearest ones; at most S.

    Returns:
        Normalised scores [N].
    """
    scores, pairs, against = np.asarray(scores), np.asarray(pairs), np.asarray(against)
    top = min(top, against.shape[1])
    nearest = -np.partition(-against, top - 1, axis=1)[:, :top]
    mean, std = nearest.mean(axis=1), np.maximum(nearest.std(axis=1), 1e-6)
    left, right = pairs.T
    return 0.5 * ((scores - mean[left]) / std[left] + (scores - mean[right]) / std[right])


def fit_logistic(inputs, same, weight=None, *, decay=1e-6):
    """Logistic regression: σ(slope · input + offset) is the probability of a positive, if half are.

    Of scores it makes a calibration (N. Brümmer and J. du Preez, "Application-independent
    evaluation of speaker detection", Computer Speech & Language 20, 2006); of embeddings, a
    detector.

    Args:
        inputs: scores [N], or vectors [N, E].
        same: which are positive [N] bool; either kind weighs half, however many there are.
        weight: of each within its kind [N]; None counts each once.
        decay: weight of the squared slope, which keeps it finite where the kinds can be told apart
            without error.

    Returns:
        (slope, float or [E] float32, and offset).
    """
    from scipy import optimize

    inputs, same = np.asarray(inputs, np.float64), np.asarray(same, bool)
    x = inputs.reshape(len(inputs), -1)
    sign = np.where(same, 1.0, -1.0)
    weight = np.ones(len(inputs)) if weight is None else np.asarray(weight, np.float64)
    total = np.where(same, weight[same].sum(), weight[~same].sum())
    weight = 0.5 * weight / np.maximum(total, 1e-12)

    def cross_entropy(parameters):  # and its gradient
        slope, offset = parameters[:-1], parameters[-1]
        margin = sign * (x @ slope + offset)
        pull = -weight * sign / (1.0 + np.exp(np.minimum(margin, 500.0)))
        value = weight @ np.logaddexp(0.0, -margin) + 0.5 * decay * slope @ slope
        return value, np.append(pull @ x + decay * slope, pull.sum())

    found = optimize.minimize(
        cross_entropy, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B"
    ).x
    slope = float(found[0]) if inputs.ndim == 1 else found[:-1].astype(np.float32)
    return slope, float(found[-1])


def attention_health(attention, num_steps, length, *, band=0.15, tolerance=3):
    """How well attention reads its source from one end to the other; pure, for use inside a jitted step.

    Args:
        attention: weights [B, S, L].
        num_steps: decoder steps of each clip [B] int.
        length: source positions of each clip [B] int.
        band: half-width of the diagonal, as a share of the clip.
        tolerance: positions that may be passed over at once, or gone back by.

    Returns:
        dict of [B] float32: "focus", the mean over the steps of the largest weight; "diagonality",
        the share of the weights that lie in the band (Y. Ren et al., "FastSpeech", NeurIPS 2019,
        section 4.3); "skipped", positions passed over beyond the tolerance or not reached by the
        end; "repeated", positions gone back by, at the farthest.
    """
    S, L = attention.shape[1:]
    steps = jnp.arange(S) < num_steps[:, None]  # [B, S]
    count = jnp.maximum(num_steps, 1)
    time = jnp.arange(S) / jnp.maximum(num_steps - 1, 1)[:, None]
    place = jnp.arange(L) / jnp.maximum(length - 1, 1)[:, None]
    near = (jnp.abs(place[:, None, :] - time[:, :, None]) <= band) & steps[:, :, None]
    path = jnp.where(steps, jnp.argmax(attention, axis=-1), 0)
    furthest = jax.lax.cummax(path, axis=1)
    before = jnp.pad(furthest, ((0, 0), (1, 0)))[:, :-1]
    ahead, back = path - before, jnp.where(steps, before - path, 0)
    unread = length - 1 - furthest[:, -1]
    return {
        "focus": jnp.sum(jnp.where(steps, attention.max(axis=-1), 0.0), axis=1) / count,
        "diagonality": jnp.sum(jnp.where(near, attention, 0.0), axis=(1, 2)) / count,
        "skipped": (
            jnp.sum(jnp.where(ahead > tolerance, ahead - 1, 0), axis=1)
            + jnp.where(unread > tolerance, unread, 0)
        ).astype(jnp.float32),
        "repeated": jnp.max(jnp.where(back > tolerance, back, 0), axis=1).astype(jnp.float32),
    }


def words_attended(attention, words, *, tolerance=3):
    """How many words of a text attention passes over, and to how many it goes back; on the host.

    Args:
        attention: weights of the steps of one clip [S, L].
        words: first and last position of each word.
        tolerance: positions that may be gone back by, as in `attention_health`.

    Returns:
        (skipped, repeated): a word is skipped if the largest weight never lies in it or beside it,
        and repeated if it lies there after it was further on than the tolerance.
    """
    path = np.asarray(attention).argmax(axis=1)
    returned = path[np.maximum.accumulate(path) - path > tolerance]
    skipped = sum(not np.any((path >= first - 1) & (path <= last + 1)) for first, last in words)
    return skipped, sum(
        bool(np.any((returned >= first) & (returned <= last))) for first, last in words
    )


def edit_distance(reference, hypothesis):
    """Insertions, deletions and substitutions that make one sequence another (V. Levenshtein, 1966).

    Of words, divided by those of the reference, it is the word error rate.
    """
    row = list(range(len(hypothesis) + 1))
    for i, wanted in enumerate(reference, 1):
        above, row = row, [i]
        for j, found in enumerate(hypothesis, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (wanted != found)))
    return row[-1]


def _ratio(numerator, denominator):
    return float(numerator / denominator) if denominator > 0 else float("nan")
