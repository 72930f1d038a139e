"""A corpus of five speakers whose letters are tones, and a speaker bundle that knows them."""

import numpy as np
import soundfile

from data_pipelines import features
from data_pipelines.corpora import Utterance
from helpers import verifiers
from lin_jax import bundles, espeak
from lin_jax.audio.frontend import FrontendConfig

RATE = verifiers.RATE
FRONTEND = FrontendConfig(
    n_mels=16, n_mfcc=16, n_fft=512, win_length=512, hop_length=256, level="rms", level_db=-25.0
)
WORDS = ("aba", "bab", "abba", "baba", "ab", "ba")


def say(text, rng):
    """A tone for each letter, and silence for what is none."""
    parts = []
    for letter in f" {text} ":
        t = np.arange(round(0.08 * RATE)) / RATE
        hz = {"a": 500, "b": 1500}.get(letter)
        parts.append(0.3 * np.sin(2 * np.pi * hz * t) if hz else np.zeros(2 * len(t)))
    return np.concatenate(parts) + 1e-3 * rng.standard_normal(sum(map(len, parts)))


def utterances(folder, sentences=6):
    """Recordings of five speakers, each of as many sentences."""
    rng, made = np.random.default_rng(0), []
    for speaker in range(5):
        for number in range(sentences):
            text = " ".join(rng.choice(WORDS, 2)) + f" {WORDS[number % 6]}"
            path = folder / f"s{speaker}-{number}.wav"
            soundfile.write(path, say(text, rng), RATE)
            made.append(Utterance(path.stem, path, f"s{speaker}", text, {"sex": "female"}))
    return made


def prepare(folder):
    """Their feature set."""
    features.prepare(utterances(folder), folder / "features", FRONTEND, progress=False)
    return folder / "features"


def encoder(folder, monkeypatch) -> str:
    """A speaker bundle on the disk that takes all of it for speech."""
    verifiers.register(monkeypatch)
    bundles.save(folder / "encoder", verifiers.verifier(speech_bias=50.0), "")
    return str(folder / "encoder")


def spell(monkeypatch):
    """Letters in place of phonemes: espeak-ng need not be there."""
    monkeypatch.setattr(espeak, "phonemes", lambda text, language: text)
