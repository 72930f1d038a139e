"""Metrics of attention: how a decoder reads its source from one end to the other.

Shape letters: B clips, S decoder steps, L source positions.
"""

import jax
import jax.numpy as jnp

from lin_jax.shapes import check_shapes


def alignment_metrics(attention, num_steps, length, *, band=0.15, tolerance=3):
    """How well attention reads its source from one end to the other.

    Pure, for use inside a jitted step.

    Args:
        attention: weights [B, S, L].
        num_steps: decoder steps of each clip [B] int.
        length: source positions of each clip [B] int.
        band: half-width of the diagonal, as a share of the clip.
        tolerance: positions that may be passed over at once, or gone back by.

    Returns:
        dict of [B] float32: "focus_rate", the mean over the steps of the largest weight;
        "diagonal_rate", the share of the weights that lie in the band (Y. Ren et al., "FastSpeech",
        NeurIPS 2019,
        section 4.3); "skipped", positions passed over beyond the tolerance or not reached by the
        end; "repeated", positions gone back by, at the farthest.

    Raises:
        ShapeError: shapes that do not fit together.
    """
    check_shapes(attention=(attention, "B S L"), num_steps=(num_steps, "B"), length=(length, "B"))
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
        "focus_rate": jnp.sum(jnp.where(steps, attention.max(axis=-1), 0.0), axis=1) / count,
        "diagonal_rate": jnp.sum(jnp.where(near, attention, 0.0), axis=(1, 2)) / count,
        "skipped": (
            jnp.sum(jnp.where(ahead > tolerance, ahead - 1, 0), axis=1)
            + jnp.where(unread > tolerance, unread, 0)
        ).astype(jnp.float32),
        "repeated": jnp.max(jnp.where(back > tolerance, back, 0), axis=1).astype(jnp.float32),
    }
