"""Figures of speed, each against a stated reference in the same run.

python -m experiments.benchmark prepare --audio-dir FOLDER    RAVDESS to features against a loop of librosa: ≥ 3x
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIBROSA = """
import sys, librosa
for path in sys.stdin.read().splitlines():
    samples, rate = librosa.load(path, sr=16000)
    librosa.feature.mfcc(y=samples, sr=rate)
"""


def prepare_speed(audio_dir: str | Path) -> dict[str, float]:
    """Time `python -m data_pipelines ravdess`, from its start to its end, against a one-process loop of librosa.

    Args:
      audio_dir: a RAVDESS folder.

    Returns:
      clips, seconds of either process and how many times faster ours is; start-up is counted on both sides.
    """
    from lin_jax.audio import files

    paths = files.find(audio_dir)
    for path in paths:  # both sides read from the page cache
        path.read_bytes()
    with tempfile.TemporaryDirectory() as scratch:
        options = ["--audio-dir", str(audio_dir), "--out", f"{scratch}/features", "--frontend.feature=mfcc"]
        seconds = {
            "librosa_seconds": _timed([sys.executable, "-c", LIBROSA], "\n".join(map(str, paths))),
            "prepare_seconds": _timed([sys.executable, "-m", "data_pipelines", "ravdess", *options]),
        }
    ratio = seconds["librosa_seconds"] / seconds["prepare_seconds"]
    return {"clips": len(paths), "cores": len(os.sched_getaffinity(0)), **seconds, "times_faster": ratio}


def _timed(command: list[str], given: str = "") -> float:
    start = time.perf_counter()
    subprocess.run(command, input=given, text=True, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Run one benchmark and print its figures."""
    parser = argparse.ArgumentParser("python -m experiments.benchmark", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    prepare = commands.add_parser("prepare", help="features of a RAVDESS folder against a loop of librosa")
    prepare.add_argument("--audio-dir", type=Path, required=True)
    prepare.set_defaults(run=lambda args: prepare_speed(args.audio_dir))
    args = parser.parse_args()
    for name, value in args.run(args).items():
        print(f"{name:20} {value:.2f}" if isinstance(value, float) else f"{name:20} {value}")


if __name__ == "__main__":
    main()
