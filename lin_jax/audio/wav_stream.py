"""A WAV file whose length is not known yet, for pipes: a header, then samples as they come."""

import struct

import numpy as np

UNKNOWN = 0xFFFFFFFF  # as a size: the sound goes on to the end of the file


def header(sample_rate: int, comment: str) -> bytes:
    """The header of 16-bit mono sound of any length.

    Args:
        sample_rate: in Hz.
        comment: that stands in it.
    """
    text = comment.encode() + b"\0"
    text += b"\0" * (len(text) % 2)
    info = b"INFOICMT" + struct.pack("<I", len(text)) + text
    return (
        b"RIFF"
        + struct.pack("<I", UNKNOWN)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
        + b"LIST"
        + struct.pack("<I", len(info))
        + info
        + b"data"
        + struct.pack("<I", UNKNOWN)
    )


def encode(samples: np.ndarray) -> bytes:
    """Samples [N] within ±1 as 16-bit integers."""
    return np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
