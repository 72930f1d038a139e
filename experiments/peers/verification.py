"""The speaker encoder in PyTorch, with the angular margin loss: shapes as in `lin_jax.models.speaker_encoder`."""

import timing
import torch
from residual import Trunk
from torch import nn
from torch.nn import functional

MARGIN, SCALE = 0.2, 30.0


class Encoder(nn.Module):
    """An encoder with the centres of the training speakers."""

    def __init__(self, sizes):
        super().__init__()
        n = sizes["network"]
        self.trunk = Trunk(sizes["D"], n["widths"], n["blocks"], n["hidden"])
        self.dense = nn.Linear(2 * n["hidden"], n["embedding"], bias=False)
        self.norm = nn.BatchNorm1d(n["embedding"])
        self.centres = nn.Parameter(torch.randn(sizes["S"], n["embedding"]))

    def forward(self, features):
        """[B, T, D] to unit vectors [B, E]."""
        return functional.normalize(self.norm(self.dense(self.trunk(features))))


def make_batch(sizes):
    """Frames [B, T, D] and speakers [B]."""
    B, T, D = (sizes[name] for name in "BTD")
    return torch.randn(B, T, D), torch.arange(B) // 2 % sizes["S"]


def loss(network, features, speakers):
    """Cross-entropy of cosines, with a margin for the right speaker (Deng et al., CVPR 2019)."""
    cosines = network(features) @ functional.normalize(network.centres).T
    right = torch.acos(cosines.clamp(-1 + 1e-6, 1 - 1e-6)) + MARGIN
    is_right = functional.one_hot(speakers, cosines.shape[1]).bool()
    return functional.cross_entropy(SCALE * torch.where(is_right, right.cos(), cosines), speakers)


if __name__ == "__main__":
    timing.train(Encoder, make_batch, loss)
