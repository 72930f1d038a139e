"""Metrics of speaker verification, on scored trials: pairs of clips of the same speaker or not.

Shape letters: N trials, K thresholds.
"""

import dataclasses

import numpy as np

from lin_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True, eq=False)
class Trials:
    """Pairs of clips, of the same speaker or not.

    Attributes:
        pairs: indices of both clips [N, 2].
        same: whether their speaker is the same [N] bool.
        same_sex: whether their speakers are known to be of one sex [N] bool.
        speakers: number of the speaker on each side [N, 2].
    """

    pairs: np.ndarray
    same: np.ndarray
    same_sex: np.ndarray
    speakers: np.ndarray

    def of(self, known) -> "Trials":
        """Those of which both clips are known [B] bool."""
        kept = np.asarray(known)[self.pairs].all(axis=1)
        return Trials(self.pairs[kept], self.same[kept], self.same_sex[kept], self.speakers[kept])


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
    # Trials with one score go together.
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
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
        (rate from 0 to 1, threshold).

    Raises:
        ConfigError: as for `det_curve`.
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
