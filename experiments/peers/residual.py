"""Residual stages and attentive pooling in PyTorch, as `lin_jax.models.layers` has them, for clips of one length."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Two 3×3 convolutions with squeeze-and-excitation around an identity."""

    def __init__(self, size, width, stride):
        super().__init__()
        self.stride = stride
        self.project = nn.Conv2d(size, width, 1, bias=False) if size != width else nn.Identity()
        self.first = nn.Conv2d(size, width, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))
        self.gate = nn.Sequential(
            nn.Linear(width, width // 4), nn.ReLU(), nn.Linear(width // 4, width), nn.Sigmoid()
        )

    def forward(self, x):
        """[B, W, T, D] to [B, width, T / stride, D / stride]."""
        shortcut = x
        if self.stride > 1:
            shortcut = functional.avg_pool2d(x, self.stride, ceil_mode=True)
        shortcut = self.project(shortcut)
        x = self.norms[1](self.second(torch.relu(self.norms[0](self.first(x)))))
        return torch.relu(shortcut + x * self.gate(x.mean(dim=(2, 3)))[..., None, None])


class Trunk(nn.Module):
    """Stages of residual blocks, a dense layer of each frame, and pooling over time."""

    def __init__(self, features, widths, blocks, hidden):
        super().__init__()
        layers = [
            nn.Conv2d(1, widths[0], 5, 2, 2, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        size, features = widths[0], -(-features // 2)
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stride = 2 if stage and not block else 1
                layers.append(Block(size, width, stride))
                size, features = width, -(-features // stride)
        self.stages = nn.Sequential(*layers)
        self.dense, self.norm = nn.Linear(size * features, hidden), nn.BatchNorm1d(hidden)
        self.scores = nn.Sequential(nn.Linear(hidden, 64), nn.Tanh(), nn.Linear(64, hidden))
        self.pooled = nn.BatchNorm1d(2 * hidden)

    def forward(self, features):
        """[B, T, D] to [B, 2 hidden]."""
        x = self.stages(features[:, None]).permute(0, 2, 3, 1).flatten(2)  # [B, T', D' W]
        x = torch.relu(self.norm(self.dense(x).transpose(1, 2)).transpose(1, 2))
        weights = torch.softmax(self.scores(x), dim=1)
        mean = (weights * x).sum(1)
        deviation = ((weights * x**2).sum(1) - mean**2).clamp(min=1e-5).sqrt()
        return self.pooled(torch.cat([mean, deviation], dim=1))
