"""Damaged recordings of every format: `PYTHONPATH=tests python -m fuzz.audio 2000` (make fuzz).

Each is read, or refused in one line, within `MAX_SECONDS`, and nothing else is written to stderr.
"""

import collections
import faulthandler
import os
import pathlib
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator

import numpy as np
import soundfile
from helpers.recordings import encode

from lin_jax.audio import files
from lin_jax.errors import AudioError, AudioWarning

MAX_SECONDS = 5.0
SUBTYPES = {".wav": ("PCM_16", "FLOAT", "IMA_ADPCM"), ".caf": ("ALAC_16",), ".w64": ("PCM_24",)}
CODECS = {  # suffix: encoder, rate
    ".m4a": ("aac", 16000),
    ".webm": ("libopus", 48000),
    ".mka": ("ac3", 32000),
    ".wma": ("wmav2", 44100),
    ".mp2": ("mp2", 16000),
    ".aac": ("aac", 16000),
}


def recordings(folder: pathlib.Path) -> list[pathlib.Path]:
    """A second of noise in every format."""
    samples = np.random.default_rng(0).normal(0, 0.1, 48000).astype(np.float32)
    paths = []
    for suffix in (".wav", ".caf", ".w64", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".au"):
        for subtype in SUBTYPES.get(suffix, (None,)):
            path = folder / f"{subtype}{suffix}"
            if suffix == ".caf" or suffix == ".w64" or subtype:
                soundfile.write(path, samples[:16000], 16000, subtype=subtype)
            else:
                files.write(path, samples[:16000], 16000)
            paths.append(path)
    for suffix, (codec, rate) in CODECS.items():
        paths.append(folder / f"{codec}{suffix}")
        encode(paths[-1], samples[:rate], rate, codec)
    return paths


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A file with a few of the things done to it that disks, cutters and attackers do."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        if not data:
            break
        head = rng.random() < 0.5  # half of the damage is to headers
        place = rng.randrange(min(len(data), 200) if head else len(data))
        length = rng.choice((1, 2, 4, 40, 400))
        kind = rng.choice(("flip", "number", "zero", "cut", "drop", "repeat", "noise", "end"))
        if kind == "flip":
            data[place] ^= 1 << rng.randrange(8)
        elif kind == "number":
            value = rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, rng.getrandbits(32)))
            data[place : place + 4] = value.to_bytes(4, rng.choice(("little", "big")))
        elif kind == "zero":
            data[place : place + length] = bytes(length)
        elif kind == "cut":
            del data[rng.randrange(len(data)) :]
        elif kind == "drop":
            del data[place : place + length]
        elif kind == "repeat":
            data[place:place] = data[place : place + length]
        elif kind == "noise":
            data[place : place + length] = rng.randbytes(length)
        else:
            data += rng.randbytes(length)
    return bytes(data)


def run(folder: pathlib.Path, count: int, seed: int = 0) -> Iterator[str]:
    """Read so many damaged files.

    Yields:
        Of each "read", "refused", or what went wrong with it.
    """
    rng, seeds = random.Random(seed), recordings(folder)
    contents = [path.read_bytes() for path in seeds]
    for number in range(count):
        which = number % len(seeds)
        path = folder / f"damaged{seeds[which].suffix}"
        path.write_bytes(mutated(contents[which], rng))
        started = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", AudioWarning)
                samples, rate = files.read(path)
                assert samples.dtype == np.float32
                assert np.isfinite(samples).all()
                assert rate > 0
                for _ in files.blocks(path, block_seconds=0.3):
                    pass
            outcome = "read"
        except AudioError as error:
            outcome = "refused" if "\n" not in str(error) else f"two lines: {error}"
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
        if time.monotonic() - started > MAX_SECONDS:
            outcome = f"took {time.monotonic() - started:.0f} s"
        if outcome not in ("read", "refused"):
            outcome = f"{number}, {seeds[which].name}: {outcome}"
        yield outcome


def main(count: int) -> int:
    """Tell how many were read and refused, and what went wrong; the exit code is 1 if anything."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as noise:
        stderr = os.dup(2)
        os.dup2(noise.fileno(), 2)
        outcomes: collections.Counter[str] = collections.Counter()
        for outcome in run(pathlib.Path(folder), count):
            faulthandler.dump_traceback_later(60, exit=True, file=sys.stdout)
            noise.seek(0)
            if printed := noise.read().decode(errors="replace"):
                outcome = f"file {outcomes.total()} on stderr: {printed.splitlines()[0]}"
                noise.seek(0)
                noise.truncate()
            outcomes[outcome] += 1
        faulthandler.cancel_dump_traceback_later()
        os.dup2(stderr, 2)
    for outcome, times in outcomes.most_common():
        print(f"{times:5d} {outcome}")
    return 1 if set(outcomes) - {"read", "refused"} else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
