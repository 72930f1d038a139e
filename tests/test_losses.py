"""Losses against values worked out by hand and by scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from lin_jax import losses
from lin_jax.audio.frontend import stft
from lin_jax.errors import ConfigError

LOGITS = np.log(np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]], np.float32))
LABELS = np.array([0, 2])


@pytest.mark.parametrize(
    ("targets", "options", "expected"),
    [
        (LABELS, {}, -np.log([0.7, 0.5])),
        # Smoothing 0.3 over three classes: 0.8 on the label, 0.1 on each other one.
        (
            LABELS,
            {"label_smoothing": 0.3},
            -(0.8 * np.log([0.7, 0.5]) + 0.1 * np.log([0.2, 0.25]) + 0.1 * np.log([0.1, 0.25])),
        ),
        (LABELS, {"class_weights": np.array([2.0, 1.0, 0.5])}, -np.log([0.7, 0.5]) * [2.0, 0.5]),
        (
            np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]),
            {},
            -np.array([0.5 * np.log(0.7 * 0.2), np.log(0.5)]),
        ),
    ],
    ids=["plain", "smoothed", "weighted", "soft"],
)
def test_cross_entropy(targets, options, expected):
    """Each option does what its formula says."""
    np.testing.assert_allclose(
        losses.cross_entropy(LOGITS, targets, **options), expected, rtol=1e-6
    )


def test_cross_entropy_is_log_loss_and_stays_finite():
    """The mean is scikit-learn's log loss, and logits of any size give finite losses and gradients."""
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 4)).astype(np.float32), rng.integers(0, 4, 50)
    expected = log_loss(labels, scipy.special.softmax(logits.astype(np.float64), axis=-1))
    np.testing.assert_allclose(losses.cross_entropy(logits, labels).mean(), expected, rtol=1e-5)
    value, slope = jax.value_and_grad(lambda x: losses.cross_entropy(x, np.array(1)))(
        np.array([1e4, -1e4], np.float32)
    )
    assert value == 2e4
    np.testing.assert_array_equal(slope, [1.0, -1.0])


def test_balanced_class_weights():
    """The weights are scikit-learn's, leave the mean weight at one, and give an absent class none."""
    labels = np.array([0] * 6 + [1] * 3 + [2])
    weights = losses.balanced_class_weights(np.bincount(labels))
    np.testing.assert_allclose(
        weights, compute_class_weight("balanced", classes=np.arange(3), y=labels), rtol=1e-6
    )
    assert np.mean(weights[labels]) == pytest.approx(1.0)
    np.testing.assert_allclose(losses.balanced_class_weights([2, 0, 2]), [1.0, 0.0, 1.0])


def on_circle(*degrees):
    """Unit vectors in the plane, whose cosines are those of the differences of their angles."""
    angles = np.deg2rad(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def cosine(degrees):
    return np.cos(np.deg2rad(degrees))


SPEAKERS = np.array([0, 0, 0, 1, 1])
CIRCLE = on_circle(0, 30, 60, 50, 170)


def test_triplet_margin_batch_hard():
    """Anchor by anchor: farthest positive against nearest negative."""
    positives, negatives = [60, 30, 60, 120, 120], [50, 20, 10, 10, 110]
    expected = np.maximum(cosine(negatives) - cosine(positives) + 0.2, 0)
    loss, counted = losses.triplet_margin(CIRCLE, SPEAKERS, margin=0.2)
    np.testing.assert_allclose(loss, expected, atol=1e-6)
    assert counted.all()


def test_triplet_margin_semi_hard():
    """The first anchor: the positive at 30° meets the negative at 50°, that at 60° the one at 170°."""
    loss, counted = losses.triplet_margin(CIRCLE, SPEAKERS, margin=0.3, mining="semi-hard")
    pairs = [cosine(50) - cosine(30) + 0.3, max(cosine(170) - cosine(60) + 0.3, 0)]
    np.testing.assert_allclose(loss[0], np.mean(pairs), atol=1e-6)
    # Nothing is farther from the fourth than its only positive (120° away): the farthest negative,
    # 50°, is taken.
    np.testing.assert_allclose(loss[3], cosine(50) - cosine(120) + 0.3, atol=1e-6)
    assert counted.all()
    with pytest.raises(ConfigError, match="choose hard or semi-hard"):
        losses.triplet_margin(CIRCLE, SPEAKERS, mining="easy")


def test_ge2e_by_hand():
    """Two clips of one speaker and two of another: centroids are where they should be."""
    embeddings = on_circle(0, 40, 100, 120)
    loss, counted = losses.ge2e(embeddings, np.array([7, 7, 3, 3]), 10.0, -5.0)
    logits, other = (
        10 * cosine([40, 40, 20, 20]),
        10 * cosine([110, 70, 80, 100]),
    )  # centroids at 20° and 110°
    np.testing.assert_allclose(loss, np.log1p(np.exp(other - logits)), rtol=1e-4, atol=1e-6)
    assert counted.all()


@pytest.mark.parametrize(
    "loss",
    [
        losses.triplet_margin,
        lambda *a, **k: losses.triplet_margin(*a, mining="semi-hard", **k),
        lambda x, y, **k: losses.ge2e(x, y, 10.0, -5.0, **k),
    ],
    ids=["hard", "semi-hard", "ge2e"],
)
def test_filler_and_lonely_clips(loss):
    """Filler changes nothing, a speaker with one clip has no loss, and every gradient is finite."""
    expected, _ = loss(CIRCLE, SPEAKERS)
    x, labels = np.concatenate([CIRCLE, on_circle(5, 52)]), np.append(SPEAKERS, [1, 0])
    weight = np.array([1, 1, 1, 1, 1, 0, 0], np.float32)
    value, counted = loss(x, labels, weight=weight)
    np.testing.assert_allclose(value[:5], expected, atol=1e-6)
    np.testing.assert_array_equal(counted, weight > 0)
    lonely, counted = loss(x, np.append(SPEAKERS, [2, 3]))
    np.testing.assert_array_equal(counted, [1, 1, 1, 1, 1, 0, 0])
    assert not np.any(lonely[5:])
    for of in (SPEAKERS, np.arange(5), np.zeros(5, int)):
        assert np.isfinite(jax.grad(lambda x, of=of: loss(x, of)[0].sum())(CIRCLE)).all()


@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_angular_margin(margin):
    """The angle to the own class counts as if it were larger by the margin.

    The length of a centre does not matter.
    """
    centres = on_circle(10, 200) * [[3.0], [0.5]]
    loss, cosines = losses.angular_margin(
        on_circle(0, 150), centres, np.array([0, 1]), margin=margin, scale=5.0
    )
    np.testing.assert_allclose(cosines, [cosine([10, 160]), cosine([140, 50])], atol=1e-6)
    target, other = 5 * np.cos(np.deg2rad([10, 50]) + margin), 5 * cosine([160, 140])
    np.testing.assert_allclose(loss, np.log1p(np.exp(other - target)), rtol=1e-4, atol=1e-6)


def test_angular_margin_keeps_falling_past_pi():
    """However far away, coming nearer to the own class lowers the loss, with a finite slope."""

    def loss(angle):
        embedding = jnp.stack([jnp.cos(angle), jnp.sin(angle), 0.0])[None]
        centres = np.eye(3)[[0, 2]]  # the other class stays at a right angle
        return losses.angular_margin(embedding, centres, np.array([0]), margin=0.5, scale=5.0)[0][0]

    slope = jax.vmap(jax.grad(loss))(np.deg2rad(np.array([20.0, 90.0, 160.0, 175.0])))
    assert np.isfinite(slope).all()
    assert (slope > 0).all()


@pytest.fixture(scope="module")
def sounds():
    rng = np.random.default_rng(0)
    return (0.1 * rng.standard_normal((2, 3, 4000))).astype(np.float32)


def test_si_sdr_by_hand(sounds):
    target, noise = sounds
    ratios = -losses.neg_si_sdr(3 * (target + 0.1 * noise), target, max_db=100)
    for i in range(3):
        estimate = target[i] + 0.1 * noise[i]
        projection = (estimate @ target[i]) / (target[i] @ target[i]) * target[i]
        expected = 10 * np.log10(
            (projection @ projection) / ((estimate - projection) @ (estimate - projection))
        )
        assert ratios[i] == pytest.approx(expected, abs=1e-3)
    np.testing.assert_allclose(losses.neg_si_sdr(target, target, max_db=30), -30, atol=1e-3)
    gradient = jax.grad(lambda x: losses.neg_si_sdr(x, jnp.zeros_like(x)).sum())(
        np.zeros_like(target)
    )
    assert np.isfinite(gradient).all(), "silence"


def test_compressed_spectrum(sounds):
    target, noise = sounds
    assert not losses.compressed_spectrum(target, target).any()
    near, far = (losses.compressed_spectrum(target + gain * noise, target) for gain in (0.1, 1.0))
    assert (near < far).all()
    magnitude, phase = (
        losses.compressed_spectrum(-target, target, complex_share=share) for share in (0.0, 1.0)
    )
    np.testing.assert_allclose(magnitude, 0, atol=1e-9)
    assert (phase > 0.1).all()
    loss = losses.compressed_spectrum(
        2 * target, target, sizes=(256,), power=0.5, complex_share=0.0
    )
    magnitudes = np.abs(np.asarray(stft(target, 256, 128, 256))) / 128**0.5
    np.testing.assert_allclose(loss, (2**0.5 - 1) ** 2 * magnitudes.mean(axis=(1, 2)), rtol=1e-2)
    gradient = jax.grad(lambda x: losses.compressed_spectrum(x, target).sum())(
        np.zeros_like(target)
    )
    assert np.isfinite(gradient).all(), "silence"


def test_mel_distance_and_stops_by_hand():
    target = np.zeros((2, 4, 3), np.float32)
    estimate = np.full_like(target, 2.0)
    estimate[1, 2:] = 99.0  # past its end
    np.testing.assert_allclose(losses.mel_distance(estimate, target, np.array([4, 2])), 2.0 + 4.0)

    logits = np.array([[-1.0, -2.0, 3.0, 9.0], [0.5, 7.0, 7.0, 7.0]])
    softplus = lambda x: np.log1p(np.exp(x))  # noqa: E731
    expected = [(softplus(-1.0) + softplus(-2.0) + 5 * softplus(-3.0)) / 3, 5 * softplus(-0.5)]
    loss = losses.stop_cross_entropy(logits, np.array([3, 1]), positive_weight=5.0)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_guided_attention_by_hand():
    """Nothing on the diagonal, 1 - exp(-d²/2σ²) at a distance d from it, and padding does not
    count.
    """
    attention = np.zeros((3, 6, 8), np.float32)
    attention[0, range(4), range(4)] = 1.0
    attention[1, :4, 0] = 1.0
    attention[2] = attention[1]
    attention[2, 4:] = 1.0
    loss = losses.guided_attention(attention, np.full(3, 4), np.full(3, 4), sigma=0.2)
    expected = np.mean(1 - np.exp(-((np.arange(4) / 4) ** 2) / 0.08))
    np.testing.assert_allclose(loss, [0.0, expected, expected], atol=1e-6)
