"""Percentile bootstrap intervals that resample whole speakers (Efron, 1979).

Shape letters: B clips, C classes, N trials, S speakers.
"""

import numpy as np

from lin_jax.errors import ConfigError


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


def mean_with_interval(values, speakers, weight=None) -> dict[str, float]:
    """The mean over clips, and its 95 % interval over speakers; of a single speaker, over the clips.

    Args:
        values: a figure of each clip [B]; clips where it is NaN do not count.
        speakers: who speaks each clip [B].
        weight: of each clip [B]; None counts each once.

    Returns:
        "value", and "low" and "high" where there is an interval.
    """
    values, speakers = np.asarray(values, np.float64), np.asarray(speakers)
    speakers = speakers if len(np.unique(speakers)) > 1 else np.arange(len(speakers))
    weight = np.ones(len(values)) if weight is None else np.asarray(weight, np.float64)
    known = ~np.isnan(values)
    low, high = bootstrap_mean(values, speakers, weight)
    interval = {} if np.isnan(low) else {"low": low, "high": high}
    return {"value": float(np.average(values[known], weights=weight[known]))} | interval


def bootstrap_trials(
    scores,
    same,
    speakers,
    statistic,
    *,
    base_weight=None,
    num_samples=1000,
    confidence=0.95,
    seed=0,
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
        base_weight: of each trial where every speaker is drawn once [N]; None is 1.
        num_samples: number of draws.
        confidence: mass inside the interval, 0 to 1.
        seed: of the draws.

    Returns:
        (low, high).

    Raises:
        ConfigError: no draw has trials of both kinds.
    """
    # Sorted once, each draw finds them in order.
    order = np.argsort(-np.asarray(scores), kind="stable")
    scores, same = np.asarray(scores)[order], np.asarray(same, bool)[order]
    names, numbers = np.unique(np.asarray(speakers)[order], return_inverse=True)
    left, right = numbers.reshape(-1, 2).T
    base_weight = np.ones(len(order)) if base_weight is None else np.asarray(base_weight)[order]
    rng, results = np.random.default_rng(seed), []
    for _ in range(num_samples):
        count = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        weight = base_weight * np.where(same, count[left], count[left] * count[right])
        if (weight[same] > 0).any() and (weight[~same] > 0).any():
            results.append(statistic(scores, same, weight))
    if not results:
        raise ConfigError("too few speakers to resample: judge on more")
    tail = 100.0 * (1.0 - confidence) / 2.0
    low, high = np.percentile(results, [tail, 100.0 - tail])
    return float(low), float(high)
