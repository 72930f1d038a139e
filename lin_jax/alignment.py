"""Which frames of a recording say which symbol of its text.

Shape letters: B clips, T frames, L symbols.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lin_jax.errors import TextError

BLANK = -1.0  # logit of no symbol, as in Badlani et al. 2022
WIDTH = 0.1  # of the band around the diagonal, as a share of the clip


def log_alignment(scores, num_frames, num_symbols, diagonal: float = 0.0):
    """Logarithms of how likely each frame says each symbol, the more so near the diagonal.

    Args:
        scores: of an aligner [B, T, L].
        num_frames: [B] int.
        num_symbols: [B] int.
        diagonal: weight of the band; training begins with 1 and ends with little.

    Returns:
        [B, T, L], very small at padding symbols.
    """
    T, L = scores.shape[1:]
    real = jnp.arange(L) < num_symbols[:, None]
    time = (jnp.arange(T) + 0.5) / num_frames[:, None]
    place = (jnp.arange(L) + 0.5) / num_symbols[:, None]
    band = ((time[:, :, None] - place[:, None, :]) / WIDTH) ** 2
    log_probability = jax.nn.log_softmax(jnp.where(real[:, None], scores, -1e4), axis=-1)
    return jnp.where(real[:, None], log_probability - diagonal * band, -1e4)


def forward_sum(log_probability, num_frames, num_symbols):
    """Negative log likelihood of all monotonic alignments of each clip [B], a frame.

    Every symbol has a frame at least; the sum over alignments is that of CTC (A. Graves et al.,
    ICML 2006) with a blank that is worth little.

    Args:
        log_probability: of `log_alignment` [B, T, L].
        num_frames: [B] int.
        num_symbols: [B] int.
    """
    import optax  # which speaking does without

    B, T, L = log_probability.shape
    logits = jnp.pad(log_probability, ((0, 0), (0, 0), (1, 0)), constant_values=BLANK)
    frame_padding = (jnp.arange(T) >= num_frames[:, None]).astype(jnp.float32)
    symbol_padding = (jnp.arange(L) >= num_symbols[:, None]).astype(jnp.float32)
    labels = jnp.tile(jnp.arange(1, L + 1), (B, 1))
    return optax.ctc_loss(logits, frame_padding, labels, symbol_padding) / num_frames


def durations(log_probability: np.ndarray) -> np.ndarray:
    """Frames of each symbol on the likeliest monotonic path; on the host.

    Args:
        log_probability: of one clip [T, L], without padding.

    Returns:
        int [L], one at least, T together.

    Raises:
        TextError: more symbols than frames.
    """
    T, L = log_probability.shape
    if L > T:
        raise TextError(f"{L} symbols in {T} frames: the text is longer than what is said")
    best = np.full(L, -np.inf)
    best[0] = log_probability[0, 0]
    moved = np.zeros((T, L), bool)
    for t in range(1, T):
        before = np.concatenate([[-np.inf], best[:-1]])
        moved[t] = before > best
        best = np.maximum(before, best) + log_probability[t]
    counts, symbol = np.zeros(L, int), L - 1
    for t in range(T - 1, -1, -1):
        counts[symbol] += 1
        symbol -= moved[t, symbol]
    return counts
