"""Clips a second of a DataLoader over .npy files: a folder of them, cropped at random into batches."""

import json
import pathlib
import sys

import numpy as np
import timing
import torch


class Clips(torch.utils.data.Dataset):
    """The files of a folder, each cut to a length."""

    def __init__(self, folder, frames):
        self.paths, self.frames = sorted(pathlib.Path(folder).glob("*.npy")), frames

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        """[frames, D]."""
        clip = np.load(self.paths[index])
        start = np.random.randint(max(1, len(clip) - self.frames + 1))
        clip = clip[start : start + self.frames]
        return np.pad(clip, ((0, self.frames - len(clip)), (0, 0)))


if __name__ == "__main__":
    sizes = json.load(sys.stdin)
    clips = Clips(sizes["folder"], sizes["T"])
    for workers in (0, 2):
        loader = torch.utils.data.DataLoader(
            clips,
            sizes["B"],
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        timing.report(f"{workers} workers", lambda loader=loader: list(loader), sizes["repeats"], 0)
