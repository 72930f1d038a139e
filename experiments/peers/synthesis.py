"""The acoustic model with durations and a flow in PyTorch: shapes as in `lin_jax.models.acoustic`."""

import timing
import torch
from conversion import Convolutions
from repair import ResidualConv, normalised
from torch import nn
from torch.nn import functional


class Flow(nn.Module):
    """The velocity of frames on their way from noise to speech, or of the prosody of symbols."""

    def __init__(self, n, M, H, W, prior, features):
        super().__init__()
        size = 2 * 32
        self.clock = nn.Sequential(nn.Linear(size, W), nn.SiLU(), nn.Linear(W, W))
        self.voice, self.steer = nn.Linear(H, W), nn.Linear(W, 3 * W)
        self.context = nn.Linear(features, n["context"])
        self.enter = nn.Linear(M + prior + n["context"], W)
        self.offsets = nn.Parameter(0.02 * torch.randn(len(n["dilations"]), 3 * W))
        self.depthwise = nn.ModuleList(
            nn.Conv1d(W, W, 7, padding=3 * dilation, dilation=dilation, groups=W)
            for dilation in n["dilations"]
        )
        self.dense = nn.ModuleList(
            nn.Sequential(
                nn.Linear(W, n["expansion"] * W), nn.GELU("tanh"), nn.Linear(n["expansion"] * W, W)
            )
            for _ in n["dilations"]
        )
        self.last, self.leave = nn.Linear(W, 2 * W), nn.Linear(W, M)
        self.register_buffer("frequencies", 2.0 ** torch.linspace(0.0, 10.0, 32))

    def forward(self, noisy, time, prior, features, voice):
        """[B, T, M], of a prior [B, T, P] without bands for prosody."""
        angles = time[:, None] * self.frequencies
        condition = self.clock(torch.cat([angles.sin(), angles.cos()], dim=1)) + self.voice(voice)
        condition = functional.silu(condition)
        steer = self.steer(condition)[:, None]
        x = self.enter(torch.cat([noisy, prior, self.context(features)], dim=2))
        for offset, depthwise, dense in zip(self.offsets, self.depthwise, self.dense, strict=True):
            shift, scale, gate = (steer + offset).chunk(3, dim=2)
            y = depthwise(x.transpose(1, 2)).transpose(1, 2)
            x = x + (1 + gate) * dense(normalised(y) * (1 + scale) + shift)
        shift, scale = self.last(condition)[:, None].chunk(2, dim=2)
        return self.leave(normalised(x) * (1 + scale) + shift)


class AcousticModel(nn.Module):
    """Encoder, flow of prosody, prior and flow of frames."""

    def __init__(self, sizes):
        super().__init__()
        n, M, E = sizes["network"], sizes["M"], sizes["E"]
        H, W, dropout = n["hidden"], n["width"], n["dropout"]
        self.symbols = nn.Embedding(sizes["V"], 128)
        self.convolutions = Convolutions(128, [H] * 3, dropout, torch.relu)
        self.lstm = nn.LSTM(H, H // 2, batch_first=True, bidirectional=True)
        self.voice = nn.Linear(E, H)
        self.dropout, self.prosody = nn.Dropout(dropout), Flow(n, 4, H, n["prosody_width"], 0, H)
        self.intonation = nn.Linear(3, H, bias=False)
        self.spread, self.prior_layer = nn.Linear(H + 2, W), ResidualConv(W, (3,), 1)
        self.prior, self.flow = nn.Linear(W, M), Flow(n, M, H, W, M, W)

    def forward(self, symbols, voice, durations, prosody, noisy_prosody, noisy, time):
        """Velocity of prosody [B, L, 4], prior and velocity [B, T, M]."""
        x, _ = self.lstm(self.convolutions(self.symbols(symbols)))
        voice = torch.tanh(self.voice(normalised(voice)))
        encoded = x + voice[:, None]
        read = self.dropout(encoded.detach())
        planned = self.prosody(noisy_prosody, time, prosody[..., :0], read, voice.detach())
        encoded = encoded + self.intonation(prosody[..., 1:])
        ends, T = durations.cumsum(1), noisy.shape[1]
        frame = torch.arange(T, device=ends.device).expand(len(ends), T).contiguous()
        at = torch.searchsorted(ends, frame, right=True).clamp(max=ends.shape[1] - 1)
        length = durations.gather(1, at).clamp(min=1).float()
        place = (frame - ends.gather(1, at) + length + 0.5) / length
        held = encoded.gather(1, at[..., None].expand(-1, -1, encoded.shape[2]))
        x = torch.cat([held, place[..., None], length.log()[..., None]], dim=2)
        x = self.prior_layer(self.spread(x))
        prior = self.prior(normalised(x))
        return planned, prior, self.flow(noisy, time, prior.detach(), x, voice)


def make_batch(sizes):
    """Symbols, voices, durations, prosody [B, L, 4], and frames [B, T, M]."""
    B, L, T, M, E = (sizes[name] for name in ("B", "L", "T", "M", "E"))
    durations, symbols = torch.full((B, L), T // L), torch.randint(1, sizes["V"], (B, L))
    return symbols, torch.randn(B, E), durations, torch.randn(B, L, 4), torch.randn(B, T, M)


def loss(network, symbols, voice, durations, prosody, frames):
    """Squared distances of both velocities and the prior."""
    time = torch.rand(len(frames), device=frames.device)
    noises = torch.randn_like(prosody), torch.randn_like(frames)
    on_path = (
        (1 - time[:, None, None]) * noise + time[:, None, None] * end
        for noise, end in zip(noises, (prosody, frames), strict=True)
    )
    planned, prior, velocity = network(symbols, voice, durations, prosody, *on_path, time)
    return (
        ((velocity - (frames - noises[1])) ** 2).mean()
        + ((prior - frames) ** 2).mean()
        + ((planned - (prosody - noises[0])) ** 2).mean()
    )


if __name__ == "__main__":
    timing.train(AcousticModel, make_batch, loss)
