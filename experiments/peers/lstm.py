"""One LSTM layer forth and back in PyTorch: cuDNN's on a GPU."""

import json
import sys

import timing
import torch
from torch import nn

if __name__ == "__main__":
    sizes = json.load(sys.stdin)
    B, T, H = (sizes[name] for name in "BTH")
    layer = nn.LSTM(H, H, batch_first=True).to(timing.DEVICE)
    x = torch.randn(B, T, H, device=timing.DEVICE)

    def call():
        """A gradient."""
        layer.zero_grad()
        layer(x)[0].sum().backward()

    timing.report("eager", call, sizes["repeats"], sizes["seconds"])
