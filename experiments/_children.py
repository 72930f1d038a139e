"""What tells the voices of children from those of others by their embeddings, for a warning.

Shape letters: B clips.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from data_pipelines import splits
from data_pipelines.feature_set import FeatureSet
from experiments import _backend, _groups
from lin_jax import calibration
from lin_jax.bundles import Verifier
from lin_jax.evaluation import verification as evaluation

MAX_WARNED = 0.05  # share of the clips of others, in the corpus where it is the largest
DECAY = 1e-5  # of 1e-3 to 1e-6 the best
FOLDS = 5  # of speakers, by whose held-out scores the warning is set


def with_children(bundle: Verifier, clips: FeatureSet, indices: Sequence[int]) -> Verifier:
    """A verifier that has learnt the voices of children, where there are enough of them.

    Who is not known to be a child counts as none. The warning is set by speakers that the
    regression has not learnt, though the encoder has.
    """
    child = _groups.ages(clips)[indices] < _groups.CHILD
    speakers, corpora = clips.people[indices], clips.corpora[indices]
    if len(np.unique(speakers[child])) < FOLDS:
        return bundle
    embeddings, _ = evaluation.embed(bundle, _backend.waveforms(clips, indices))
    known = ~np.isnan(embeddings[:, 0])
    embeddings, child, speakers, corpora = (
        x[known] for x in (embeddings, child, speakers, corpora)
    )
    scores = held_out_scores(embeddings, child, speakers)
    others = [scores[~child & (corpora == corpus)] for corpus in np.unique(corpora[~child])]
    threshold = max(np.quantile(each, 1 - MAX_WARNED) for each in others)
    weight, bias = _fit(embeddings, child, speakers)
    return dataclasses.replace(bundle, child_weight=weight, child_bias=bias - float(threshold))


def held_out_scores(embeddings, child, speakers) -> np.ndarray:
    """How much each clip sounds like a child's to a regression of other speakers [B]."""
    scores = np.zeros(len(child))
    for fold in splits.k_fold(speakers, FOLDS):
        weight, bias = _fit(*(x[fold.train] for x in (embeddings, child, speakers)))
        scores[fold.test] = embeddings[fold.test] @ weight + bias
    return scores


def warned(bundle: Verifier, embeddings, clips: FeatureSet) -> dict[str, float]:
    """The shares of the clips of children and of others for which it is a child; none if unlearnt."""
    if bundle.child_weight is None:
        return {}
    positive = embeddings @ bundle.child_weight + bundle.child_bias > 0
    child = _groups.ages(clips) < _groups.CHILD
    groups = {"children": child, "others": ~child}
    return {name: float(positive[mask].mean()) for name, mask in groups.items() if mask.any()}


def _fit(embeddings, child, speakers):
    """Every speaker weighs the same, and children as much as all others."""
    _, number, counts = np.unique(speakers, return_inverse=True, return_counts=True)
    return calibration.fit_logistic(embeddings, child, 1 / counts[number], decay=DECAY)
