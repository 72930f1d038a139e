"""Recordings: plain, useless or only unusual ones: what writes each, and what is said of it.

A maker takes a path and puts the file there, whatever the path's suffix.
"""

import os
import struct

import av
import numpy as np
import soundfile

RATE = 16000


def tone(seconds=1.0, rate=RATE, hz=440.0, amplitude=0.5):
    """A sine [N] float32."""
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def buzz(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """What a voice is to a watermark: harmonics of a wandering pitch, in syllables, and some breath."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(140 + 30 * np.sin(2 * np.pi * 0.7 * t + seed)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = 0.1 + np.maximum(0, np.sin(2 * np.pi * 2.3 * t))
    samples = (voice + 0.1 * rng.standard_normal(len(t))) * syllables
    return (0.3 * samples / np.abs(samples).max()).astype(np.float32)


def speak(path, pitch, formant, seconds=0.6, rate=RATE):
    """A buzz with one formant: what a speaker is to these tests."""
    t = np.arange(round(seconds * rate)) / rate
    harmonics = pitch * np.arange(1, 30)
    gains = np.exp(-(((harmonics - formant) / 300) ** 2)) + 0.02
    wave = np.sum(gains[:, None] * np.sin(2 * np.pi * harmonics[:, None] * t), axis=0)
    soundfile.write(path, 0.3 * wave / np.abs(wave).max(), rate)


def encode(path, samples, rate, codec, options=None):
    """Write samples [N] by FFmpeg."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 64_000
        context = stream.codec_context
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate = rate
        size = context.frame_size or 1024
        resampler = av.AudioResampler(context.format, "mono", rate, frame_size=size)
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(piece))


def holds(samples, rate=RATE, subtype="FLOAT"):
    """A WAV of these samples."""
    samples = np.asarray(samples, np.float32)
    return lambda path: soundfile.write(
        os.fsencode(path), samples, rate, format="WAV", subtype=subtype
    )


def cut(kind, share):
    """Two seconds of noise of which only a share of the bytes is there."""

    def make(path):
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 2 * RATE), RATE, format=kind)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])

    return make


def spoilt(value):
    """A tone with one sample replaced."""
    samples = tone()
    samples[7777] = value
    return holds(samples)


def two_hours(path):
    """A sparse 16-bit WAV whose last sample alone, 0.5, is not zero; returns the number of samples."""
    count = 2 * 3600 * RATE
    soundfile.write(path, np.zeros(1), RATE, format="WAV")
    with open(path, "r+b") as file:
        for place, value in ((4, 36 + 2 * count), (40, 2 * count)):
            file.seek(place)
            file.write(struct.pack("<I", value))
        file.seek(44 + 2 * (count - 1))
        file.write(struct.pack("<h", 16384))
    return count


BAD = {
    "missing": (lambda path: None, "no such file"),
    "folder": (lambda path: path.mkdir(), "a folder or device"),
    "empty": (lambda path: path.write_bytes(b""), "empty file"),
    "not audio": (lambda path: path.write_text("just some text, " * 500), "not readable as audio"),
    "truncated wav": (cut("WAV", 0.6), "truncated at 1.20 of 2.00 s"),
    "truncated flac": (cut("FLAC", 0.6), "truncated"),
    "truncated mp3": (cut("MP3", 0.6), "truncated at"),
    "wav header only": (cut("WAV", 0.0005), "not readable as audio"),
    "zero samples": (holds([]), "no samples"),
    "one sample": (holds([0.5]), "too few"),
    "all zeros": (holds(np.zeros(RATE)), "silent"),
    "nan": (spoilt(np.nan), "NaN, infinite"),
    "infinite": (spoilt(-np.inf), "NaN, infinite"),
    "overflowing": (spoilt(3e38), "or huge"),
}

UNUSUAL = {
    "eight channels": holds(np.repeat(tone()[:, None], 8, axis=1)),
    "192 kHz": holds(tone(rate=192000), rate=192000, subtype="PCM_24"),
    "name in no encoding \udcff": holds(tone()),
}
