"""Losses: pure functions, one value per example; whoever averages them decides what an example weighs.

Shapes: B batch, C classes.
"""

import jax
import jax.numpy as jnp
import numpy as np


def cross_entropy(logits, targets, *, label_smoothing=0.0, class_weights=None):
    """Cross entropy of a softmax, for class numbers or for soft targets such as mixup makes.

    Args:
      logits: scores before the softmax [..., C].
      targets: class numbers [...] int, or probabilities [..., C] float.
      label_smoothing: share of every target spread evenly over the C classes (Szegedy et al., 2016, section 7).
      class_weights: weight of each class [C], or None for equal weights; soft targets are weighted class by class.

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


def balanced_class_weights(counts):
    """Weights that let every class count the same, whose mean over the examples is one.

    Args:
      counts: examples of each class [C]; a class without examples gets weight zero.

    Returns:
      Weights [C] float32, proportional to 1 / count (King & Zeng, 2001; scikit-learn's "balanced").
    """
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    weights = np.divide(counts.sum(), present.sum() * counts, out=np.zeros_like(counts), where=present)
    return weights.astype(np.float32)
