"""Scores of trials against hand computations, scipy's densities, and voices that are drawn from the
model itself.
"""

import numpy as np
import pytest
from scipy import stats

from lin_jax import metrics, scoring
from lin_jax.scoring import Plda, ScoringBackend, first, joined


def draw(between, within, *, speakers, clips, seed=0):
    """Embeddings [speakers * clips, E] of the two-covariance model, and who speaks each."""
    rng, E = np.random.default_rng(seed), len(between)
    means = rng.multivariate_normal(np.ones(E), between, speakers)
    vectors = np.repeat(means, clips, axis=0) + rng.multivariate_normal(
        np.zeros(E), within, speakers * clips
    )
    return vectors, np.repeat(np.arange(speakers), clips)


def test_scores_are_likelihood_ratios():
    """Against the densities of two sides, jointly and each alone, in the covariances that the axes
    stand for.
    """
    axes = np.array([[1.0, 0.3, 0.0], [0.1, 2.0, 0.4], [0.0, -0.2, 0.7]])
    plda = Plda(np.array([0.3, -0.2, 0.1]), axes, np.array([2.0, 0.5, 0.0]))
    within = np.linalg.inv(axes @ axes.T)
    between = np.linalg.inv(axes.T) @ np.diag(plda.between) @ np.linalg.inv(axes)
    total = within + between
    joint = stats.multivariate_normal(
        np.tile(plda.mean, 2), np.block([[total, between], [between, total]])
    )
    alone = stats.multivariate_normal(plda.mean, total)
    a, b = np.random.default_rng(0).normal(size=(2, 4, 3))
    expected = [[joint.logpdf([*x, *y]) - alone.logpdf(x) - alone.logpdf(y) for y in b] for x in a]
    np.testing.assert_allclose(plda.scores(a, b), expected, rtol=1e-9)


def test_fit_finds_the_model_that_clips_were_drawn_from():
    """Along the axes clips of a speaker vary by 1.

    Without shrinkage the variances are those that were drawn.
    """
    within = np.array([[1.0, 0.5, 0.0], [0.5, 2.0, 0.3], [0.0, 0.3, 0.5]])
    between = np.array([[2.0, 0.0, 0.5], [0.0, 0.3, 0.0], [0.5, 0.0, 1.0]])
    vectors, speakers = draw(between, within, speakers=2000, clips=20)
    plda = Plda.fit(vectors, speakers, shrinkage=0.0)
    np.testing.assert_allclose(plda.axes.T @ within @ plda.axes, np.eye(3), atol=0.05)
    np.testing.assert_allclose(plda.axes.T @ between @ plda.axes, np.diag(plda.between), atol=0.25)
    assert (np.diff(plda.between) < 0).all()
    np.testing.assert_allclose(plda.mean, 1.0, atol=0.1)
    two = Plda.fit(vectors, speakers, shrinkage=0.0, num_axes=2)
    np.testing.assert_array_equal(two.axes, plda.axes[:, :2])
    assert Plda.fit(vectors, speakers).between[0] < plda.between[0], (
        "shrunk, it is less sure of everything"
    )


def test_likelihood_ratios_tell_voices_apart_better_than_cosines():
    """Where clips vary most in a direction that says nothing of the speaker."""
    within, between = np.diag([9.0, 0.3, 0.3, 0.3]), np.eye(4)
    vectors, speakers = draw(between, within, speakers=60, clips=8)
    vectors -= 1.0
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    learnt, judged = speakers < 40, speakers >= 40
    pairs = np.stack(np.triu_indices(judged.sum(), 1), axis=1)
    same = speakers[judged][pairs[:, 0]] == speakers[judged][pairs[:, 1]]
    plda = Plda.fit(vectors[learnt], speakers[learnt], shrinkage=0.1)
    cosine, ratio = (
        metrics.equal_error_rate(ScoringBackend(rule).scores(vectors[judged], pairs), same)[0]
        for rule in (None, plda)
    )
    assert ratio < 0.75 * cosine


@pytest.mark.parametrize("with_plda", [False, True])
def test_trials_are_scored_alike_alone_and_among_others(with_plda):
    """Either order of a pair, any clips beside it; normalised, the same of `scoring.as_norm`."""
    vectors = np.random.default_rng(0).normal(size=(9, 4))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    clips, cohort = vectors[:6], vectors[6:]
    plda = Plda.fit(vectors, np.arange(9) % 4) if with_plda else None
    pairs = np.array([[4, 1], [1, 4], [5, 2]])
    for settings in ({}, {"cohort": cohort, "top": 2}):
        scores = ScoringBackend(plda, **settings).scores(clips, pairs)
        assert scores[0] == pytest.approx(scores[1])
        (alone,) = ScoringBackend(plda, **settings).scores(clips[[5, 2]], [(0, 1)])
        assert scores[2] == pytest.approx(alone)
    rule = plda.scores if plda else np.inner
    by_hand = scoring.as_norm(
        np.diag(rule(clips[[4]], clips[[1]])), [(0, 1)], rule(clips[[4, 1]], cohort), top=2
    )
    assert ScoringBackend(plda, cohort, 2).scores(clips, [(4, 1)]) == pytest.approx(by_hand)
    if not with_plda:
        assert ScoringBackend().scores(clips, [(4, 1)]) == pytest.approx(clips[4] @ clips[1])


def test_narrow_recordings_have_a_cohort_of_their_own():
    """In trials of which a side is narrow, and nowhere else; the fused rule likewise."""
    rng = np.random.default_rng(0)
    a, b, wide, narrow = (
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (rng.normal(size=(4, 5)) for _ in range(4))
    )
    pairs, is_narrow = [(0, 1), (1, 2), (2, 3)], [False, False, False, True]
    fused = ScoringBackend(cohort=wide, top=2, narrow_cohort=narrow)
    backend = ScoringBackend(
        cohort=wide, top=2, fused=fused, size=5, fusion_weight=0.25, narrow_cohort=narrow
    )
    both = joined(a, b, 0.25)
    scores = backend.scores(both, pairs, is_narrow)

    def by_hand(cohort, pair):
        return sum(
            weight
            * scoring.as_norm([x[pair[0]] @ x[pair[1]]], [(0, 1)], x[list(pair)] @ cohort.T, top=2)
            for x, weight in ((a, 0.75), (b, 0.25))
        )

    assert scores[:2] == pytest.approx([*by_hand(wide, (0, 1)), *by_hand(wide, (1, 2))])
    assert scores[2] == pytest.approx(by_hand(narrow, (2, 3))[0])
    assert backend.scores(both, pairs) == pytest.approx(
        [*scores[:2], *by_hand(wide, (2, 3))], abs=1e-6
    )


def test_parts_that_are_joined_are_scored_each_by_its_rule():
    """Whatever their lengths; a mean of joined vectors, in which the parts no longer have their
    own, as well.
    """
    rng = np.random.default_rng(0)
    a, b = (
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (rng.normal(size=(5, 4)), rng.normal(size=(5, 6)))
    )
    pairs, fused = [(0, 1), (3, 2)], ScoringBackend(Plda.fit(b, [0, 0, 1, 1, 2]), b[3:], 2)
    both = joined(a, b, 0.3)
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1)
    np.testing.assert_allclose(both @ both.T, 0.7 * a @ a.T + 0.3 * b @ b.T)
    np.testing.assert_allclose(first(both, 4), a)
    expected = 0.7 * ScoringBackend(cohort=a[2:], top=2).scores(a, pairs) + 0.3 * fused.scores(
        b, pairs
    )
    rule = ScoringBackend(cohort=a[2:], top=2, fused=fused, size=4, fusion_weight=0.3)
    np.testing.assert_allclose(rule.scores(both, pairs), expected)
    scaled = np.concatenate([0.5 * both[:, :4], 2.0 * both[:, 4:]], axis=1)
    np.testing.assert_allclose(rule.scores(scaled, pairs), expected)


def test_as_norm_by_hand():
    """Two clips against three strangers, of whom the nearest two count."""
    (score,) = scoring.as_norm([0.8], [[0, 1]], [[0.6, 0.0, -1.0], [0.96, 0.6, -0.8]], top=2)
    left, right = (0.8 - 0.3) / 0.3, (0.8 - 0.78) / 0.18
    assert score == pytest.approx((left + right) / 2)


def test_principal_components():
    """Against scikit-learn's, each halfway to equal variance; no more of them than there are."""
    from sklearn.decomposition import PCA

    x = np.random.default_rng(0).normal(size=(20, 6)) * [5, 4, 3, 2, 1, 0.5] + 7
    expected = PCA(3).fit(x)
    kernel, bias = scoring.principal_axes(x, 3)
    projected = x @ kernel + bias
    scaled = expected.transform(x) / np.sqrt(expected.singular_values_)
    np.testing.assert_allclose(np.abs(projected), np.abs(scaled), rtol=1e-4, atol=1e-5)
    assert scoring.principal_axes(x[:3], 5)[0].shape == (6, 2)
