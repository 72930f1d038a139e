"""How well each symbol of a text fits each frame of its recording.

Shape letters: B clips, L symbols, T frames, M mel bins, H features that are compared.
"""

import flax.linen as nn
import jax.numpy as jnp


class Aligner(nn.Module):
    """Compares symbols and frames, each with a little of what stands around it.

    R. Badlani et al., "One TTS alignment to rule them all", ICASSP 2022, by inner products.

    Attributes:
        num_symbols: rows of the symbol table.
        width: of the convolutions.
        hidden: H.
    """

    num_symbols: int
    width: int = 160
    hidden: int = 64

    @nn.compact
    def __call__(self, symbols, mel):
        """Maps symbols [B, L] int and normalised frames [B, T, M] to scores [B, T, L]."""
        keys = nn.relu(nn.Conv(self.width, (3,))(nn.Embed(self.num_symbols, self.width)(symbols)))
        keys = nn.Dense(self.hidden)(keys)
        queries = nn.relu(nn.Conv(self.width, (5,))(mel))
        queries = nn.Dense(self.hidden)(nn.relu(nn.Conv(self.width, (3,))(queries)))
        return jnp.einsum("bth,blh->btl", queries, keys) / self.hidden**0.5
