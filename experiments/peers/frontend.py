"""Log-mel frames in PyTorch, from waveforms on the device, as `lin_jax.audio.frontend` has them."""

import json
import sys

import numpy as np
import timing
import torch

if __name__ == "__main__":
    sizes = json.load(sys.stdin)
    x = 0.1 * torch.randn(sizes["B"], sizes["N"], device=timing.DEVICE)
    bank = torch.tensor(np.array(sizes["bank"], np.float32), device=timing.DEVICE)  # [M, F]
    window = torch.hann_window(sizes["n_fft"], device=timing.DEVICE)

    def call():
        """[B, M, T]."""
        spectrum = torch.stft(
            x,
            sizes["n_fft"],
            sizes["hop_length"],
            window=window,
            return_complex=True,
            pad_mode="constant",
        )
        power = spectrum.real**2 + spectrum.imag**2
        return 10 * torch.log10((bank @ power).clamp(min=1e-10))

    for way in ("eager", "compiled"):
        timing.report(
            way,
            torch.compile(call) if way == "compiled" else call,
            sizes["repeats"],
            sizes["seconds"],
        )
