"""The classifiers of emotion and gender in PyTorch: shapes as in `lin_jax.models.residual_classifier`."""

import timing
import torch
from residual import Trunk
from torch import nn
from torch.nn import functional


def make_network(sizes):
    """[B, T, D] to logits [B, C]."""
    network = sizes["network"]
    names = ("widths", "blocks", "hidden")
    return nn.Sequential(
        Trunk(sizes["D"], *(network[name] for name in names)),
        nn.Dropout(network["dropout"]),
        nn.Linear(2 * network["hidden"], sizes["C"]),
    )


def make_batch(sizes):
    """Frames [B, T, D] and labels [B]."""
    B, T, D, C = (sizes[name] for name in "BTDC")
    return torch.randn(B, T, D), torch.randint(C, (B,))


def loss(network, features, labels):
    """Mean cross-entropy."""
    return functional.cross_entropy(network(features), labels)


if __name__ == "__main__":
    timing.train(make_network, make_batch, loss)
