"""The synthesizer with attention in PyTorch: shapes as in `lin_jax.models.tacotron`."""

import numpy as np
import timing
import torch
from torch import nn
from torch.nn import functional


class Convolutions(nn.Module):
    """Convolutions over time with LayerNorm, an activation and dropout."""

    def __init__(self, size, widths, dropout, activation):
        super().__init__()
        sizes = [size, *widths]
        self.layers = nn.ModuleList(
            nn.Conv1d(a, b, 5, padding=2) for a, b in zip(sizes, widths, strict=False)
        )
        self.norms = nn.ModuleList(map(nn.LayerNorm, widths))
        self.dropout, self.activation = nn.Dropout(dropout), activation

    def forward(self, x):
        """[B, T, D] to [B, T, widths[-1]]."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = self.dropout(self.activation(norm(layer(x.transpose(1, 2)).transpose(1, 2))))
        return x


class DynamicConvolutionAttention(nn.Module):
    """Moves the last weights by filters, some of which the query makes."""

    def __init__(self, size, hidden, filters, taps, prior):
        super().__init__()
        self.taps, self.filters = taps, filters
        self.register_buffer("prior", torch.tensor(prior))
        self.fixed = nn.Parameter(torch.randn(taps, filters) * 0.2)
        self.made = nn.Sequential(
            nn.Linear(size, hidden), nn.Tanh(), nn.Linear(hidden, taps * filters, bias=False)
        )
        self.of_fixed, self.of_made = (
            nn.Linear(filters, hidden, bias=False),
            nn.Linear(filters, hidden),
        )
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, query, weights):
        """The next weights [B, L]."""
        half = self.taps // 2
        near = functional.pad(weights, (half, half)).unfold(1, self.taps, 1)  # [B, L, K]
        made = self.made(query).view(-1, self.taps, self.filters)
        energy = self.score(
            torch.tanh(self.of_fixed(near @ self.fixed) + self.of_made(near @ made))
        )[..., 0]
        return torch.softmax(energy + torch.log((near @ self.prior).clamp(min=1e-6)), dim=1)


class Tacotron(nn.Module):
    """Text encoder, attention, decoder and post-net."""

    def __init__(self, n, M, E, prior):
        super().__init__()
        self.r, self.M, hidden, size = n["reduction"], M, n["encoder_hidden"], n["decoder_hidden"]
        self.symbols = nn.Embedding(n["num_symbols"], n["symbol_features"])
        self.convolutions = Convolutions(
            n["symbol_features"], [hidden] * 3, n["dropout"], torch.relu
        )
        self.lstm = nn.LSTM(hidden, hidden // 2, batch_first=True, bidirectional=True)
        self.voice = nn.Linear(E, n["voice_features"])
        memory = hidden + n["voice_features"]
        layers = [
            (nn.Linear(a, b), nn.ReLU(), nn.Dropout(0.5))
            for a, b in zip([M, *n["prenet"]], n["prenet"], strict=False)
        ]
        self.prenet = nn.Sequential(*(part for layer in layers for part in layer))
        self.attention_lstm = nn.LSTMCell(n["prenet"][-1] + memory, size)
        self.decoder_lstm = nn.LSTMCell(size + memory, size)
        self.attend = DynamicConvolutionAttention(size, 128, 8, len(prior), prior)
        self.frame_projection, self.stop_projection = (
            nn.Linear(size + memory, self.r * M),
            nn.Linear(size + memory, 1),
        )
        self.postnet = Convolutions(M, n["postnet"], n["dropout"], torch.tanh)
        self.to_residual = nn.Linear(n["postnet"][-1], M)

    def forward(self, symbols, voice, frames):
        """Coarse and fine frames [B, T, M] and stops [B, S]."""
        (B, T, M), r = frames.shape, self.r
        encoded, _ = self.lstm(self.convolutions(self.symbols(symbols)))
        voice = torch.tanh(self.voice(voice))[:, None].expand(-1, encoded.shape[1], -1)
        memory = torch.cat([encoded, voice], dim=2)
        last = torch.cat([frames.new_zeros(B, 1, M), frames[:, r - 1 : T - 1 : r]], dim=1)
        x = self.prenet(last)
        weights = functional.one_hot(symbols.new_zeros(B), symbols.shape[1]).float()
        context, features = memory.new_zeros(B, memory.shape[2]), []
        attending = decoding = None
        for step in range(T // r):
            attending = self.attention_lstm(torch.cat([x[:, step], context], dim=1), attending)
            weights = self.attend(attending[0], weights)
            context = torch.einsum("bl,blh->bh", weights, memory)
            decoding = self.decoder_lstm(torch.cat([attending[0], context], dim=1), decoding)
            features.append(torch.cat([decoding[0], context], dim=1))
        features = torch.stack(features, dim=1)
        coarse = self.frame_projection(features).view(B, T, M)
        return (
            coarse,
            coarse + self.to_residual(self.postnet(coarse)),
            self.stop_projection(features)[..., 0],
        )


def make_network(sizes):
    """Tacotron of these sizes."""
    prior = np.array(sizes["prior"], np.float32)
    return Tacotron(sizes["network"] | {"num_symbols": sizes["V"]}, sizes["M"], sizes["E"], prior)


def make_batch(sizes):
    """Symbols [B, L], voices [B, E] and frames [B, T, M]."""
    B, L, T, M, E = (sizes[name] for name in ("B", "L", "T", "M", "E"))
    return torch.randint(1, sizes["V"], (B, L)), torch.randn(B, E), torch.randn(B, T, M)


def loss(network, symbols, voice, frames):
    """Distances of the frames, before and after the post-net, and where speech ends."""
    coarse, mel, logits = network(symbols, voice, frames)
    stop = torch.zeros_like(logits)
    stop[:, -1] = 1
    distance = sum(
        functional.l1_loss(x, frames) + functional.mse_loss(x, frames) for x in (coarse, mel)
    )
    return distance + functional.binary_cross_entropy_with_logits(logits, stop)


if __name__ == "__main__":
    timing.train(make_network, make_batch, loss)
