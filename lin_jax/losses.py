"""Losses: pure functions, one value per example.

Whoever averages them decides what an example weighs.

Shapes: B batch, C classes, E embedding, N samples, T frames, F frequency bins, M mel bins, S
decoder steps, L source positions.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lin_jax.audio.frontend import mel_filter_bank, stft
from lin_jax.errors import ConfigError
from lin_jax.shapes import check_shapes
from lin_jax.vectors import unit_norm

__all__ = [
    "angular_margin",
    "balanced_class_weights",
    "compressed_spectrum",
    "cosine_similarities",
    "cross_entropy",
    "feature_matching",
    "ge2e",
    "guided_attention",
    "hinge_discriminator",
    "hinge_generator",
    "mel_distance",
    "multi_resolution_mel",
    "neg_si_sdr",
    "stop_cross_entropy",
    "triplet_margin",
]


def cross_entropy(
    logits: jax.Array,
    targets: ArrayLike,
    *,
    label_smoothing: float = 0.0,
    class_weights: ArrayLike | None = None,
) -> jax.Array:
    """Cross entropy of a softmax, for class numbers or for soft targets such as mixup makes.

    Args:
        logits: scores before the softmax [..., C].
        targets: class numbers [...] int, or probabilities [..., C] float.
        label_smoothing: share of every target spread evenly over the C classes (Szegedy et al.,
            2016, section 7).
        class_weights: weight of each class [C], or None for equal weights; soft targets are
            weighted class by class.

    Returns:
        Loss in nats [...], not divided by the class weights.
    """
    C = logits.shape[-1]
    if jnp.issubdtype(jnp.result_type(targets), jnp.integer):
        targets = jax.nn.one_hot(targets, C)  # [..., C]
    targets = (1.0 - label_smoothing) * targets + label_smoothing / C
    if class_weights is not None:
        targets = targets * class_weights
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)


def balanced_class_weights(counts: ArrayLike) -> np.ndarray:
    """Weights that let every class count the same, whose mean over the examples is one.

    Args:
        counts: examples of each class [C]; a class without examples gets weight zero.

    Returns:
        Weights [C] float32, proportional to 1 / count (King & Zeng, 2001; scikit-learn's
        "balanced").
    """
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    weights = np.divide(
        counts.sum(), present.sum() * counts, out=np.zeros_like(counts), where=present
    )
    return weights.astype(np.float32)


def cosine_similarities(x: jax.Array, y: jax.Array) -> jax.Array:
    """Cosines [..., A, B] between unit vectors x [..., A, E] and y [..., B, E]."""
    return jnp.matmul(x, jnp.swapaxes(y, -1, -2), precision="highest")


def triplet_margin(
    embeddings: jax.Array,
    labels: jax.Array,
    *,
    margin: float = 0.2,
    mining: str = "hard",
    weight: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Triplet loss over the cosine distances of a batch of P speakers with K clips each.

    With "hard" mining each clip, as anchor, is set against its farthest positive and its nearest
    negative (Hermans et al., 2017, "batch hard"). With "semi-hard" each of its positives is set
    against the nearest negative that is farther away than that positive, or against the farthest
    where there is none (Schroff et al., 2015, section 3.2), and the pairs are averaged.

    Args:
        embeddings: unit vectors [B, E].
        labels: speaker of each [B] int.
        margin: by how much a negative should be farther than a positive, in cosine distance (0 to
            2).
        mining: "hard" or "semi-hard".
        weight: of each clip [B], zero for filler, which is in no triplet; None has no filler.

    Returns:
        Loss of each anchor [B], zero for one in no triplet, and whether it is in one [B] bool.

    Raises:
        ShapeError: shapes that do not fit together.
        ConfigError: another mining.
    """
    check_shapes(embeddings=(embeddings, "B E"), labels=(labels, "B"), weight=(weight, "B"))
    distance = 1.0 - cosine_similarities(embeddings, embeddings)
    there = jnp.ones(len(labels), bool) if weight is None else weight > 0
    both = there[:, None] & there[None, :]
    same = labels[:, None] == labels[None, :]
    positive, negative = both & same & ~jnp.eye(len(labels), dtype=bool), both & ~same  # [B, B]
    counted = positive.any(axis=1) & negative.any(axis=1)
    if mining == "hard":
        farthest = jnp.max(jnp.where(positive, distance, -jnp.inf), axis=1, initial=-2.0)
        nearest = jnp.min(jnp.where(negative, distance, jnp.inf), axis=1, initial=4.0)
        return jnp.where(counted, jax.nn.relu(farthest - nearest + margin), 0.0), counted
    if mining != "semi-hard":
        raise ConfigError(f"unknown mining {mining!r}: choose hard or semi-hard")
    farther = negative[:, None, :] & (
        distance[:, None, :] > distance[:, :, None]
    )  # [anchor, positive, negative]
    nearest = jnp.min(jnp.where(farther, distance[:, None, :], jnp.inf), axis=2, initial=4.0)
    farthest = jnp.max(jnp.where(negative, distance, -jnp.inf), axis=1, initial=-2.0)[:, None]
    chosen = jnp.where(farther.any(axis=2), nearest, farthest)  # [B, B]
    pairs = jnp.where(positive, jax.nn.relu(distance - chosen + margin), 0.0)
    return jnp.where(
        counted, pairs.sum(axis=1) / jnp.maximum(positive.sum(axis=1), 1), 0.0
    ), counted


def ge2e(
    embeddings: jax.Array,
    labels: jax.Array,
    scale: ArrayLike,
    offset: ArrayLike,
    *,
    weight: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Generalised end-to-end loss, softmax form.

    Each clip should be nearest to its own speaker's centroid.

    L. Wan et al., "Generalized end-to-end loss for speaker verification", ICASSP 2018, equations 5
    to 9; a clip is left out of the centroid of its own speaker that it is compared with.

    Args:
        embeddings: unit vectors [B, E].
        labels: speaker of each [B] int, in any order.
        scale: what cosines are multiplied by [], positive.
        offset: what is added then [].
        weight: of each clip [B], zero for filler; None has no filler.

    Returns:
        Loss of each clip [B], zero where its speaker has no other clip, and whether it has one [B]
        bool.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(embeddings=(embeddings, "B E"), labels=(labels, "B"), weight=(weight, "B"))
    there = jnp.ones(len(labels)) if weight is None else (weight > 0).astype(jnp.float32)
    same = (labels[:, None] == labels[None, :]) * there[:, None] * there[None, :]  # [B, B]
    others = same * (1.0 - jnp.eye(len(labels)))
    # One column a clip, holding the centroid of its speaker; of those that repeat a speaker only
    # the first is a class.
    logits = scale * cosine_similarities(embeddings, unit_norm(same @ embeddings)) + offset
    own_logit = (
        scale * jnp.sum(embeddings * unit_norm(others @ embeddings), axis=-1) + offset
    )  # [B]
    first = (jnp.argmax(same, axis=1) == jnp.arange(len(labels))) & (there > 0)
    classes = jnp.where(first[None, :] & (same == 0), logits, -jnp.inf)
    counted = (others.sum(axis=1) > 0) & (there > 0)
    loss = (
        jax.nn.logsumexp(jnp.concatenate([own_logit[:, None], classes], axis=1), axis=1) - own_logit
    )
    return jnp.where(counted, loss, 0.0), counted


def angular_margin(
    embeddings: jax.Array,
    centres: jax.Array,
    labels: jax.Array,
    *,
    margin: float = 0.2,
    scale: float = 30.0,
) -> tuple[jax.Array, jax.Array]:
    """Additive angular margin softmax (AAM-softmax, ArcFace).

    J. Deng et al., "ArcFace: additive angular margin loss for deep face recognition", CVPR 2019:
    the angle to the own class counts as if it were `margin` larger. Where that would pass π, the
    cosine goes on falling in a straight line.

    Args:
        embeddings: unit vectors [B, E].
        centres: a vector for each class [C, E], of any length.
        labels: class of each embedding [B] int.
        margin: in radians; 0 is a softmax over scaled cosines.
        scale: what cosines are multiplied by.

    Returns:
        Loss of each example [B], and the cosines it comes from, without the margin [B, C].

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(embeddings=(embeddings, "B E"), centres=(centres, "C E"), labels=(labels, "B"))
    cosines = cosine_similarities(embeddings, unit_norm(centres))
    target = jnp.take_along_axis(cosines, labels[:, None], axis=1)  # [B, 1]
    sine = jnp.sqrt(jnp.maximum(1.0 - target**2, 1e-12))
    moved = target * np.cos(margin) - sine * np.sin(margin)
    moved = jnp.where(target > -np.cos(margin), moved, target - margin * np.sin(margin))
    is_own = jnp.arange(len(centres)) == labels[:, None]
    return cross_entropy(scale * jnp.where(is_own, moved, cosines), labels), cosines


def compressed_spectrum(
    estimate: jax.Array,
    target: jax.Array,
    *,
    sizes: Sequence[int] = (256, 512, 1024),
    power: float = 0.3,
    complex_share: float = 0.3,
) -> jax.Array:
    """Distance of compressed spectra, magnitude and complex, at several resolutions.

    A. Ephrat et al., "Looking to listen at the cocktail party", ACM TOG 37(4), 2018, with the
    complex term of S. Braun and I. Tashev, "A consolidated view of loss functions for supervised
    deep learning-based speech enhancement", TSP 2021; several resolutions as in R. Yamamoto et al.,
    "Parallel WaveGAN", ICASSP 2020.

    Args:
        estimate: waveforms [B, N].
        target: what they should be [B, N].
        sizes: FFT size of each resolution in samples; frames overlap by half.
        power: magnitudes are raised to it.
        complex_share: weight of the complex term, from 0 to 1; that of the magnitudes is the rest.

    Returns:
        Mean squared distance of each waveform [B], averaged over the resolutions.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(estimate=(estimate, "B N"), target=(target, "B N"))
    total = 0.0
    for n_fft in sizes:
        (near, near_size), (true, true_size) = (
            _compress(stft(x, n_fft, n_fft // 2, n_fft) * (2.0 / n_fft) ** 0.5, power)
            for x in (estimate, target)
        )
        magnitude = jnp.mean((near_size - true_size) ** 2, axis=(-2, -1))
        difference = near - true
        difference = jnp.mean(difference.real**2 + difference.imag**2, axis=(-2, -1))
        total += (1.0 - complex_share) * magnitude + complex_share * difference
    return total / len(sizes)


def _compress(spectrum, power):
    """A complex spectrum with its magnitudes raised to a power, and these magnitudes.

    Smooth at zero.
    """
    energy = spectrum.real**2 + spectrum.imag**2 + 1e-10
    compressed = jnp.exp(power / 2 * jnp.log(energy))  # on CPU several times as fast as a power
    return spectrum * (compressed * jax.lax.rsqrt(energy)), compressed


def neg_si_sdr(estimate: jax.Array, target: jax.Array, *, max_db: float = 50.0) -> jax.Array:
    """The negative of the scale-invariant signal-to-distortion ratio.

    J. Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019, without removing the mean.

    Args:
        estimate: waveforms [B, N].
        target: what they should be [B, N].
        max_db: the largest ratio there is; near it the gradient goes to zero.

    Returns:
        The negative ratio in dB [B], at least `-max_db`.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(estimate=(estimate, "... N"), target=(target, "... N"))
    energy = jnp.sum(target**2, axis=-1) + 1e-8
    scale = jnp.sum(estimate * target, axis=-1) / energy
    signal = scale**2 * energy
    distortion = jnp.sum((estimate - scale[..., None] * target) ** 2, axis=-1)
    return 10.0 * jnp.log10(
        (distortion + 10.0 ** (-max_db / 10.0) * signal + 1e-10) / (signal + 1e-10)
    )


def mel_distance(estimate: jax.Array, target: jax.Array, num_frames: jax.Array) -> jax.Array:
    """Mean absolute plus mean squared difference of frames.

    Args:
        estimate: normalised mel frames [B, T, M].
        target: what they should be [B, T, M].
        num_frames: valid frames of each clip [B] int.

    Returns:
        Distance of each clip [B], over its valid frames and all bins.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(
        estimate=(estimate, "B T M"), target=(target, "B T M"), num_frames=(num_frames, "B")
    )
    valid = jnp.arange(target.shape[1]) < num_frames[:, None]
    difference = jnp.where(valid[..., None], estimate - target, 0.0)
    total = jnp.sum(jnp.abs(difference) + difference**2, axis=(1, 2))
    return total / jnp.maximum(num_frames * target.shape[2], 1)


def stop_cross_entropy(
    logits: jax.Array, num_steps: jax.Array, *, positive_weight: float = 1.0
) -> jax.Array:
    """Binary cross entropy of whether a step is the last one of its clip.

    Args:
        logits: of each step [B, S].
        num_steps: steps of each clip [B] int; later ones do not count.
        positive_weight: of the last step, the only one of its kind.

    Returns:
        Loss in nats of each clip [B], averaged over its steps.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(logits=(logits, "B S"), num_steps=(num_steps, "B"))
    step = jnp.arange(logits.shape[1])
    last, valid = step == num_steps[:, None] - 1, step < num_steps[:, None]
    each = jnp.where(last, positive_weight * jax.nn.softplus(-logits), jax.nn.softplus(logits))
    return jnp.sum(jnp.where(valid, each, 0.0), axis=1) / jnp.maximum(num_steps, 1)


def guided_attention(
    attention: jax.Array, num_steps: jax.Array, length: jax.Array, *, sigma: float = 0.2
) -> jax.Array:
    """How far attention strays from the diagonal, 0 to 1.

    H. Tachibana, K. Uenoyama and S. Aihara, "Efficiently trainable text-to-speech system based on
    deep convolutional networks with guided attention", ICASSP 2018, equation 5, but summed over the
    source and averaged over the steps, so that long texts weigh as much as short ones.

    Args:
        attention: weights [B, S, L].
        num_steps: steps of each clip [B] int.
        length: source positions of each clip [B] int.
        sigma: width of the diagonal that is free, as a share of the clip.

    Returns:
        Loss of each clip [B].

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(attention=(attention, "B S L"), num_steps=(num_steps, "B"), length=(length, "B"))
    S, L = attention.shape[1:]
    time = jnp.arange(S) / jnp.maximum(num_steps, 1)[:, None]  # [B, S]
    place = jnp.arange(L) / jnp.maximum(length, 1)[:, None]  # [B, L]
    away = 1.0 - jnp.exp(-((place[:, None, :] - time[:, :, None]) ** 2) / (2.0 * sigma**2))
    away = jnp.where((time < 1.0)[:, :, None], away, 0.0)
    return jnp.sum(attention * away, axis=(1, 2)) / jnp.maximum(num_steps, 1)


def hinge_discriminator(recorded, generated):
    """Hinge loss of discriminators: recordings should score above 1, what was generated below -1.

    J. H. Lim and J. C. Ye, "Geometric GAN", arXiv:1705.02894, 2017.

    Args:
        recorded: scores of recordings, one array [B, ...] for each discriminator.
        generated: scores of what was generated, likewise.

    Returns:
        Loss [B], the mean over the discriminators.
    """
    losses = [
        _example_mean(jax.nn.relu(1.0 - real)) + _example_mean(jax.nn.relu(1.0 + made))
        for real, made in zip(recorded, generated, strict=True)
    ]
    return sum(losses) / len(losses)


def hinge_generator(generated):
    """Hinge loss of a generator: what it made should score above 1.

    Args:
        generated: scores of what was generated, one array [B, ...] for each discriminator.

    Returns:
        Loss [B], the mean over the discriminators.
    """
    return sum(_example_mean(jax.nn.relu(1.0 - scores)) for scores in generated) / len(generated)


def feature_matching(recorded, generated):
    """Distance of discriminators' activations on what was generated from those on recordings.

    A. B. L. Larsen et al., "Autoencoding beyond pixels using a learned similarity metric", ICML
    2016.

    Args:
        recorded: activations on recordings, a list of arrays [B, ...] for each discriminator.
        generated: activations on what was generated, likewise.

    Returns:
        Loss [B], relative to the activations on recordings and averaged over layers.
    """
    losses = []
    for real, made in zip(jax.tree.leaves(recorded), jax.tree.leaves(generated), strict=True):
        real, made = real.astype(jnp.float32), made.astype(jnp.float32)
        losses.append(_example_mean(jnp.abs(made - real)) / (jnp.mean(jnp.abs(real)) + 1e-3))
    return sum(losses) / len(losses)


MEL_RESOLUTIONS = ((2048, 160), (1024, 80), (512, 60), (256, 30), (128, 15))  # FFT size, bands
MEL_FLOOR = 3e-4  # added to the mean magnitude of a band before its logarithm


def multi_resolution_mel(estimate: jax.Array, target: jax.Array, sample_rate: int) -> jax.Array:
    """Distance of log-mel spectra at several resolutions.

    R. Kumar et al., "High-fidelity audio compression with improved RVQGAN", NeurIPS 2023.

    Args:
        estimate: waveforms [B, N].
        target: waveforms [B, N].
        sample_rate: in Hz.

    Returns:
        Mean absolute distance of natural logarithms [B], averaged over `MEL_RESOLUTIONS`.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(estimate=(estimate, "B N"), target=(target, "B N"))

    def log_mel(x, n_fft, bands):
        spectrum = stft(x, n_fft, n_fft // 4, n_fft)
        magnitude = jnp.sqrt(spectrum.real**2 + spectrum.imag**2 + 1e-9)
        bank = mel_filter_bank(sample_rate, n_fft, bands, 0.0, None)
        # Means over the band and over the window: the same level at every resolution.
        bank = bank / np.maximum(bank.sum(axis=1, keepdims=True), 1e-9) * (384 / n_fft)
        return jnp.log(magnitude @ bank.T + MEL_FLOOR)

    losses = [
        _example_mean(jnp.abs(log_mel(estimate, *resolution) - log_mel(target, *resolution)))
        for resolution in MEL_RESOLUTIONS
    ]
    return sum(losses) / len(losses)


def _example_mean(x):
    """Mean of each example: [B, ...] to [B], float32."""
    return jnp.mean(x.astype(jnp.float32).reshape(x.shape[0], -1), axis=1)
