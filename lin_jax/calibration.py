"""Calibration: scores and logits become probabilities that can be believed.

Shape letters: B clips, C classes, S ensemble members, N trials, E embedding.
"""

import numpy as np


def mean_probabilities(logits, temperature=1.0):
    """Probabilities [B, C] of an ensemble.

    The mean over the members [S, B, C] of their tempered softmax.
    """
    from scipy import special

    return special.softmax(np.asarray(logits, np.float64) / temperature, axis=-1).mean(axis=0)


def fit_temperature(logits, labels):
    """The temperature at which held-out labels are likeliest (Guo et al., 2017).

    It is that of `mean_probabilities`.

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


def fit_logistic(inputs, same, weight=None, *, decay=1e-6):
    """Logistic regression: σ(slope · input + offset) is the probability of a positive, if half are.

    Of scores it makes a calibration (N. Brümmer and J. du Preez, "Application-independent
    evaluation of speaker detection", Computer Speech & Language 20, 2006); of embeddings, a
    detector.

    Args:
        inputs: scores [N], or vectors [N, E].
        same: which are positive [N] bool; either kind weighs half, however many there are.
        weight: of each within its kind [N]; None counts each once.
        decay: weight of the squared slope, which keeps it finite where the kinds are separable
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

    parameters = optimize.minimize(
        cross_entropy, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B"
    ).x
    slope = float(parameters[0]) if inputs.ndim == 1 else parameters[:-1].astype(np.float32)
    return slope, float(parameters[-1])


def fit_threshold(trials, max_false_accepts: float) -> dict[str, float]:
    """Threshold, and slope and offset of the probability, by trials of held-out speakers.

    How alike impostors score differs more between corpora than within, and who uses a bundle
    records in yet another way: so the threshold is the lowest that keeps the false accepts in every
    corpus, and the probability one half there.

    Args:
        trials: scores [N] and whether the speaker is the same [N] of each corpus; all weigh alike.
        max_false_accepts: share of the impostors that are accepted at the threshold, at most.

    Returns:
        "threshold", "slope" and "offset", as `bundles.Verifier` has them.
    """
    threshold = max(np.quantile(scores[~same], 1 - max_false_accepts) for scores, same in trials)
    weight = [np.where(same, 1 / same.sum(), 1 / (~same).sum()) for _, same in trials]
    scores, same = (np.concatenate(part) for part in zip(*trials, strict=True))
    slope, _ = fit_logistic(scores, same, np.concatenate(weight))
    return {"threshold": float(threshold), "slope": slope, "offset": -slope * float(threshold)}


def balanced_threshold(scores, same, slope: float, weight=None) -> float:
    """The score where a logistic function of that slope must be one half to fit trials best.

    With equal weight on both kinds, as large a share of impostors is expected above it as of the
    same speaker below it. With the slope given, a few trials settle it, also where none is wrong.

    Args:
        scores: of the trials [N].
        same: whether the speaker is the same [N] bool; there must be trials of both kinds.
        slope: of the logistic function, above 0.
        weight: of each trial within its kind [N]; None counts each once.
    """
    from scipy import optimize, special

    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    weight = np.ones(len(scores)) if weight is None else np.asarray(weight, np.float64)
    share = np.where(same, weight / weight[same].sum(), weight / weight[~same].sum())

    def excess(threshold):  # of expected false rejects over false accepts; rises with the threshold
        side = np.where(same, -1.0, 1.0)
        return -side @ (share * special.expit(side * slope * (scores - threshold)))

    margin = 50.0 / slope
    return float(optimize.brentq(excess, scores.min() - margin, scores.max() + margin))
