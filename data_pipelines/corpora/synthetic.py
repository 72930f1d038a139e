"""A corpus spoken by espeak-ng.

Many voices of known sex, known sentences, and speaking styles that differ.

It stands in for real speech in the demo and the tests, and is where a synthesizer learns to read:
there is as much of it as one asks for, and several voices say the same. What is learnt from it says
nothing about people. It needs the `tts` extra. Folder: `SPEAKER/STYLE-NN.wav` and a `table.csv`,
read by `data_pipelines.corpora.table`.
"""

import argparse
import csv
import dataclasses
import hashlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from data_pipelines import sentences
from data_pipelines.corpora import Utterance, read_lines, table
from lin_jax import durable, espeak
from lin_jax.errors import CorpusError

SUMMARY = "sentences spoken by espeak-ng, made in --audio-dir unless they are there"
LICENCE = "generated"
FEMALE = (
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "Annie",
    "Andrea",
    "linda",
    "steph",
    "anika",
    "belinda",
    "aunty",
)
MALE = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "Denis", "antonio", "travis", "sandro")
ACCENTS = {"en": ("en-us", "en-gb-x-rp", "en-gb-scotland"), "ru": ("ru",)}


def voices(language: str) -> list[tuple[str, str]]:
    """The voices of a language, each with its sex: female and male in turn, accent by accent."""
    pairs = zip(FEMALE, MALE, strict=True)
    turns = [turn for pair in pairs for turn in zip(pair, ("female", "male"), strict=True)]
    return [(f"{accent}+{voice}", sex) for accent in ACCENTS[language] for voice, sex in turns]


def draw(rng: np.random.Generator, sex: str) -> str:
    """A voice that nobody has, as the text of an espeak-ng variant.

    Of random throat, pitch and manner.

    The frequencies of the nine formants go up and down together, as with the length of a vocal
    tract, and each a little besides; so do their heights and widths, which make the timbre.
    """
    (short, long), (low, high) = (
        ((1.02, 1.28), (130, 260)) if sex == "female" else ((0.82, 1.08), (62, 130))
    )
    tract, pitch, tilt = rng.uniform(short, long), rng.uniform(low, high), rng.uniform(-0.06, 0.04)
    lines = [
        "language variant",
        "name drawn",
        f"gender {sex}",
        f"pitch {pitch:.0f} {pitch * rng.uniform(1.2, 1.8):.0f}",
        f"intonation {rng.integers(1, 5)}",
        f"flutter {rng.integers(0, 16)}",
        f"roughness {rng.integers(0, 5)}",
        f"voicing {rng.integers(50, 160)}",
        "consonants {} {}".format(*rng.integers(60, 180, 2)),
    ]
    if rng.random() < 0.5:
        lines.append(
            "tone 100 255 600 {} 1200 {} 2000 {} 3000 {}".format(
                *sorted(rng.integers(20, 256, 4))[::-1]
            )
        )
    for number in range(9):
        frequency = 100 * tract * rng.normal(1, 0.06)
        height, width = (
            100 * 10 ** (tilt * (number - 2)) * rng.lognormal(0, 0.2),
            100 * rng.lognormal(0, 0.25),
        )
        lines.append(f"formant {number} {frequency:.0f} {height:.0f} {width:.0f}")
    return "\n".join(lines) + "\n"


OPENING = (  # the first texts in English
    "The kettle is on and the bread is still warm.",
    "We left the garden gate open all night.",
    "Seven boats came back before the storm.",
    "Her letter arrived on a rainy Tuesday.",
    "Please put the yellow box under the stairs.",
    "The old clock stopped a minute before noon.",
    "He walked along the river to the market.",
    "Two children were painting a wooden fence.",
    "I heard the train before I could see it.",
    "The library closes early on Fridays.",
    "A small dog followed them up the hill.",
    "Nobody remembered where the key was kept.",
)


@dataclasses.dataclass(frozen=True)
class Style:
    """A way to speak: words a minute, pitch and its range as espeak-ng has them, loudness in dB.

    Pitch and range go from 0 to 99.
    """

    rate: int
    pitch: int
    range: int
    gain_db: float


STYLES = {
    "calm": Style(rate=140, pitch=45, range=35, gain_db=-12),
    "happy": Style(rate=185, pitch=70, range=80, gain_db=-6),
    "sad": Style(rate=115, pitch=30, range=15, gain_db=-16),
    "angry": Style(rate=205, pitch=50, range=65, gain_db=-1),
}
# Deviations within a style, so that no single number tells it.
SPREAD = Style(rate=12, pitch=7, range=9, gain_db=2)


def add_arguments(parser: argparse.ArgumentParser):
    """Flags of the command line."""
    parser.add_argument(
        "--speakers",
        type=int,
        default=8,
        metavar="N",
        help="voices, half of them female (default 8)",
    )
    parser.add_argument(
        "--clips",
        type=int,
        default=6,
        metavar="N",
        help="clips for each voice and style (default 6)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument(
        "--styles",
        nargs="+",
        metavar="NAME",
        help="of calm, happy, sad and angry (default all): how each voice speaks",
    )
    parser.add_argument(
        "--random-voices",
        action="store_true",
        help="voices that are drawn, as many as one likes, not those of espeak-ng",
    )
    parser.add_argument(
        "--voices-per-sentence",
        type=int,
        default=0,
        metavar="N",
        help="N voices say the same, the next N others (default 0: all)",
    )
    parser.add_argument("--language", default="en", metavar="CODE", help="en (default) or ru")
    parser.add_argument(
        "--texts",
        type=Path,
        metavar="FILE",
        help="what to say first, one sentence a line; more are made if need be",
    )


def obtain(args: argparse.Namespace):
    """Let espeak-ng speak what is not there yet."""
    lines = read_lines(args.texts, "check --texts") if args.texts else ()
    generate(
        args.audio_dir,
        speakers=args.speakers,
        clips=args.clips,
        seed=args.seed,
        styles=args.styles or tuple(STYLES),
        random_voices=args.random_voices,
        voices_per_sentence=args.voices_per_sentence,
        language=args.language,
        texts=[line for _, line in lines],
    )


def load(audio_dir: Path) -> Iterator[Utterance]:
    """List the utterances that `generate` made, with the labels style and sex."""
    return table.load(audio_dir)


def generate(
    out_dir: str | Path,
    speakers: int = 8,
    clips: int = 6,
    seed: int = 0,
    *,
    styles: Sequence[str] = tuple(STYLES),
    random_voices: bool = False,
    voices_per_sentence: int = 0,
    language: str = "en",
    texts: Sequence[str] = (),
) -> None:
    """Speak a corpus, the same one for the same arguments and espeak-ng.

    What is there already is left alone.

    Args:
        out_dir: folder to make it in.
        speakers: voices, female and male in turn; at most those of the language, unless they are
            random.
        clips: clips for each voice in each style.
        seed: of the spread of rate, pitch and loudness, and of random voices.
        styles: names of the `STYLES` that each voice speaks in.
        random_voices: whether the voices are drawn at random, and not those that espeak-ng has.
        voices_per_sentence: voices that say the same sentences, while the next ones go on with
            others; 0 has all say the same.
        language: "en" or "ru".
        texts: spoken first, before sentences that are made.

    Raises:
        CorpusError: espeak-ng is not installed or fails, or the folder holds a corpus made with
            other arguments.
    """
    if language not in ACCENTS:
        raise CorpusError(f"unknown language {language!r}: choose {' or '.join(ACCENTS)}")
    if unknown := set(styles) - set(STYLES) or not styles:
        raise CorpusError(f"unknown styles {unknown}: choose from {', '.join(STYLES)}")
    max_speakers = 9999 if random_voices else len(voices(language))
    if not 1 <= speakers <= max_speakers or clips < 1 or voices_per_sentence < 0:
        raise CorpusError(
            f"{speakers} speakers with {clips} clips: choose 1 to {max_speakers} speakers, or "
            "random voices, and 1 or more clips"
        )
    out_dir, digest = Path(out_dir), hashlib.sha256("\n".join(texts).encode()).hexdigest()
    made = {
        "speakers": speakers,
        "clips": clips,
        "seed": seed,
        "styles": list(styles),
        "voices_per_sentence": voices_per_sentence,
    }
    made |= {"random_voices": True} if random_voices else {}
    made |= {"language": language, "texts": digest if texts else ""}
    note = out_dir / "synthetic.json"
    if (out_dir / "table.csv").exists():
        if not note.exists() or note.read_text() != json.dumps(made):
            raise CorpusError(
                f"{out_dir}: holds a corpus that was not made with {made}: choose another folder"
            )
        return
    if not espeak.installed():
        raise CorpusError("espeak-ng is not installed: pip install 'lin_jax[tts]'")
    groups = -(-speakers // voices_per_sentence) if voices_per_sentence else 1
    opening = texts or (OPENING if language == "en" else ())
    spoken = list(
        itertools.islice(itertools.chain(opening, sentences.make(language)), groups * clips)
    )
    rows, base_voice = [], f"{ACCENTS[language][0]}+drawn"
    names = (
        [(base_voice, "female"), (base_voice, "male")] * speakers
        if random_voices
        else voices(language)
    )
    for number, (voice, sex) in enumerate(names[:speakers]):
        first = (number // voices_per_sentence if voices_per_sentence else 0) * clips
        rows.append(_rows(number, voice, sex, styles, spoken[first : first + clips], seed))
        if random_voices:
            rows[-1][0]["variant"] = draw(np.random.default_rng([seed, number]), sex)
    try:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(_speak, itertools.repeat(out_dir), rows))
        note.write_text(json.dumps(made))
        temporary = out_dir / "table.csv.tmp"
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(
                file, ["path", "speaker", "text", "style", "sex"], extrasaction="ignore"
            )
            writer.writeheader()
            writer.writerows(itertools.chain(*rows))
        durable.replace(temporary, out_dir / "table.csv")
    except OSError as error:
        raise CorpusError(
            f"cannot write {out_dir} ({error.strerror}): free space or permissions"
        ) from error


def _rows(
    number: int, voice: str, sex: str, styles: Sequence[str], texts: list[str], seed: int
) -> list[dict]:
    """What one speaker says, and how."""
    speaker = f"{number:02d}_{voice.replace('+', '_')}"
    rows = []
    for (kind, (style, mean)), (clip, text) in itertools.product(
        enumerate(STYLES.items()), enumerate(texts)
    ):
        if style not in styles:
            continue
        rng = np.random.default_rng([seed, number, kind, clip])
        drawn = rng.normal(dataclasses.astuple(mean), dataclasses.astuple(SPREAD))
        rate, pitch, pitch_range = (
            np.clip(np.round(drawn[:3]), (80, 0, 0), (450, 99, 99)).astype(int).tolist()
        )
        row = {
            "path": f"{speaker}/{style}-{clip:02d}.wav",
            "speaker": speaker,
            "style": style,
            "sex": sex,
        }
        row |= {"text": text, "voice": voice}
        rows.append(
            row
            | {
                "rate": rate,
                "pitch": pitch,
                "range": pitch_range,
                "gain_db": min(0.0, float(drawn[3])),
            }
        )
    return rows


def _speak(out_dir: Path, rows: list[dict]) -> None:
    """Speak one speaker's rows in a process of their own."""
    (out_dir / rows[0]["speaker"]).mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row | {"path": str(out_dir / row["path"])}) + "\n" for row in rows)
    script = importlib.util.find_spec("data_pipelines.espeak").origin
    done = subprocess.run(
        [sys.executable, script], input=lines, text=True, capture_output=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise CorpusError(
            f"espeak-ng failed for {rows[0]['voice']} ({last}): reinstall it, pip install "
            "'lin_jax[tts]'"
        )
