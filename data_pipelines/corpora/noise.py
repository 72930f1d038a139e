"""Sounds in which nobody speaks, recorded or generated.

What a network must know to answer "no speech".

Folder: any recordings, in folders or not. `generate` adds sounds of eight kinds in its folder
`generated`; they are rough, but endless, and cover what a small collection of recordings leaves
out.
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_pipelines.corpora import NO_SPEECH, Utterance
from lin_jax.audio import files
from lin_jax.errors import CorpusError

SUMMARY = "sounds in which nobody speaks: any recordings, or generated ones"

SAMPLE_RATE = 16000
SECONDS = (2.0, 6.0)  # shortest and longest generated sound


def add_arguments(parser: argparse.ArgumentParser):
    """Flags of the command line."""
    parser.add_argument(
        "--generate", type=int, metavar="N", help="make N sounds in AUDIO_DIR/generated first"
    )


def obtain(args: argparse.Namespace):
    """Make sounds, if the flags say so."""
    if args.generate is not None:
        generate(args.audio_dir, args.generate)


def load(audio_dir: Path) -> Iterator[Utterance]:
    """List recordings, each a source of its own, so that a split may part any two of them.

    Args:
        audio_dir: the folder.

    Yields:
        Utterances with the label sex, which is "no speech".

    Raises:
        AudioError: a folder that is missing or empty.
    """
    for path in files.find(audio_dir):
        name = path.relative_to(audio_dir).with_suffix("").as_posix()
        yield Utterance(name, path, name, labels={"sex": NO_SPEECH})


def generate(out_dir: str | Path, count: int, seed: int = 0) -> None:
    """Add generated sounds, the same ones for the same seed.

    Those that are there already are left alone.

    Args:
        out_dir: folder; they go into its folder `generated`.
        count: how many, the kinds in turn.
        seed: of all that is drawn.

    Raises:
        CorpusError: a count below 1, or the folder cannot be written.
        AudioError: the disk is full.
    """
    if count < 1:
        raise CorpusError(f"{count} sounds to generate: give 1 or more")
    folder = Path(out_dir) / "generated"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CorpusError(
            f"cannot write {folder} ({error.strerror}): choose another folder"
        ) from error
    for number, (kind, make) in zip(range(count), itertools.cycle(KINDS.items()), strict=False):
        path = folder / f"{kind}-{number:04d}.flac"
        if not path.exists():
            rng = np.random.default_rng([seed, number])
            t = np.arange(round(rng.uniform(*SECONDS) * SAMPLE_RATE)) / SAMPLE_RATE
            # Nothing is recorded without noise.
            sound = make(rng, t) + 10 ** rng.uniform(-4, -1.5) * coloured(rng, t)
            files.write(
                path, 10 ** rng.uniform(-1.5, -0.1) * sound / np.abs(sound).max(), SAMPLE_RATE
            )


# Each kind maps a random generator and times [N] in seconds to a sound [N] of any loudness.


def coloured(rng, t):
    """Noise between white and brown of unit power: rooms, fans, water."""
    spectrum = np.fft.rfft(rng.standard_normal(len(t)))
    frequency = np.fft.rfftfreq(len(t), t[1])
    sound = np.fft.irfft(spectrum * np.maximum(frequency, 50.0) ** -rng.uniform(0, 1), len(t))
    return sound / sound.std()


def gusts(rng, t):
    """Noise that swells and fades: wind, waves, passing cars, a crowd."""
    swell = sum(
        rng.uniform() * np.sin(2 * np.pi * (rng.uniform(0.1, 3) * t + rng.uniform()))
        for _ in range(4)
    )
    return coloured(rng, t) * np.exp(rng.uniform(0.3, 1.5) * swell)


def hum(rng, t):
    """A steady tone with overtones: mains, motors, a bell that does not end."""
    return _tone(rng, np.full_like(t, rng.uniform(40, 600)), overtones=rng.integers(1, 30))


def siren(rng, t):
    """A tone whose pitch goes up and down: alarms, chirps."""
    swing = np.sin(2 * np.pi * rng.uniform(0.2, 6) * t)
    swing = np.sign(swing) if rng.uniform() < 0.5 else swing
    return _tone(
        rng,
        rng.uniform(200, 2500) * 2 ** (rng.uniform(0.1, 0.8) * swing),
        overtones=rng.integers(1, 5),
    )


def beeps(rng, t):
    """Short tones of one pitch with pauses between: telephones, machines."""
    on = (t * rng.uniform(0.5, 8)) % 1 < rng.uniform(0.2, 0.8)
    return on * _tone(rng, np.full_like(t, rng.uniform(300, 3000)), overtones=rng.integers(1, 4))


def clicks(rng, t):
    """Noise bursts at random moments: keys, steps, rain, crackle."""
    rate = 10 ** rng.uniform(0, 2)
    return _struck(
        rng,
        t,
        np.sort(rng.uniform(0, t[-1], rng.poisson(rate * t[-1]) + 1)),
        10 ** rng.uniform(-3, -1),
    )


def drums(rng, t):
    """Noise bursts at regular moments: drums, hammers, engines."""
    return _struck(
        rng, t, np.arange(0, t[-1], 1 / rng.uniform(1, 25)), 10 ** rng.uniform(-2.3, -0.7)
    )


def melody(rng, t):
    """Plucked chords of a scale: music."""
    scale = 220 * 2 ** (np.array([-12, -10, -8, -7, -5, -3, -1, 0, 2, 4, 5, 7, 9, 11, 12]) / 12)
    seconds = rng.uniform(0.15, 0.8)
    step = (t // seconds).astype(int)
    decay = np.exp(-(t % seconds) / (rng.uniform(0.2, 2) * seconds))
    return decay * sum(
        _tone(rng, rng.choice(scale, step[-1] + 1)[step], overtones=rng.integers(2, 12))
        for _ in range(rng.integers(1, 4))
    )


KINDS = {
    make.__name__: make for make in (coloured, gusts, hum, siren, beeps, clicks, drums, melody)
}


def _tone(rng, frequency, overtones):
    """A tone of a frequency [N] in Hz, with its overtones below half the sample rate.

    The frequency may change.
    """
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE
    return sum(
        rng.uniform()
        / k
        * np.sin(k * phase + rng.uniform(0, 2 * np.pi))
        * (k * frequency < SAMPLE_RATE / 2)
        for k in range(1, overtones + 1)
    )


def _struck(rng, t, moments, seconds):
    """Noise that dies away within about `seconds` after each moment."""
    last = moments[np.maximum(np.searchsorted(moments, t, side="right") - 1, 0)]
    return coloured(rng, t) * np.exp(-np.maximum(t - last, 0) / seconds) * (t >= last)
