"""Speak lines with espeak-ng through ctypes, run as a script.

A fresh process is what makes its sound repeatable.

Reads JSON lines from standard input, each {"path", "text", "voice", "rate", "pitch", "range",
"gain_db"}, and writes a 16-bit mono WAV for each. The first may have "variant", the text of a
variant file: it is what the voice LANGUAGE+drawn sounds like. It imports little, so that a process
starts in a tenth of a second.
"""

import ctypes
import json
import sys
import tempfile
import wave
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from lin_jax import espeak

CHARACTERS = 1  # espeak-ng's POS_CHARACTER
PARAMETERS = {"rate": 1, "pitch": 3, "range": 4}
CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def main() -> None:
    """Speak every line of standard input."""
    lines = list(map(json.loads, sys.stdin))
    with tempfile.TemporaryDirectory() as folder:
        variant = lines[0].get("variant")
        speak(lines, *espeak.library(data_with(variant, Path(folder)) if variant else ""))


def data_with(variant: str, folder: Path) -> str:
    """Make `folder` one of espeak-ng's data with a variant more, named drawn; returns its path."""
    import espeakng_loader

    for entry in Path(espeakng_loader.get_data_path()).iterdir():
        if entry.name != "voices":
            (folder / entry.name).symlink_to(entry)
    (folder / "voices/!v").mkdir(parents=True)
    (folder / "voices/!v/drawn").write_text(variant)
    return str(folder)


def speak(lines: Iterable[dict], library: ctypes.CDLL, sample_rate: int) -> None:
    """Speak lines by a library that was started."""
    blocks = []

    @CALLBACK
    def keep(samples, count, events):
        if samples and count:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(keep)
    for line in lines:
        blocks.clear()
        library.espeak_ng_SetRandSeed(0)  # breath noise, otherwise seeded by the clock
        if library.espeak_SetVoiceByName(line["voice"].encode()):
            sys.exit(f"espeak-ng has no voice {line['voice']}")
        for name, number in PARAMETERS.items():
            library.espeak_SetParameter(number, line[name], 0)
        text = line["text"].encode()
        library.espeak_Synth(text, len(text) + 1, 0, CHARACTERS, 0, espeak.UTF8, None, None)
        library.espeak_Synchronize()
        samples = np.concatenate(blocks) * 10 ** (line["gain_db"] / 20)
        with wave.open(line["path"], "wb") as file:
            file.setparams((1, 2, sample_rate, 0, "NONE", None))
            file.writeframes(np.clip(samples, -32768, 32767).astype("<i2").tobytes())


if __name__ == "__main__":
    main()
