"""The autoencoder of the complex spectrum in PyTorch: shapes as in `lin_jax.models.autoencoder`, not causal."""

import timing
import torch
from torch import nn
from torch.nn import functional

SILENCE = 1e-8


def normalised(x):
    """Features [..., W] at a root mean square of one."""
    return x * torch.rsqrt((x**2).mean(-1, keepdim=True) + 1e-6)


class ResidualConv(nn.Module):
    """A convolution over time, and over bands where there are any, around an identity."""

    def __init__(self, width, taps, dilation):
        super().__init__()
        kind = nn.Conv2d if len(taps) == 2 else nn.Conv1d
        steps = (dilation, *[1] * (len(taps) - 1))
        padding = [step * (tap // 2) for step, tap in zip(steps, taps, strict=True)]
        self.conv = kind(width, width, tuple(taps), padding=padding, dilation=steps)

    def forward(self, x):
        """[B, T, …, W] to the same shape."""
        y = self.conv(normalised(x).movedim(-1, 1)).movedim(1, -1)
        return x + functional.silu(y)


class Autoencoder(nn.Module):
    """Split into bands, squeeze, look far in time, and go the way back."""

    def __init__(self, sizes):
        super().__init__()
        n = sizes["network"]
        self.n_fft, self.hop, self.bands = n["n_fft"], n["hop_length"], sizes["bands"]
        W, V, K = n["width"], n["inner_width"], sum(count for count, _ in self.bands)
        self.register_buffer("window", torch.hann_window(self.n_fft))
        self.split = nn.ModuleList(nn.Linear(3 * bins, W) for _, bins in self.bands)
        self.outer_place = nn.Parameter(0.1 * torch.randn(K, W))
        self.inner_place = nn.Parameter(0.1 * torch.randn(K // 2, V))

        def convolutions(width, dilations, taps=(3, 3)):
            return nn.Sequential(*(ResidualConv(width, taps, each) for each in dilations))

        self.outer, self.mirrored_outer = (convolutions(W, n["outer"]) for _ in range(2))
        self.inner, self.mirrored_inner = (convolutions(V, n["inner"]) for _ in range(2))
        self.join_bands, self.part_bands = nn.Linear(2 * W, V), nn.Linear(V, 2 * W)
        flat = K // 2 * n["bottleneck"]
        self.squeeze, self.spread = nn.Linear(V, n["bottleneck"]), nn.Linear(n["bottleneck"], V)
        self.enter, self.leave = nn.Linear(flat, n["hidden"]), nn.Linear(n["hidden"], flat)
        self.middle = convolutions(n["hidden"], n["middle"], (3,))
        self.join = nn.ModuleList(nn.Linear(W, 4 * bins) for _, bins in self.bands)

    def forward(self, waveform):
        """[B, N] to [B, N]."""
        spectrum = torch.stft(
            waveform,
            self.n_fft,
            self.hop,
            window=self.window,
            return_complex=True,
            pad_mode="constant",
        ).transpose(1, 2)  # [B, T, F]
        (B, T, _), K = spectrum.shape, len(self.outer_place)
        size = torch.sqrt(spectrum.real**2 + spectrum.imag**2 + SILENCE)
        real, imaginary = (part * torch.rsqrt(size) for part in (spectrum.real, spectrum.imag))
        values, bands, start = (real, imaginary, torch.log10(size)), [], 0
        for (count, bins), layer in zip(self.bands, self.split, strict=True):
            parts = [x[..., start : start + count * bins].view(B, T, count, bins) for x in values]
            bands.append(layer(torch.cat(parts, dim=-1)))
            start += count * bins
        outer = x = self.outer(torch.cat(bands, dim=2) + self.outer_place)
        x = self.join_bands(normalised(x).reshape(B, T, K // 2, -1)) + self.inner_place
        x = self.inner(x)
        y = self.middle(self.enter(self.squeeze(normalised(x)).flatten(2)))
        y = functional.silu(self.leave(normalised(y))).view(B, T, K // 2, -1)
        x = self.mirrored_inner(x + self.spread(y))
        x = self.mirrored_outer(outer + self.part_bands(normalised(x)).reshape(outer.shape))
        x, joined, start = normalised(x), [], 0
        for (count, _), layer in zip(self.bands, self.join, strict=True):
            parts = layer(x[:, :, start : start + count]).chunk(4, dim=-1)
            joined.append([part.flatten(2) for part in parts])
            start += count
        a, b, c, d = (
            functional.pad(torch.cat(part, dim=-1), (0, 1)) for part in zip(*joined, strict=True)
        )
        real, imaginary = (1 + a) * real - b * imaginary + c, (1 + a) * imaginary + b * real + d
        grow = torch.sqrt(real**2 + imaginary**2 + SILENCE)
        repaired = torch.complex(real * grow, imaginary * grow).transpose(1, 2)
        return torch.istft(
            repaired, self.n_fft, self.hop, window=self.window, length=waveform.shape[1]
        )


def make_batch(sizes):
    """Damaged and clean speech [B, N]."""
    clean = 0.1 * torch.randn(sizes["B"], sizes["N"])
    return clean + 0.05 * torch.randn_like(clean), clean


def compressed(x, size, power=0.3):
    """The spectrum with magnitudes to a power, and these."""
    window = torch.hann_window(size, device=x.device)
    spectrum = torch.stft(
        x, size, size // 2, window=window, return_complex=True, pad_mode="constant"
    )
    magnitude = (spectrum.real**2 + spectrum.imag**2 + SILENCE) ** (power / 2)
    return spectrum * magnitude ** (1 - 1 / power), magnitude


def loss(network, damaged, clean):
    """The distance of compressed spectra at three sizes, and the SI-SDR."""
    repaired, distance = network(damaged), 0.0
    for size in (256, 512, 1024):
        (a, near), (b, true) = (compressed(x, size) for x in (repaired, clean))
        distance = distance + 0.7 * ((near - true) ** 2).mean()
        distance = distance + 0.3 * ((a - b).real ** 2 + (a - b).imag ** 2).mean()
    target = (repaired * clean).sum(1) / (clean**2).sum(1)
    target = target[:, None] * clean
    ratio = (target**2).sum(1) / ((repaired - target) ** 2).sum(1)
    return 10.0 * distance / 3 - 0.02 * (10 * torch.log10(ratio)).clamp(max=30.0).mean()


if __name__ == "__main__":
    timing.train(Autoencoder, make_batch, loss)
