"""Attention of a decoder that moves along its source.

Both kinds give the next weights from the last ones.

Shape letters: B batch, L source positions, H hidden features, K filter taps.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

PRIOR_TAPS = 11  # positions, the present one included, to which one step may go
FLOOR = 1e-6  # of the prior, so that its logarithm is finite


class LocationSensitiveAttention(nn.Module):
    """Compares the query with every position, knowing where it has been.

    J. Chorowski et al., "Attention-based models for speech recognition", NIPS 2015, with the
    cumulative weights of J. Shen et al., "Natural TTS synthesis by conditioning WaveNet on mel
    spectrogram predictions", ICASSP 2018.

    Attributes:
        hidden: features in which query, position and place are compared.
        filters: of the weights.
        taps: length of each filter, odd.
        dtype: of the computation; the weights are float32.
    """

    hidden: int = 128
    filters: int = 32
    taps: int = 31
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        """The parts."""
        self.query_layer = nn.Dense(self.hidden, dtype=self.dtype)
        self.memory_layer = nn.Dense(self.hidden, use_bias=False, dtype=self.dtype)
        self.location_layer = nn.Dense(self.hidden, use_bias=False, dtype=self.dtype)
        self.filter = nn.Conv(self.filters, (self.taps,), use_bias=False, dtype=self.dtype)
        self.score = nn.Dense(1, use_bias=False, dtype=self.dtype)

    def start(self, memory):
        """Weights [B, L] before the first step, and what is computed once for memory [B, L, H]."""
        return jnp.zeros(memory.shape[:2]), self.memory_layer(memory)

    def __call__(self, query, weights, cumulative, keys, mask):
        """The next weights.

        Args:
            query: state of the decoder [B, H].
            weights: of the last step [B, L].
            cumulative: sum of the weights of all steps so far [B, L].
            keys: from `start`.
            mask: real positions [B, L].

        Returns:
            [B, L] float32, zero on padding, sum one.
        """
        place = self.location_layer(self.filter(jnp.stack([weights, cumulative], axis=-1)))
        energy = self.score(jnp.tanh(self.query_layer(query)[:, None] + keys + place))[..., 0]
        return jax.nn.softmax(energy.astype(jnp.float32), axis=-1, where=mask)


class DynamicConvolutionAttention(nn.Module):
    """Moves the last weights by filters, some of which the query makes.

    No position is known by its content.

    So it holds on texts much longer than those in training. E. Battenberg et al.,
    "Location-relative attention mechanisms for robust long-form speech synthesis", ICASSP 2020.

    Attributes:
        hidden: features in which a place is judged, and of the layer that makes filters.
        filters: number of fixed filters, and of those the query makes.
        taps: length of each filter, odd and at least 21, which the prior needs.
        dtype: of the computation; the weights are float32.
    """

    hidden: int = 128
    filters: int = 8
    taps: int = 21
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, query, weights, cumulative, keys, mask):
        """The next weights; as in `LocationSensitiveAttention`, of whose arguments it needs some."""
        B, K = weights.shape[0], self.taps
        fixed = self.param("filters", nn.initializers.lecun_normal(), (K, self.filters))
        made = jnp.tanh(nn.Dense(self.hidden, dtype=self.dtype)(query))
        made = nn.Dense(K * self.filters, use_bias=False, dtype=self.dtype)(made).reshape(
            B, K, self.filters
        )
        # What the fixed filters find is added to what those of the query find, so the filters can
        # be added, too.
        filters = nn.Dense(self.hidden, use_bias=False, dtype=self.dtype)(fixed)
        filters += nn.Dense(self.hidden, use_bias=False, dtype=self.dtype)(made)  # [B, K, hidden]
        bias = self.param("bias", nn.initializers.zeros, (self.hidden,))
        score = self.param("score", nn.initializers.lecun_normal(), (self.hidden, 1))
        # To keep what is computed within for the gradient takes longer than to compute it again.
        return jax.checkpoint(_move)(
            weights, filters, *(leaf.astype(self.dtype) for leaf in (bias, score)), mask
        )

    def start(self, memory):
        """Weights [B, L] before the first step.

        All on the first position; memory [B, L, H] is not looked at.
        """
        return jax.nn.one_hot(jnp.zeros(memory.shape[0], int), memory.shape[1]), ()


def _move(weights, filters, bias, score, mask):
    """Weights [B, L] moved by filters [B, K, hidden], by the score [hidden, 1] of what they find."""
    L, K = weights.shape[1], filters.shape[1]
    padded = jnp.pad(weights, ((0, 0), (K // 2, K // 2)))
    near = jnp.stack([padded[:, k : k + L] for k in range(K)], axis=-1)  # [B, L, K]
    place = near.astype(filters.dtype) @ filters + bias
    energy = (jnp.tanh(place) @ score)[..., 0].astype(jnp.float32)
    prior = jnp.log(jnp.maximum(near @ forward_filter(K), FLOOR))
    return jax.nn.softmax(energy + prior, axis=-1, where=mask)


def forward_filter(taps: int) -> np.ndarray:
    """Filter [K] that moves weights on by a beta-binomial number of positions, one in the mean."""
    n = PRIOR_TAPS - 1
    k = np.arange(PRIOR_TAPS)
    pmf = special.comb(n, k) * special.beta(k + 0.1, n - k + 0.9) / special.beta(0.1, 0.9)
    kernel = np.zeros(taps, np.float32)
    kernel[taps // 2 - k] = pmf
    return kernel


KINDS: dict[str, Callable[..., Any]] = {
    "dynamic_convolution": DynamicConvolutionAttention,
    "location_sensitive": LocationSensitiveAttention,
}
