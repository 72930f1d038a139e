"""Scores of two voices: cosine similarity, or the likelihood ratio of one speaker to two (PLDA).

Shape letters: A and B clips, E embedding, D axes, N trials, S strangers.
"""

import dataclasses

import numpy as np

from lin_jax import metrics
from lin_jax.vectors import unit_norm, unit_vectors


@dataclasses.dataclass(frozen=True, eq=False)
class Plda:
    """Probabilistic linear discriminant analysis.

    What the embeddings of many speakers have in common.

    The two-covariance model of N. Brümmer and E. de Villiers, "The speaker partitioning problem",
    Odyssey 2010: an embedding is the sum of what is the speaker's and of what varies from clip to
    clip, both Gaussian.

    Attributes:
        mean: of the speakers [E].
        axes: directions in which speakers differ most beside their own clips [E, D]; along each,
            the clips of a speaker vary by 1.
        between: variance of the speakers along each axis [D].
    """

    mean: np.ndarray
    axes: np.ndarray
    between: np.ndarray

    @classmethod
    def fit(cls, embeddings, speakers, *, num_axes: int = 128, shrinkage: float = 2.0) -> "Plda":
        """Learn it from clips.

        Args:
            embeddings: of the clips [B, E].
            speakers: of the clips [B]; two at least, and one of them with several clips.
            num_axes: how many axes are kept, at most.
            shrinkage: what is added to the variance within speakers in every direction, relative to
                its mean: of speakers whom a network has learnt, the clips vary less than those of
                strangers will.
        """
        from scipy import linalg

        embeddings = np.asarray(embeddings, np.float64)
        names, means = metrics.mean_by_speaker(embeddings, speakers)
        mean = means.mean(axis=0)
        rest = embeddings - means[np.searchsorted(names, speakers)]
        within = rest.T @ rest / max(len(rest) - len(names), 1)
        within += shrinkage * np.trace(within) / len(within) * np.eye(len(within))
        between = (means - mean).T @ (means - mean) / (len(names) - 1)
        variances, axes = linalg.eigh(between, within)  # ascending
        chosen = slice(None, -num_axes - 1, -1)
        return cls(mean, axes[:, chosen], np.maximum(variances[chosen], 0.0))

    def scores(self, a, b) -> np.ndarray:
        """Log-likelihood ratios [A, B] of one speaker to two, of embeddings [A, E] and [B, E]."""
        a, b = ((x - self.mean) @ self.axes for x in (a, b))
        total, joint = 1.0 + self.between, 1.0 + 2.0 * self.between
        weight, alone = self.between / joint, 1.0 / total - total / joint
        constant = np.sum(np.log(total) - 0.5 * np.log(joint))
        return (a * weight) @ b.T + 0.5 * ((a**2 @ alone)[:, None] + b**2 @ alone) + constant


@dataclasses.dataclass(frozen=True, eq=False)
class ScoringBackend:
    """How two embeddings are compared.

    Attributes:
        plda: whose likelihood ratios are the scores; without it they are cosines.
        cohort: unit vectors of strangers [S, E] that scores are normalised by, see
            `as_norm`; None leaves them.
        top: strangers that each side is compared with, the nearest ones.
        fused: the rule for the second part of embeddings that are `joined`; what is above is for
            the first.
        size: length E of the first part; of the whole embedding when None.
        fusion_weight: of the second part in a score.
        narrow_cohort: the strangers through a narrow channel [S, E], who take the place of the
            cohort in trials of which a side is narrow: two voices by telephone are more alike than
            either and strangers who are not. None keeps the cohort.
    """

    plda: Plda | None = None
    cohort: np.ndarray | None = None
    top: int = 100
    fused: "ScoringBackend | None" = None
    size: int | None = None
    fusion_weight: float = 0.0
    narrow_cohort: np.ndarray | None = None

    @classmethod
    def fit(
        cls, embeddings, speakers, cohort, *, plda: bool = True, top: int = 100, **settings
    ) -> "ScoringBackend":
        """Learn from the clips of training speakers.

        Args:
            embeddings: of the clips [B, E].
            speakers: of the clips [B].
            cohort: unit vectors [S, E]; None or a `top` of 0 normalises nothing.
            plda: whether scores are likelihood ratios; else cosines.
            top: of the cohort, those that each side is compared with.
            **settings: of `Plda.fit`.
        """
        model = Plda.fit(embeddings, speakers, **settings) if plda else None
        return cls(model, cohort if top else None, top)

    def scores(self, embeddings, pairs, narrow=None) -> np.ndarray:
        """How alike the two sides of each trial are.

        Args:
            embeddings: unit vectors [B, E], or what `joined` makes of two of them.
            pairs: the two of them in each trial [N, 2] int.
            narrow: which of them are of recordings with a narrow band [B] bool; None is none.

        Returns:
            Scores [N].
        """
        narrow = np.zeros(len(embeddings), bool) if narrow is None else np.asarray(narrow)
        is_narrow = narrow[np.asarray(pairs)].any(axis=1)  # [N]
        return self._scores(embeddings, pairs, is_narrow)

    def _scores(self, embeddings, pairs, is_narrow) -> np.ndarray:
        used, numbers = np.unique(pairs, return_inverse=True)
        embeddings = np.asarray(embeddings)[used]
        vectors, rule = first(embeddings, self.size), self.plda.scores if self.plda else np.inner
        numbers = numbers.reshape(-1, 2)
        scores = rule(vectors, vectors)[numbers[:, 0], numbers[:, 1]]
        if self.cohort is not None:
            raw = scores
            scores = as_norm(raw, numbers, rule(vectors, self.cohort), top=self.top)
            if self.narrow_cohort is not None and is_narrow.any():
                against = rule(vectors, self.narrow_cohort)
                scores = np.where(is_narrow, as_norm(raw, numbers, against, top=self.top), scores)
        if not self.fused:
            return scores
        return (1 - self.fusion_weight) * scores + self.fusion_weight * self.fused._scores(
            unit_vectors(embeddings[:, self.size :]), numbers, is_narrow
        )


def pair_scores(backend: ScoringBackend, a, b, narrow):
    """Scores of pairs of embeddings by a backend, within a JAX trace.

    Args:
        backend: how they are compared.
        a: embeddings [B, E].
        b: those they are compared with [B, E].
        narrow: whether a side of the pair is narrow [B] bool.

    Returns:
        [B]: what `ScoringBackend.scores` gives of each pair, in float32.
    """
    import jax
    import jax.numpy as jnp

    def rule(a, b):
        if backend.plda:
            return backend.plda.scores(a, b)
        return a @ b.T

    def normalised(cohort):
        cohort = jnp.float32(cohort)
        relative = []
        for side in sides:
            nearest, _ = jax.lax.top_k(rule(side, cohort), min(backend.top, len(cohort)))
            std = jnp.maximum(nearest.std(axis=1), 1e-6)
            relative.append((raw - nearest.mean(axis=1)) / std)
        return sum(relative) / 2

    size = backend.size
    sides = [unit_norm(x[:, :size]) if size else x for x in (a, b)]
    scores = raw = jax.vmap(lambda a, b: rule(a[None], b[None])[0, 0])(*sides)
    if backend.cohort is not None:
        scores = normalised(backend.cohort)
        if backend.narrow_cohort is not None:
            scores = jnp.where(narrow, normalised(backend.narrow_cohort), scores)
    if not backend.fused:
        return scores
    a, b = (unit_norm(x[:, size:]) for x in (a, b))
    weight = backend.fusion_weight
    return (1 - weight) * scores + weight * pair_scores(backend.fused, a, b, narrow)


def principal_axes(x, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The principal components of rows [B, D] as a dense layer.

    Each is divided by the square root of its deviation: halfway from as they vary to all alike.

    Args:
        x: the rows [B, D].
        number: of components at most, E; fewer where there are no more.

    Returns:
        kernel [D, E] float32 and bias [E] float32.
    """
    mean = x.mean(axis=0)
    _, deviations, axes = np.linalg.svd(x - mean, full_matrices=False)
    kept = deviations[:number] > 1e-6 * deviations[0]
    kernel = axes[:number][kept].T / np.sqrt(deviations[:number][kept])
    return kernel.astype(np.float32), (-mean @ kernel).astype(np.float32)


def joined(a, b, weight: float):
    """Two unit vectors as one, whose cosines are the mean of theirs.

    [..., E] and [..., F] to [..., E + F], of NumPy or of JAX.
    """
    arrays = a.__array_namespace__()
    return arrays.concat([(1 - weight) ** 0.5 * a, weight**0.5 * b], axis=-1)


def first(embeddings, size: int | None) -> np.ndarray:
    """The first part, of that length, of what `joined` made.

    Unit vectors [..., size]; all of it when None.
    """
    return embeddings if size is None else unit_vectors(embeddings[..., :size])


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
