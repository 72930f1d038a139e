"""Resemblyzer's embeddings of recordings, one after the other, as a speaker is enrolled.

A peer for an interpreter that has `resemblyzer`, with `setuptools<80`, which it imports.
"""

import json
import pathlib
import sys

import numpy as np
import timing
from resemblyzer import VoiceEncoder

if __name__ == "__main__":
    given = json.load(sys.stdin)
    clips = [np.load(path) for path in sorted(pathlib.Path(given["folder"]).glob("*.npy"))]
    encoder = VoiceEncoder(timing.DEVICE, verbose=False)

    def call():
        for clip in clips:
            encoder.embed_utterance(clip)

    timing.report("Resemblyzer", call, given["repeats"], given["seconds"])
