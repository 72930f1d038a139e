"""Log-mel frames by torchaudio, from waveforms on the device."""

import json
import sys

import timing
import torch
import torchaudio

if __name__ == "__main__":
    sizes = json.load(sys.stdin)
    x = 0.1 * torch.randn(sizes["B"], sizes["N"], device=timing.DEVICE)
    spectrogram = torchaudio.transforms.MelSpectrogram(
        sizes["sample_rate"],
        sizes["n_fft"],
        sizes["win_length"],
        sizes["hop_length"],
        n_mels=sizes["n_mels"],
        pad_mode="constant",
        norm="slaney",
        mel_scale="slaney",
    ).to(timing.DEVICE)
    decibels = torchaudio.transforms.AmplitudeToDB(top_db=80.0)

    def call():
        """[B, M, T]."""
        return decibels(spectrogram(x))

    timing.report("torchaudio", call, sizes["repeats"], sizes["seconds"])
