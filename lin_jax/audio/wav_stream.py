"""A WAV file whose length is not known yet, for pipes: a header, then samples as they come."""

import struct
from typing import BinaryIO, NamedTuple

import numpy as np

from lin_jax.errors import AudioError

UNKNOWN = 0xFFFFFFFF  # as a size: the sound goes on to the end of the file
ENDLESS = 0x7FFFF000  # sizes from here on are those of tools that did not know either
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
MAX_CHUNK = 1 << 20  # bytes of what stands before the samples


class Format(NamedTuple):
    """How the samples of a stream are written.

    Attributes:
        sample_rate: in Hz.
        channels: side by side.
        dtype: "<i2" or "<f4".
        size: bytes of all samples; None where they go on to the end.
    """

    sample_rate: int
    channels: int = 1
    dtype: str = "<i2"
    size: int | None = None


def header(sample_rate: int, comment: str, channels: int = 1) -> bytes:
    """The header of 16-bit sound of any length.

    Args:
        sample_rate: in Hz.
        comment: that stands in it.
        channels: side by side.
    """
    text = comment.encode() + b"\0"
    text += b"\0" * (len(text) % 2)
    info = b"INFOICMT" + struct.pack("<I", len(text)) + text
    width = 2 * channels
    return (
        b"RIFF"
        + struct.pack("<I", UNKNOWN)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, PCM, channels, sample_rate, width * sample_rate, width, 16)
        + b"LIST"
        + struct.pack("<I", len(info))
        + info
        + b"data"
        + struct.pack("<I", UNKNOWN)
    )


def encode(samples: np.ndarray) -> bytes:
    """Samples [N], or [N, channels], within ±1 as 16-bit integers."""
    return np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def read_header(file: BinaryIO) -> Format:
    """Read what stands before the samples, where "RIFF" was read already.

    Raises:
        AudioError: no WAV, or one of other samples than 16-bit integers and 32-bit floats.
    """
    if _exactly(file, 8)[4:] != b"WAVE":
        raise AudioError("-: RIFF that is no WAV; send WAV")
    layout = None
    while True:
        name, size = struct.unpack("<4sI", _exactly(file, 8))
        if name == b"data" and layout:
            return layout._replace(size=None if size == 0 or size >= ENDLESS else size)
        if name == b"data" or size > MAX_CHUNK:
            raise AudioError("-: a damaged WAV header; send it again")
        chunk = _exactly(file, size + size % 2)
        if name == b"fmt ":
            layout = _format(chunk)


def _format(chunk: bytes) -> Format:
    if len(chunk) < 16:
        raise AudioError("-: a damaged WAV header; send it again")
    kind, channels, sample_rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if kind == EXTENSIBLE and len(chunk) >= 26:
        (kind,) = struct.unpack_from("<H", chunk, 24)
    dtype = {(PCM, 16): "<i2", (FLOAT, 32): "<f4"}.get((kind, bits))
    if dtype is None or not channels:
        raise AudioError(
            f"-: a WAV of {bits}-bit samples of kind {kind}; send 16-bit integers or 32-bit floats"
        )
    return Format(sample_rate, channels, dtype)


def _exactly(file: BinaryIO, size: int) -> bytes:
    read = file.read(size)
    if len(read) < size:
        raise AudioError("-: it ends before its first sample; send a whole WAV")
    return read
